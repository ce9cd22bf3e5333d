"""The Transformer-XL, from its parts to the whole model.

A token's input is the sum of its embeddings: its id, its instrument, its bar, its step within the
bar, and optionally its velocity and the token before it. Then come pre-norm layers of attention
(over memory and block) and a feed-forward network, and the heads: the next token, its instrument,
and optionally its velocity.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H attention heads, E = C / H head width
    V tokens in the vocabulary, P = 128 programs
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask

from shards.errors import SettingError
from shards.vocabulary import PROGRAMS, VELOCITY_BINS
from trainer.config import ModelConfig
from trainer.data.batches import Batch
from trainer.model import flex
from trainer.model.attention import Attention, Retrieve
from trainer.model.conditions import ConditionEmbedding
from trainer.model.knn.store import NearestNeighbours, Retrieval, Store
from trainer.model.linear import Linear
from trainer.model.memory import Memory, attention_mask, previous_inputs, zero_unattended
from trainer.model.position_encoding import ROTARY


class Embedding(nn.Module):
    """The sum of a token's embeddings; for masked inputs one learned vector instead.

    Masked inputs: `trainer.training.reverse_teacher_forcing`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Embedding(config.vocab_size, config.d_model)
        self.instrument = nn.Embedding(config.instrument_classes + 1, config.d_model)  # + none
        self.bar = nn.Embedding(config.max_bars, config.d_model)
        self.step = nn.Embedding(config.max_bar_steps, config.d_model)
        self.velocity = (
            nn.Embedding(VELOCITY_BINS + 1, config.d_model) if config.velocity_head else None
        )
        self.previous = (
            nn.ModuleList(
                nn.Embedding(n, config.d_model)
                for n in (config.vocab_size, config.instrument_classes + 1)
            )
            if config.previous_token
            else None
        )
        self.none = 0, config.instrument_classes  # stand for no token before: <pad>, and none
        self.masked = nn.Embedding(1, config.d_model) if config.rtf == "strict" else None
        self.conditions = ConditionEmbedding(config.d_model) if config.conditions else None
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch, memory: Memory) -> Tensor:
        """(B, T) each -> (B, T, C); `memory` knows the token before the block."""
        x = self.of_tokens(batch, previous_inputs(batch, memory, self.none))
        if self.conditions is not None:
            x = x + self.conditions(batch)
        if batch.masked_inputs is not None and self.masked is not None:
            x = torch.where(batch.masked_inputs[..., None], self.masked.weight[0], x)
        return self.dropout(x)

    def of_tokens(self, batch: Batch, previous: tuple[Tensor, Tensor]) -> Tensor:
        """The same without conditions, masks and dropout; `previous`: of `previous_inputs`."""
        bars = batch.bars.clamp(max=self.bar.num_embeddings - 1)
        x = self.token(batch.tokens) + self.instrument(batch.instruments)
        x = x + self.bar(bars) + self.step(batch.steps)
        if self.previous is not None:
            for embedding, values in zip(self.previous, previous, strict=True):
                x = x + embedding(values)
        return x if self.velocity is None else x + self.velocity(batch.velocities)


class FeedForward(nn.Module):
    """Two linear layers with a GELU in between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.project_in = Linear(config.d_model, config.mlp_ratio * config.d_model)
        self.project_out = Linear(config.mlp_ratio * config.d_model, config.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.project_out(functional.gelu(self.project_in(x)))


class Layer(nn.Module):
    """Attention, then a feed-forward network, each on normalized input and added to the stream."""

    def __init__(self, config: ModelConfig, number: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.d_model)
        self.attention = Attention(
            config.d_model,
            config.heads,
            config.position_encoding,
            qk_norm=config.qk_norm,
            value_residual=config.value_residual and number > 0,
        )
        self.mlp_norm = nn.LayerNorm(config.d_model)
        self.mlp = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        mask: Tensor | BlockMask,
        table: Any,
        first_values: Tensor | None = None,
        retrieve: Retrieve | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> (B, T, C), and the layer's keys and values; see `Attention.forward`."""
        attended, keys, values = self.attention(
            self.attention_norm(x), past_keys, past_values, mask, table, first_values, retrieve
        )
        x = x + self.dropout(attended)
        x = x + self.dropout(self.mlp(self.mlp_norm(x)))
        return x, keys, values


class Head(nn.Module):
    """Logits of one property of the next token: its instrument or its velocity.

    `conditions` are properties that are decided already: the instrument head sees the next token
    itself, the velocity head the token and its instrument. In training they are the targets, in
    generation what was just sampled.

    Args:
        config: of the model.
        classes: number of classes.
        conditions: number of values of each condition.
    """

    def __init__(self, config: ModelConfig, classes: int, conditions: tuple[int, ...]) -> None:
        super().__init__()
        self.conditions = nn.ModuleList(nn.Embedding(n, config.d_model) for n in conditions)
        self.mix = Linear(config.d_model, config.d_model, bias=False)
        self.project = Linear(config.d_model, classes, bias=False)

    def forward(self, hidden: Tensor, *conditions: Tensor) -> Tensor:
        """(B, T, C) and each condition, (B, T), negative where unknown -> (B, T, classes)."""
        hidden = self.mix(hidden)
        for embedding, values in zip(self.conditions, conditions, strict=True):
            hidden = hidden + embedding(values.clamp(min=0))
        return self.project(functional.gelu(hidden))


class Output(NamedTuple):
    """Logits of the token that follows each input.

    Attributes:
        token_logits: shape (B, T, V).
        hidden: shape (B, T, C); the input of the other heads.
        instrument_logits: shape (B, T, P); meaningful where a pitch or control follows. None if the
            batch has no targets.
        velocity_logits: shape (B, T, bins), likewise, also for a drum; None also without a velocity
            head.
    """

    token_logits: Tensor
    hidden: Tensor
    instrument_logits: Tensor | None
    velocity_logits: Tensor | None


class TransformerXL(nn.Module):
    """Predicts a song's next token from the earlier ones: recent in the block, older in the memory.

    Args:
        config: sizes and options.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = Embedding(config)
        layers = nn.ModuleList(Layer(config, number) for number in range(config.layers))
        self.layers = cast(Sequence[Layer], layers)  # a ModuleList has no type of its items
        self.norm = nn.LayerNorm(config.d_model)
        self.token_head = Linear(config.d_model, config.vocab_size, bias=False)
        self.instrument_head = Head(config, PROGRAMS, (config.vocab_size,))
        self.velocity_head = (
            Head(config, VELOCITY_BINS, (config.vocab_size, PROGRAMS))
            if config.velocity_head
            else None
        )
        self.neighbours = (
            NearestNeighbours(config.heads, config.knn_k, config.knn_backend)
            if config.knn
            else None
        )

    def forward(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """Predict the next tokens and update the memory.

        Args:
            batch: T tokens per lane. Its targets are read only by the instrument and the velocity
                head.
            memory: what the previous block left; `empty_memory` at first.

        Returns:
            The predictions, and the memory for the next block, as long as the one given.
        """
        output, extended = self.attend(batch, memory)
        return output, extended.truncate(memory.length)

    def attend(self, batch: Batch, memory: Memory) -> tuple[Output, Memory]:
        """Predict the next tokens; return the memory with the block appended, not truncated."""
        past, tokens = zero_unattended(memory, batch.segment_ids), batch.tokens.shape[1]
        mask = self._mask(batch, memory)
        places = memory.place[:1] + torch.arange(tokens, device=memory.place.device)
        table = self.layers[0].attention.positions.table(
            memory.length + tokens, places, batch.bars, batch.steps
        )
        retrieval = None
        if self.neighbours is not None and memory.store is not None:
            retrieval = Retrieval(self.neighbours, batch, memory.store)
        x = self.embed(batch, memory)
        all_keys, all_values = [], []
        for number, layer in enumerate(self.layers):
            retrieve = retrieval if number == self.config.retrieving_layer else None
            first = all_values[0][:, :, memory.length :] if number else None
            x, keys, values = layer(
                x, past.keys[number], past.values[number], mask, table, first, retrieve
            )
            all_keys.append(keys)
            all_values.append(values)
        extended = memory.append(all_keys, all_values, batch)
        if retrieval is not None:
            extended = extended._replace(store=retrieval.append())
        return self.predict(self.norm(x), batch), extended

    def _mask(self, batch: Batch, memory: Memory) -> Tensor | BlockMask:
        """The mask rule for `Attention.forward`, dense or as tiles."""
        config = self.config
        sizes = batch.tokens.shape[1], memory.length
        is_allowed = (
            torch.compiler.is_compiling()
            and config.position_encoding in ROTARY
            and batch.min_distance is None
            and not any(size % flex.TILE for size in sizes)
            and (batch.tokens.is_cuda or not torch.is_grad_enabled())  # no gradient on a CPU
        )
        wins = batch.tokens.is_cuda and sum(sizes) >= flex.FROM_KEYS
        if is_allowed and (config.attention == "flex" or (config.attention == "auto" and wins)):
            return flex.segment_mask(batch.segment_ids, memory.segment_ids, config.window)
        mask = attention_mask(
            batch.segment_ids,
            memory.segment_ids,
            window=config.window,
            min_distance=batch.min_distance,
        )
        return mask[:, None]

    def predict(self, hidden: Tensor, batch: Batch) -> Output:
        """The logits of all heads, from the normalized output of the last layer, (B, T, C)."""
        targets, instrument_targets = batch.targets, batch.instrument_targets
        return Output(
            self.token_head(hidden),
            hidden,
            None if targets is None else self.instrument_head(hidden, targets),
            None
            if targets is None or instrument_targets is None
            else self.velocity_logits(hidden, targets, instrument_targets),
        )

    def velocity_logits(self, hidden: Tensor, tokens: Tensor, instruments: Tensor) -> Tensor | None:
        """Logits of the velocity of the next token, a pitch or drum.

        Args:
            hidden: of `Output`.
            tokens: shape (B, T), the next token; negative for none.
            instruments: shape (B, T), of the next token; negative for none, as for a drum.

        Returns:
            shape (B, T, bins); None without a velocity head.
        """
        if self.velocity_head is None:
            return None
        return self.velocity_head(hidden, tokens, instruments)

    def empty_memory(
        self, lanes: int, *, length: int | None = None, dtype: torch.dtype = torch.float32
    ) -> Memory:
        """An empty memory for this model, on its device; of `length` tokens, else M."""
        config = self.config
        shape = {
            "lanes": lanes,
            "heads": config.heads,
            "length": config.memory if length is None else length,
            "head_width": config.d_model // config.heads,
            "device": self.norm.weight.device,
        }
        store = None
        if config.retrieving_layer is not None:
            if config.knn_capacity is None:
                raise SettingError("knn_capacity is none; expected the longest song's tokens")
            layer, capacity = config.retrieving_layer, config.knn_capacity
            store = Store.empty(**shape, dtype=dtype, capacity=capacity, layer=layer)
        return Memory.empty(**shape, layers=config.layers, dtype=dtype)._replace(store=store)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights: normal(0.02); divided by sqrt(2 · layers) where they add to the stream.

        Source: Radford et al. 2019, GPT-2, section 2.3.
        """
        for name, parameter in self.named_parameters():
            if name.startswith("neighbours."):
                continue  # its constructor sets them
            if name.endswith((".bias", ".u", ".v")) or name.startswith("embed.conditions."):
                nn.init.zeros_(parameter)
            elif name.endswith(".value_mix"):
                nn.init.constant_(parameter, 0.5)
            elif parameter.dim() == 1 or name.endswith(".logit_scale"):
                nn.init.ones_(parameter)  # of the norms
            else:
                depth = 2 * self.config.layers if name.endswith("_out.weight") else 1
                nn.init.normal_(parameter, std=0.02 * depth**-0.5, generator=generator)
