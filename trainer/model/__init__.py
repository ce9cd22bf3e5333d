"""The Transformer-XL: `TransformerXL(config)`, and `model(batch, memory) -> output, memory`.

transformer.py         the model: embedding, layers, heads
attention.py           attention over memory and block
flex.py                the same by tiles, for a GPU
position_encoding.py   relative positions: rope, txl, t5
memory.py              keys and values that one block leaves for the next; the mask rule
linear.py              matrix products by the faster library
loss.py                cross-entropy by head, as sums that add up over batches
flops.py               how much arithmetic a training step takes
knn/                   the kNN memory: store, search, file
"""

from trainer.model.transformer import Output, TransformerXL

__all__ = ["Output", "TransformerXL"]
