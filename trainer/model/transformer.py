"""The Transformer-XL, readable from top to bottom.

Each token is the sum of its embeddings: what it is, which instrument plays it, in which bar and
on which step of the bar it stands, and if wanted how loud it is. Pre-norm blocks of attention over
memory and block, and of a feed-forward net, follow; then the heads: the next token, the next note's
instrument, and if wanted its velocity.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H heads, E = C / H head width, V tokens in the vocabulary, I instrument classes
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.errors import SettingError
from shards.vocabulary import VELOCITY_BINS
from trainer.config import ModelConfig
from trainer.data.batches import Batch
from trainer.model.attention import Attention, Recall
from trainer.model.knn.store import NearestNeighbours, Recollection, Store
from trainer.model.linear import Linear
from trainer.model.memory import Memory, readable, visible


class Output(NamedTuple):
    """What the heads say of the token that follows, before the softmax.

    Attributes:
        tokens: shape (B, T, V).
        hidden: shape (B, T, C); what `TransformerXL.instruments` and `velocities` take.
        instruments: shape (B, T, I); means something where a pitch follows. None where the
            head needs to see the next token, and the batch does not name it.
        velocities: shape (B, T, bins), likewise; None also where there is no such head.
    """

    tokens: Tensor
    hidden: Tensor
    instruments: Tensor | None
    velocities: Tensor | None


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
        self.norm = nn.LayerNorm(config.d_model)
        self.token_head = Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.token_head.weight = self.embed.token.weight
        self.instrument_head = Head(
            config,
            config.instrument_classes,
            (config.vocab_size,) if _is_conditional(config) else (),
        )
        self.velocity_head = (
            Head(config, VELOCITY_BINS, (config.vocab_size, config.instrument_classes))
            if config.velocity == "predict"
            else None
        )
        self.neighbours = (
            NearestNeighbours(config.heads, config.knn_k, config.knn_backend)
            if config.knn
            else None
        )

    def forward(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """Predict, and remember.

        Args:
            batch: T tokens a lane. The targets are looked at only by heads that are to know what
                they speak of: a conditional instrument head, and the velocity head.
            memory: what the block before has left, of `empty_memory` at first.

        Returns:
            The predictions, and the memory for the next block, as long as the one given.
        """
        output, grown = self.attend(batch, memory)
        return output, grown.cut(memory.length)

    def attend(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """Predict, and hand out the memory with the block added, not yet cut to its length."""
        mask = visible(
            batch.segment_ids,
            memory.segment_ids,
            window=self.config.window,
            min_distance=batch.min_distance,
        )
        past = readable(memory, mask)
        table = self.layers[0].attention.positions.table(mask.shape[2], mask.device)
        mask = mask[:, None]
        x = self.embed(batch)
        all_keys, all_values = [], []
        recall = self._recollection(batch, memory)
        for number, (layer, past_keys, past_values) in enumerate(
            zip(self.layers, past.keys, past.values, strict=True)
        ):
            at_store = recall if number == self.config.knn_at else None
            x, keys, values = layer(x, past_keys, past_values, mask, table, at_store)
            all_keys.append(keys)
            all_values.append(values)
        grown = memory.grown(tuple(all_keys), tuple(all_values), batch.segment_ids, batch.bars)
        if recall is not None:
            grown = grown._replace(store=grown.store._replace(found=recall.found))
        return self.predict(self.norm(x), batch), grown

    def _recollection(self, batch: Batch, memory: Memory) -> Recollection | None:
        """Of the block, where the memory has a store; without one the model does without."""
        return memory.store and Recollection(self.neighbours, batch, memory.store)

    def predict(self, hidden: Tensor, batch: Batch) -> Output:
        """What the heads make of the last layer's normed output, shape (B, T, C)."""
        named = batch.targets is not None
        return Output(
            self.token_head(hidden),
            hidden,
            self.instruments(hidden, batch.targets)
            if named or not self.instrument_head.told
            else None,
            self.velocities(hidden, batch.targets, batch.instrument_targets) if named else None,
        )

    def instruments(self, hidden: Tensor, tokens: Tensor | None) -> Tensor:
        """Which instrument plays the next token.

        Args:
            hidden: of `Output`.
            tokens: shape (B, T), the next token; negative where there is none. Looked at by a
                conditional head alone.

        Returns:
            shape (B, T, I), before the softmax.
        """
        return self.instrument_head(hidden, tokens)

    def velocities(self, hidden: Tensor, tokens: Tensor, instruments: Tensor) -> Tensor | None:
        """How loud the next token is, which is a pitch; arguments as in `instruments`.

        Returns:
            shape (B, T, bins), before the softmax; None where there is no such head.
        """
        if self.velocity_head is None:
            return None
        return self.velocity_head(hidden, tokens, instruments)

    def empty_memory(
        self, lanes: int, *, length: int | None = None, dtype: torch.dtype = torch.float32
    ) -> Memory:
        """A memory for this model, on its device; `length` instead of the configured M."""
        config = self.config
        shape = {
            "lanes": lanes,
            "heads": config.heads,
            "length": config.memory if length is None else length,
            "head_width": config.d_model // config.heads,
            "device": self.norm.weight.device,
        }
        store = None
        if config.knn:
            if config.knn_capacity is None:
                raise SettingError("knn_capacity is none; expected the longest song's tokens")
            store = Store.empty(**shape, capacity=config.knn_capacity, layer=config.knn_at)
        return Memory.empty(**shape, layers=config.layers, dtype=dtype)._replace(store=store)

    def initialize(self, generator: torch.Generator) -> None:
        """Set all weights: normal, 0.02; what ends in the residual stream less, by the depth.

        With `zero_init` what ends there starts at zero.

        Sources:
            Radford et al. 2019, GPT-2, section 2.3.
            Zhang et al. 2019, Fixup, for the zeros. https://arxiv.org/abs/1901.09321
        """
        for name, parameter in self.named_parameters():
            if name.startswith("neighbours."):
                continue  # starts as it says itself
            ends_in_stream = name.endswith("_out.weight")
            if name.endswith((".bias", ".u", ".v")) or (ends_in_stream and self.config.zero_init):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 1 or name.endswith(".scale"):
                nn.init.ones_(parameter)  # of the norms
            else:
                depth = 2 * self.config.layers if ends_in_stream else 1
                nn.init.normal_(parameter, std=0.02 * depth**-0.5, generator=generator)


def _is_conditional(config: ModelConfig) -> bool:
    return config.instrument_head == "conditional"


class Embedding(nn.Module):
    """What a token is, who plays it, where it stands, and how loud it is: vectors, added."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.d_model)
        self.instrument = nn.Embedding(config.instrument_classes + 1, config.d_model)  # + none
        self.bar = nn.Embedding(config.max_bars, config.d_model)
        self.step = nn.Embedding(config.max_bar_steps, config.d_model)
        self.velocity = (
            nn.Embedding(VELOCITY_BINS + 1, config.d_model) if config.velocity != "none" else None
        )
        self.unseen = nn.Embedding(1, config.d_model) if config.rtf == "strict" else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> Tensor:
        """(B, T) each -> (B, T, C)."""
        bars = batch.bars.clamp(max=self.bar.num_embeddings - 1)
        x = self.token(batch.tokens) + self.instrument(batch.instruments)
        x = x + self.bar(bars) + self.step(batch.steps)
        if self.velocity is not None:
            x = x + self.velocity(batch.velocities)
        if batch.masked_inputs is not None:
            x = torch.where(batch.masked_inputs[..., None], self.unseen.weight[0], x)
        return self.dropout(x)


class Layer(nn.Module):
    """Attention, then a feed-forward net, each on a normed copy and added back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = Attention(
            config.d_model,
            config.heads,
            config.position_encoding,
            config.dropout,
            qk_norm=config.qk_norm,
        )
        self.feed_norm = nn.LayerNorm(config.d_model)
        self.feed = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        mask: Tensor,
        table: Any,
        recall: Recall | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> (B, T, C), and the layer's keys and values; see `Attention.forward`."""
        normed = self.attention_norm(x)
        attended, keys, values = self.attention(normed, past_keys, past_values, mask, table, recall)
        x = x + self.dropout(attended)
        x = x + self.dropout(self.feed(self.feed_norm(x)))
        return x, keys, values


class FeedForward(nn.Module):
    """Out to a wider space, a nonlinearity, and back.

    Source: So et al. 2021, Primer, for the square of ReLU. https://arxiv.org/abs/2109.08668
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.squared = config.activation == "relu2"
        self.project_in = Linear(config.d_model, config.mlp_ratio * config.d_model)
        self.project_out = Linear(config.mlp_ratio * config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        wide = self.project_in(x)
        wide = functional.relu(wide).square() if self.squared else functional.gelu(wide)
        return self.project_out(wide)


class Head(nn.Module):
    """Scores classes of the next token; may be told what else is known of that token.

    Args:
        config: of the model.
        classes: how many there are to choose from.
        told: for each thing that it is told, how many values that has.
    """

    def __init__(self, config: ModelConfig, classes: int, told: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.told = nn.ModuleList(nn.Embedding(values, config.d_model) for values in told)
        self.mix = Linear(config.d_model, config.d_model, bias=False) if told else None
        self.project = Linear(config.d_model, classes, bias=False)

    def forward(self, hidden: Tensor, *known: Tensor | None) -> Tensor:
        """(B, T, C) and what is known, (B, T) each, negative for nothing -> (B, T, classes)."""
        if self.mix is not None:
            hidden = self.mix(hidden)
            for embedding, values in zip(self.told, known, strict=True):
                hidden = hidden + embedding(values.clamp(min=0))
            hidden = functional.gelu(hidden)
        return self.project(hidden)
