"""The Transformer-XL, readable from top to bottom.

Each token is the sum of four embeddings: what it is, which instrument plays it, in which bar and
on which step of the bar it stands. Pre-norm blocks of attention over memory and block, and of a
feed-forward net, follow; then two heads: the next token, and the next note's instrument.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H heads, E = C / H head width, V tokens in the vocabulary, I instrument classes
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.attention import Attention
from trainer.batches import Batch
from trainer.config import ModelConfig
from trainer.memory import Memory, readable, remember, visible


class Output(NamedTuple):
    """What the two heads say of the token that follows, before the softmax.

    Attributes:
        tokens: shape (B, T, V).
        instruments: shape (B, T, I); means something where a pitch follows.
    """

    tokens: Tensor
    instruments: Tensor


class TransformerXL(nn.Module):
    """Predicts a song's next token from those before it, near ones in the block, far in memory.

    Args:
        config: sizes and options.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.token_head = nn.Linear(config.width, config.tokens, bias=False)
        self.instrument_head = nn.Linear(config.width, config.instruments, bias=False)

    def forward(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """Predict, and remember.

        Args:
            batch: T tokens a lane; the targets are not looked at.
            memory: what the block before has left, of `empty_memory` at first.

        Returns:
            The predictions, and the memory for the next block, as long as the one given.
        """
        output, keys, values = self.attend(batch, memory)
        visits = torch.cat([memory.visits, batch.visits], dim=1)
        dtype = memory.keys[0].dtype
        kept = remember(
            tuple(layer.to(dtype) for layer in keys),
            tuple(layer.to(dtype) for layer in values),
            visits,
            memory.length,
        )
        return output, kept

    def attend(
        self, batch: Batch, memory: Memory
    ) -> tuple[Output, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Predict, and hand out every layer's keys and values, each shape (B, H, K, E)."""
        mask = visible(batch.visits, memory.visits, window=self.config.window)
        memory = readable(memory, mask)
        table = self.layers[0].attention.positions.table(mask.shape[2], mask.device)
        mask = mask[:, None]
        x = self.embed(batch)
        all_keys, all_values = [], []
        for layer, past_keys, past_values in zip(
            self.layers, memory.keys, memory.values, strict=True
        ):
            x, keys, values = layer(x, past_keys, past_values, mask, table)
            all_keys.append(keys)
            all_values.append(values)
        x = self.norm(x)
        output = Output(self.token_head(x), self.instrument_head(x))
        return output, tuple(all_keys), tuple(all_values)

    def empty_memory(
        self, lanes: int, *, length: int | None = None, dtype: torch.dtype = torch.float32
    ) -> Memory:
        """A memory for this model, on its device; `length` instead of the configured M."""
        return Memory.empty(
            layers=self.config.layers,
            lanes=lanes,
            heads=self.config.heads,
            length=self.config.memory if length is None else length,
            head_width=self.config.width // self.config.heads,
            device=self.norm.weight.device,
            dtype=dtype,
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Set all weights: normal, 0.02; what ends in the residual stream less, by the depth.

        Source: Radford et al. 2019, GPT-2, section 2.3.
        """
        for name, parameter in self.named_parameters():
            if name.endswith((".bias", ".u", ".v")):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 1:
                nn.init.ones_(parameter)  # the norms' scales
            else:
                depth = 2 * self.config.layers if name.endswith("_out.weight") else 1
                nn.init.normal_(parameter, std=0.02 * depth**-0.5, generator=generator)


class Embedding(nn.Module):
    """What a token is, who plays it, and where it stands: four vectors, added."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.tokens, config.width)
        self.instrument = nn.Embedding(config.instruments + 1, config.width)  # + none
        self.bar = nn.Embedding(config.max_bars, config.width)
        self.step = nn.Embedding(config.bar_steps, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """(B, T) each -> (B, T, C)."""
        bars = batch.bars.clamp(max=self.bar.num_embeddings - 1)
        return self.dropout(
            self.token(batch.tokens)
            + self.instrument(batch.instruments)
            + self.bar(bars)
            + self.step(batch.steps)
        )


class Layer(nn.Module):
    """Attention, then a feed-forward net, each on a normed copy and added back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config.width, config.heads, config.positions, config.dropout)
        self.feed_norm = nn.LayerNorm(config.width)
        self.feed = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, past_keys: Tensor, past_values: Tensor, mask: Tensor, table: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> (B, T, C), and the layer's keys and values; see `Attention.forward`."""
        normed = self.attention_norm(x)
        attended, keys, values = self.attention(normed, past_keys, past_values, mask, table)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.feed(self.feed_norm(x)))
        return x, keys, values


class FeedForward(nn.Module):
    """Out to a wider space, GELU, and back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project_in = nn.Linear(config.width, config.feed * config.width)
        self.project_out = nn.Linear(config.feed * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.project_out(functional.gelu(self.project_in(x)))
