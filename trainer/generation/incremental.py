"""Run the model a few tokens at a time, with the predictions that whole blocks would give.

The memory works as in training: the tokens of a block see what the previous blocks left, and a
full block is cut back to the last M tokens.

Keys and values are stored in preallocated slots, so the time and memory per token do not depend on
the length of the song. Feeding one token at a time, the usual case, has its own faster path: no
mask is needed, because all stored keys belong to the same song.

Conventions
    B lanes, all at the same position of their block; V tokens in the vocabulary
    P = 128 programs, H attention heads, E head width
    T tokens in a block, M tokens in the memory
    slot     one of M + T; position t of a block has slot M + t, the memory comes just before
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shards.vocabulary import PITCHES
from trainer.data.batches import Batch
from trainer.generation import token_graph
from trainer.generation.fast_weights import stored_dtype
from trainer.generation.one_token import one_token
from trainer.generation.token_graph import TokenGraph
from trainer.model.knn.store import Retrieval
from trainer.model.memory import Memory
from trainer.model.position_encoding import ROTARY
from trainer.model.transformer import Output, TransformerXL

ALIGNMENT = 64
"""Bytes of a cache line."""


class IncrementalModel:
    """A model, the tokens fed to it so far (one song per lane), and its latest predictions.

    Args:
        model: in evaluation mode.
        block_size: T of the training.
        lanes: B.
    """

    def __init__(self, model: TransformerXL, block_size: int, lanes: int = 1) -> None:
        config, device = model.config, model.norm.weight.device
        self.model, self.block_size = model, block_size
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(device))
        width = config.d_model // config.heads
        shape = config.layers, 2, lanes, config.heads, config.memory + block_size, width
        self._first = self._next = config.memory
        self._tokens, self._lanes, self._device = 0, lanes, device  # fed so far
        with self._running():
            self._slots = _zeros(shape, stored_dtype(model), device)  # keys and values
            self._store = model.empty_memory(lanes, length=0).store
            self._graph = TokenGraph(model, self._slots) if token_graph.is_possible(model) else None
        self._is_of_graph = False  # whether the latest predictions are
        none = np.array(model.embed.none)[:, None, None]
        self._before = np.broadcast_to(none, (2, lanes, 1))  # the last token, and its instrument
        self._asked: bytes | None = None  # conditions of the last token that was fed alone
        self._conditions: Tensor  # their embedding
        self._last: Output

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Without gradients; on a GPU in a stream of its own, beside which others may run."""
        stream = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with torch.inference_mode(), stream:
            yield

    def feed(self, inputs: np.ndarray) -> Output:
        """Feed the songs' next tokens.

        Args:
            inputs: shape (5 or 8, B, tokens), integer: tokens, instruments (the number of classes
                for none), bars, steps, velocities (the number of bins for none); conditions and
                both halves of the band, if any are given. At least one token.

        Returns:
            The predictions after each of them, shapes (B, tokens, …).
        """
        with self._running():
            self._last = self._feed(inputs)
        return self._last

    def _feed(self, inputs: np.ndarray) -> Output:
        slots, outputs = self._slots.shape[4], []
        is_rotary = self.model.config.position_encoding in ROTARY
        while inputs.shape[2]:
            part = inputs[:, :, : slots - self._next]
            is_single = is_rotary and part.shape[2] == 1
            self._is_of_graph = is_single and self._graph is not None and inputs.shape[2] == 1
            outputs.append(self._feed_single(part) if is_single else self._feed_several(part))
            self._before = part[:2, :, -1:].copy()
            inputs = inputs[:, :, part.shape[2] :]
            if self._next == slots:
                self._end_block()
        return outputs[0] if len(outputs) == 1 else _joined(outputs)

    def _feed_several(self, inputs: np.ndarray) -> Output:
        """Feed part of a block through the code that training uses."""
        batch, count = self._batch(inputs), inputs.shape[2]
        keys, values = self._slots[..., self._first : self._next, :].unbind(1)
        none = batch.segment_ids.new_zeros(self._lanes, keys.shape[3])
        place = none.new_full((self._lanes,), self._tokens)
        last = torch.zeros(self._lanes, 3, device=self._device, dtype=torch.int64)
        last[:, :2] = torch.from_numpy(self._before[..., 0].T.astype(np.int64))
        past = Memory(keys.unbind(), values.unbind(), none, place, last, self._store)
        output, extended = self.model.attend(batch, past)
        new = self._slots[..., self._next : self._next + count, :]
        for number, layer in enumerate(zip(extended.keys, extended.values, strict=True)):
            for stored, given in zip(new[number], layer, strict=True):
                stored.copy_(given[:, :, -count:])
        self._store = extended.store
        self._next, self._tokens = self._next + count, self._tokens + count
        return output

    def _feed_single(self, inputs: np.ndarray) -> Output:
        """Feed one token."""
        at, window = self._next, self.model.config.window
        first = self._first if window is None else max(self._first, at + 1 - window)
        if self._graph is not None:
            return self._feed_graph(self._graph, inputs, at, first)
        seen = self._slots[..., first : at + 1, :].unbind()
        here = self._slots[..., at, :].flatten(0, 1).unbind()

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            here[2 * layer].copy_(keys)
            here[2 * layer + 1].copy_(values)
            wanted = queries[:, :, None].to(self._slots.dtype)
            return functional.scaled_dot_product_attention(wanted, seen[layer][0], seen[layer][1])[
                :, :, 0
            ]

        batch, retrieval = self._batch(inputs), None
        if self._store is not None:
            assert self.model.neighbours is not None
            retrieval = Retrieval(self.model.neighbours, batch, self._store)
        hidden = one_token(
            self.model,
            self._embed(batch, inputs),
            self.model.layers[0].attention.positions.table(
                at + 1, self._place(), batch.bars, batch.steps
            ),
            attend,
            self._store and retrieval and (self._store.layer, retrieval),
        )
        if retrieval is not None:
            self._store = retrieval.append()
        self._next, self._tokens = at + 1, self._tokens + 1
        return self.model.predict(hidden, batch)

    def _feed_graph(self, graph: TokenGraph, inputs: np.ndarray, at: int, first: int) -> Output:
        """Feed one token, as a CUDA graph."""
        if self._asks(inputs) and self.model.embed.conditions is not None:
            graph.ask(self.model.embed.conditions(self._batch(inputs)))
        output = graph.feed([inputs[:5], self._before], at, first, self._tokens)
        self._next, self._tokens = at + 1, self._tokens + 1
        return output

    def _embed(self, batch: Batch, inputs: np.ndarray) -> Tensor:
        """The embedding of one token a lane; conditions are embedded when they change."""
        embed = self.model.embed
        before = torch.from_numpy(self._before.astype(np.int64)).to(self._device)
        x = embed.of_tokens(batch, (before[0], before[1]))
        if embed.conditions is None:
            return x
        if self._asks(inputs):
            self._conditions = embed.conditions(batch)
        return x + self._conditions

    def _asks(self, inputs: np.ndarray) -> bool:
        """Whether the conditions of one token a lane differ from those of the last."""
        last, self._asked = self._asked, inputs[5:].tobytes()
        return last != self._asked

    def _end_block(self) -> None:
        """Move the last M tokens to the slots of the memory."""
        M = self.model.config.memory
        kept = min(M, self._next - self._first)
        if self._store is not None:
            values = self._slots[self._store.layer, 1, :, :, self._first : self._next]
            segment_ids = self._place().new_zeros(self._lanes, values.shape[2])
            self._store = self._store.truncate(values, segment_ids, kept).flush()
        self._slots[..., M - kept : M, :] = self._slots[
            ..., self._next - kept : self._next, :
        ].clone()
        self._first, self._next = M - kept, M

    def _place(self) -> Tensor:
        """The place of the next token, shape (1,)."""
        return torch.full((1,), self._tokens, device=self._device)

    def _batch(self, inputs: np.ndarray) -> Batch:
        columns = torch.from_numpy(inputs.astype(np.int64)).to(self._device)
        asked = dict(zip(("conditions", "band_low", "band_high"), columns[5:], strict=False))
        none = torch.zeros_like(columns[0])
        return Batch(*columns[:4], segment_ids=none, velocities=columns[4], **asked)

    def token_logits(self) -> np.ndarray:
        """Logits of the next token, shape (B, V), float64."""
        if self._is_of_graph and self._graph is not None:
            with self._running():
                return self._graph.logits()
        return _last(self._last.token_logits)

    def instrument_logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits of the next token's instrument, shape (B, P), float64; `tokens`: shape (B,)."""
        with self._running():
            if self._is_of_graph and self._graph is not None:
                return self._graph.instrument_logits(tokens)
            hidden = self._last.hidden[:, -1:]
            return _last(self.model.instrument_head(hidden, self._tensor(tokens)))

    def instrument_logits_after_pitches(self, lane: int, pitch0: int) -> np.ndarray:
        """Logits of the instrument after each pitch in one lane, shape (128, P), float64.

        Args:
            lane: of the song.
            pitch0: the token of pitch 0.
        """
        with self._running():
            pitches = torch.arange(pitch0, pitch0 + PITCHES, device=self._device)
            hidden = self._last.hidden[lane, -1:].expand(PITCHES, -1)
            logits = self.model.instrument_head(hidden[None], pitches[None])[0]
            return logits.double().cpu().numpy()

    def velocity_logits(self, tokens: np.ndarray, instruments: np.ndarray) -> np.ndarray | None:
        """Logits of the next note's velocity, shape (B, bins), float64; None without such a head.

        Args:
            tokens, instruments: of the note, shape (B,).
        """
        if self.model.velocity_head is None:
            return None
        with self._running():
            if self._is_of_graph and self._graph is not None:
                return self._graph.velocity_logits(tokens, instruments)
            known = self._tensor(tokens), self._tensor(instruments)
            return _last(self.model.velocity_head(self._last.hidden[:, -1:], *known))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)[:, None].to(self._device)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU in huge pages, for which numpy asks: attention takes 20 to 35 % less."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    count = math.prod(shape) * dtype.itemsize
    memory = np.empty(count + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return torch.from_numpy(memory)[first : first + count].view(dtype).view(shape).zero_()


def _joined(outputs: list[Output]) -> Output:
    return Output._make(
        None if part[0] is None else torch.cat(part, dim=1) for part in zip(*outputs, strict=True)
    )


def _last(logits: Tensor) -> np.ndarray:
    """(B, tokens, classes) -> (B, classes), of the last token; float64 on the CPU."""
    return logits[:, -1].double().cpu().numpy()
