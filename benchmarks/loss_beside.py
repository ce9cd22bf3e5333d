"""Validation loss beside x-transformers, on equal terms: only what lies between embedding and
heads differs.

    python -m benchmarks.loss_beside DATASET ours|x-transformers [SEED [STEPS [key=value …]]]

Both have our embedding, heads, loss, batches, mask (a song sees no other), learning rates and
AdamW; 4 layers of width 128, 64 lanes x 32 tokens, M = 32. x-transformers' decoder has rotary
positions and Transformer-XL memory, its own defaults otherwise and its own first weights. Its
memory holds the layers' inputs, as in Dai et al. 2019, ours keys and values: from weights that
have moved by a step since. Printed: the loss of the first 40 batches of validation.
"""

import json
import sys
import time

import torch
from torch import Tensor, nn

from shards import open_dataset
from trainer import presets
from trainer.config import ModelConfig, for_dataset, override
from trainer.data.batches import Batch
from trainer.model.memory import Memory, split_lanes, visible
from trainer.model.transformer import Output, TransformerXL
from trainer.training import optimizers as optim
from trainer.training.trainer import Trainer

SETTINGS = (
    "layers=4 d_model=128 heads=2 memory=32 batch_size=64 block_size=32 optimizer=adamw lr=0.002 "
    "warmup_steps=20"
)
BATCHES = 40


class Peer(TransformerXL):
    """Our embedding and heads around x-transformers' decoder."""

    def __init__(self, config: ModelConfig) -> None:
        from x_transformers import Decoder

        super().__init__(config)
        self.layers = nn.ModuleList()
        self.initialize(torch.Generator().manual_seed(0))
        self.norm = nn.Identity()  # the decoder ends in its own
        self.decoder = Decoder(
            dim=config.d_model,
            depth=config.layers,
            heads=config.heads,
            attn_dim_head=config.d_model // config.heads,
            rotary_pos_emb=True,
            attn_flash=True,
        )

    def forward(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """As `TransformerXL.forward`."""
        mask = visible(batch.segment_ids, memory.segment_ids, window=None)[:, None]
        hidden, between = self.decoder(
            self.embed(batch),
            attn_mask=mask,
            mems=[layer[:, 0] for layer in memory.keys],
            return_hiddens=True,
        )
        inputs = between.hiddens[: len(memory.keys)]
        kept = [
            torch.cat([old[:, 0], new], dim=1) for old, new in zip(memory.keys, inputs, strict=True)
        ]
        whole = tuple(layer[:, None] for layer in kept)
        grown = memory.grown(whole, tuple(self._none(whole)), batch.segment_ids, batch.bars)
        return self.predict(hidden, batch), grown.cut(memory.length)

    def _none(self, layers: tuple[Tensor, ...]) -> list[Tensor]:
        return [layer[..., :0] for layer in layers]

    def empty_memory(self, lanes: int, **options) -> Memory:
        """What enters each layer in place of keys, for one head as wide as the model."""
        config, length = self.config, options.get("length") or self.config.memory
        shape = {"lanes": lanes, "heads": 1, "length": length, "head_width": config.d_model}
        memory = Memory.empty(**shape, layers=config.layers)
        return memory._replace(values=tuple(self._none(memory.keys)))


def main(dataset: str, name: str, seed: str = "0", steps: str = "150", *more: str) -> None:
    torch.set_num_threads(1)
    data = open_dataset(dataset)
    wanted = [*SETTINGS.split(), f"seed={seed}", f"steps={steps}", *more]
    config = for_dataset(override(presets.preset("tiny"), wanted), data)
    trainer = Trainer(data, config, torch.device("cpu"))
    if name == "x-transformers":
        torch.manual_seed(int(seed))
        trainer.model = Peer(config.model)
        trainer.optimizers = optim.make_optimizers(trainer.model, config.train)
        trainer._memories = split_lanes(trainer._fresh_memory(), config.train.accumulate)
    elif name != "ours":
        sys.exit(f"{name}: expected ours or x-transformers")
    begun = time.process_time()
    for _ in range(config.train.steps):
        trainer.train_step()
    seconds = time.process_time() - begun
    found = trainer.evaluate(batches=BATCHES).means()
    line = {"name": name, "seed": int(seed), "more": more, "parameters": trainer.parameters}
    line |= {"steps": trainer.step, "valid": found}
    print(json.dumps(line | {"cpu": round(seconds)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
