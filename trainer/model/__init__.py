"""The Transformer-XL: `TransformerXL(config)`, and `model(batch, memory) -> output, memory`.

transformer.py          the model, from top to bottom
attention.py            one attention over memory and block
memory.py               what one block leaves for the next; the one mask rule
position_encoding.py    relative positions: rope, txl, t5
loss.py                 cross-entropy by head, as sums that add up over batches
linear.py               matrix products by the faster library
knn/                    the kNN memory: store and gate, search, file
"""

from trainer.model.transformer import Output, TransformerXL

__all__ = ["Output", "TransformerXL"]
