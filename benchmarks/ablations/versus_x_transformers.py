"""The validation loss versus x-transformers: only what lies between embedding and heads differs."""

import json
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor, nn

from benchmarks.ablations.training import make_trainer, scores, train
from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset
from trainer.config import ModelConfig
from trainer.data.batches import Batch
from trainer.model.memory import Memory, attention_mask
from trainer.model.transformer import Output, TransformerXL
from trainer.training import optimizers as optim

SETTINGS = (
    "layers=4 d_model=128 heads=2 memory=32 batch_size=64 block_size=32 optimizer=adamw lr=0.002 "
    "warmup_steps=20"
)
BATCHES = 40


class Peer(TransformerXL):
    """Our embedding and heads around x-transformers' decoder.

    Args:
        config: of our model.
        song_mask: mask other songs, as ours does; else everything earlier is attended to.
        tuned: with QK-norm, and Muon for the decoder's matrices if the settings ask for Muon.
    """

    def __init__(self, config: ModelConfig, *, song_mask: bool = True, tuned: bool = False) -> None:
        from x_transformers import Decoder

        super().__init__(config)
        self.song_mask = song_mask
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
            attn_qk_norm=tuned,
            attn_qk_norm_dim_scale=tuned,
        )
        if tuned:  # where Muon looks for matrices
            self.layers = self.decoder.layers

    def forward(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """As `TransformerXL.forward`."""
        mask = None
        if self.song_mask:
            mask = attention_mask(batch.segment_ids, memory.segment_ids, window=None)[:, None]
        hidden, between = self.decoder(
            self.embed(batch, memory),
            attn_mask=mask,
            mems=[layer[:, 0] for layer in memory.keys],
            return_hiddens=True,
        )
        inputs = between.hiddens[: len(memory.keys)]
        kept = [
            torch.cat([old[:, 0], new], dim=1) for old, new in zip(memory.keys, inputs, strict=True)
        ]
        whole = tuple(layer[:, None] for layer in kept)
        extended = memory.append(whole, tuple(self._none(whole)), batch)
        return self.predict(hidden, batch), extended.truncate(memory.length)

    def _none(self, layers: tuple[Tensor, ...]) -> list[Tensor]:
        return [layer[..., :0] for layer in layers]

    def empty_memory(self, lanes: int, **options: Any) -> Memory:
        """Room for each layer's inputs in place of keys, for one head as wide as the model."""
        config, length = self.config, options.get("length") or self.config.memory
        shape = {"lanes": lanes, "heads": 1, "length": length, "head_width": config.d_model}
        shape |= {"device": self.embed.token.weight.device, "layers": config.layers}
        memory = Memory.empty(**shape, dtype=options.get("dtype", torch.float32))
        return memory._replace(values=tuple(self._none(memory.keys)))


@click.command(cls=Measurement)
@dataset_argument
@click.argument("name", type=click.Choice(["ours", "x-transformers", "x-transformers-tuned"]))
@click.argument("settings", nargs=-1)
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=150, show_default=True)
def command(dataset: Path, name: str, settings: tuple[str, ...], seed: int, steps: int) -> None:
    """Train our model or x-transformers' decoder on DATASET; print its losses as a line of JSON.

    Both have our embedding, heads, loss, batches, mask, learning rates and AdamW; 4 layers of width
    128, 64 lanes x 32 tokens, M = 32; validation is the first 40 batches. x-transformers' decoder
    has rotary positions and Transformer-XL memory, otherwise its own defaults and first weights.
    Its memory holds the layers' inputs, as in Dai et al. 2019; ours holds keys and values, made
    with the weights of one step earlier. x-transformers-tuned has QK-norm and, with optimizer=muon,
    our optimizer too: the strongest peer that a user could build. SETTINGS are written as in
    `trainer fit --set`.
    """
    changed = [f"seed={seed}", f"steps={steps}", *settings]
    trainer = make_trainer(open_dataset(dataset), [*SETTINGS.split(), *changed])
    if name != "ours":
        config = trainer.config
        torch.manual_seed(seed)
        trainer.model = Peer(config.model, tuned=name == "x-transformers-tuned")
        trainer.optimizers = optim.make_optimizers(trainer.model, config.train)
        trainer.forget()
    cpu = train(trainer)
    line = {"name": name, "seed": seed, "settings": settings}
    line |= {"parameters": trainer.parameter_count, **scores(trainer, BATCHES), "cpu": round(cpu)}
    print(json.dumps(line))
