"""Feeds songs to a model a few tokens at a time, and predicts what training would have predicted.

The memory is used as in training: a block's tokens see what the blocks before it left, and when
the block is full, what is left is cut back to M tokens. The predictions are therefore those that
a whole block at once would have given.

Keys and values lie in fixed pieces of memory, so that time and memory of a token do not depend on
how long the song is. One token at a time, the most usual case takes a path of its own: rotary
keys are kept rotated, and no mask is made, as everything kept is of the same song.

Conventions
    B lanes, all at the same place of their block; V tokens in the vocabulary, I instrument classes
    H heads, E head width, T tokens in a block, M tokens in the memory
    slot     one of M + T; position t of a block has slot M + t, the memory lies just before
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.batches import Batch
from trainer.model.knn.store import Recollection
from trainer.model.memory import Memory
from trainer.model.position_encoding import rotate
from trainer.model.transformer import Output, TransformerXL


class Stream:
    """What has been fed so far, one song a lane, and what the model says follows.

    Args:
        model: in evaluation mode.
        block_size: T of the training.
        lanes: B.
    """

    def __init__(self, model: TransformerXL, block_size: int, lanes: int = 1) -> None:
        self.model, self.block_size, self.lanes = model, block_size, lanes
        M = model.config.memory
        self._slots = model.empty_memory(lanes, length=M + block_size)
        self._store = model.empty_memory(lanes, length=0).store
        self._first = self._next = M
        self._rotary = model.config.position_encoding == "rope"
        if self._rotary:
            self._placed = [torch.zeros_like(keys) for keys in self._slots.keys]
            positions = model.layers[0].attention.positions
            self._table = positions.table(M + block_size, self._slots.segment_ids.device)
        self._last: Output | None = None

    @torch.inference_mode()
    def feed(self, inputs: np.ndarray) -> Output:
        """Feed the songs' next tokens.

        Args:
            inputs: shape (5, B, tokens), integer: tokens, instruments (the number of classes for
                none), bars, steps, velocities (the number of bins for none). At least one token.

        Returns:
            The predictions after each of them, shapes (B, tokens, …).
        """
        columns = torch.from_numpy(inputs.astype(np.int64)).to(self._slots.segment_ids.device)
        outputs = []
        while columns.shape[2]:
            part = columns[:, :, : self.model.config.memory + self.block_size - self._next]
            outputs.append(self._feed_one(part) if self._is_usual(part) else self._feed(part))
            columns = columns[:, :, part.shape[2] :]
            if self._next == self.model.config.memory + self.block_size:
                self._end_block()
        parts = zip(*outputs, strict=True)
        self._last = Output(
            *(None if part[0] is None else torch.cat(part, dim=1) for part in parts)
        )
        return self._last

    def _is_usual(self, columns: Tensor) -> bool:
        return self._rotary and columns.shape[2] == 1

    def _feed(self, columns: Tensor) -> Output:
        """Feed part of a block, as training would."""
        seen = slice(self._first, self._next)
        segment_ids = torch.zeros_like(self._slots.segment_ids[:, seen])
        past = Memory(
            tuple(keys[:, :, seen] for keys in self._slots.keys),
            tuple(values[:, :, seen] for values in self._slots.values),
            segment_ids,
            self._store,
        )
        output, grown = self.model.attend(_batch(columns), past)
        count = columns.shape[2]
        new = slice(self._next, self._next + count)
        for layer in range(len(grown.keys)):
            self._slots.keys[layer][:, :, new] = grown.keys[layer][:, :, -count:]
            self._slots.values[layer][:, :, new] = grown.values[layer][:, :, -count:]
            self._place(layer, new)
        self._store = grown.store
        self._next += count
        return output

    def _place(self, layer: int, slots: slice) -> None:
        """Rotate the keys in some slots."""
        if self._rotary:
            table = (part[slots] for part in self._table)
            self._placed[layer][:, :, slots] = rotate(self._slots.keys[layer][:, :, slots], *table)

    def _feed_one(self, columns: Tensor) -> Output:
        """Feed one token: what `TransformerXL.attend` computes, written for this case."""
        at = self._next
        window = self.model.config.window
        first = self._first if window is None else max(self._first, at + 1 - window)
        batch = _batch(columns)
        x = self.model.embed(batch)
        for number, layer in enumerate(self.model.layers):
            attention = layer.attention
            queries, keys, values = attention.project(layer.attention_norm(x))
            self._slots.keys[number][:, :, at] = keys[:, :, 0]
            self._slots.values[number][:, :, at] = values[:, :, 0]
            here = slice(at, at + 1)
            self._place(number, here)
            mixed = functional.scaled_dot_product_attention(
                rotate(queries, *(part[here] for part in self._table)),
                self._placed[number][:, :, first : at + 1],
                self._slots.values[number][:, :, first : at + 1],
            )
            if self._store is not None and number == self._store.layer:
                mixed = Recollection(self.model.neighbours, batch, self._store)(queries, mixed)
                self._store = self._store.grown(batch.bars)
            x = x + attention.project_out(mixed.transpose(1, 2).flatten(2))
            x = x + layer.feed(layer.feed_norm(x))
        self._next += 1
        return self.model.predict(self.model.norm(x), batch)

    def _end_block(self) -> None:
        """Move the last M tokens to where the memory lies."""
        M = self.model.config.memory
        kept = min(M, self._next - self._first)
        if self._store is not None:
            past = slice(self._first, self._next)
            keys, values = (part[self._store.layer][:, :, past] for part in self._slots[:2])
            segment_ids = torch.zeros_like(self._slots.segment_ids[:, past])
            self._store = self._store.cut(keys, values, segment_ids, kept).settled()
        old, new = slice(self._next - kept, self._next), slice(M - kept, M)
        for layer in range(len(self._slots.keys)):
            for tensor in (self._slots.keys[layer], self._slots.values[layer]):
                tensor[:, :, new] = tensor[:, :, old].clone()
            self._place(layer, new)
        self._first, self._next = M - kept, M

    def tokens(self) -> np.ndarray:
        """Scores of the next token, before the softmax, shape (B, V), float64."""
        return _last(self._last.tokens)

    @torch.inference_mode()
    def instruments(self, tokens: np.ndarray | None = None) -> np.ndarray | None:
        """Scores of the instrument that plays the next token, shape (B, I), float64.

        Args:
            tokens: shape (B,); the next tokens. Without them the answer may be None: the model
                wants to know.
        """
        if tokens is None:
            scores = self._last.instruments
            return None if scores is None else _last(scores)
        return _last(self.model.instruments(self._last.hidden[:, -1:], self._named(tokens)))

    @torch.inference_mode()
    def velocities(self, tokens: np.ndarray, instruments: np.ndarray) -> np.ndarray | None:
        """Scores of how loud the next note is, shape (B, bins), float64; None without such a head.

        Args:
            tokens, instruments: of the note, shape (B,).
        """
        if self.model.velocity_head is None:
            return None
        known = self._named(tokens), self._named(instruments)
        return _last(self.model.velocities(self._last.hidden[:, -1:], *known))

    def _named(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)[:, None].to(self._slots.segment_ids.device)


def _batch(columns: Tensor) -> Batch:
    *others, velocities = columns
    return Batch(*others, segment_ids=torch.zeros_like(velocities), velocities=velocities)


def _last(scores: Tensor) -> np.ndarray:
    """(B, tokens, classes) -> (B, classes), of the last token; float64 on the CPU."""
    return scores[:, -1].double().cpu().numpy()
