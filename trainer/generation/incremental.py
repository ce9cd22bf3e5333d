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

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shards.vocabulary import PITCHES
from trainer.data.batches import Batch
from trainer.model.knn.store import Retrieval
from trainer.model.memory import Memory
from trainer.model.position_encoding import ROTARY, rotate
from trainer.model.transformer import Output, TransformerXL


class IncrementalModel:
    """A model, the tokens fed to it so far (one song per lane), and its latest predictions.

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
        self._place = self._slots.place
        self._is_rotary = model.config.position_encoding in ROTARY
        self._last: Output

    @torch.inference_mode()
    def feed(self, inputs: np.ndarray) -> Output:
        """Feed the songs' next tokens.

        Args:
            inputs: shape (5 or 8, B, tokens), integer: tokens, instruments (the number of classes
                for none), bars, steps, velocities (the number of bins for none); conditions and
                both halves of the band, if any are given. At least one token.

        Returns:
            The predictions after each of them, shapes (B, tokens, …).
        """
        columns = torch.from_numpy(inputs.astype(np.int64)).to(self._slots.segment_ids.device)
        slots, outputs = self.model.config.memory + self.block_size, []
        while columns.shape[2]:
            part = columns[:, :, : slots - self._next]
            is_single = self._is_rotary and part.shape[2] == 1
            outputs.append(self._feed_single(part) if is_single else self._feed_several(part))
            columns = columns[:, :, part.shape[2] :]
            if self._next == slots:
                self._end_block()
        self._last = Output._make(
            None if part[0] is None else torch.cat(part, dim=1)
            for part in zip(*outputs, strict=True)
        )
        return self._last

    def _feed_several(self, columns: Tensor) -> Output:
        """Feed part of a block through the code that training uses."""
        seen = slice(self._first, self._next)
        segment_ids = torch.zeros_like(self._slots.segment_ids[:, seen])
        past = Memory(
            tuple(keys[:, :, seen] for keys in self._slots.keys),
            tuple(values[:, :, seen] for values in self._slots.values),
            segment_ids,
            self._place,
            self._store,
        )
        output, extended = self.model.attend(_batch(columns), past)
        count = columns.shape[2]
        new = slice(self._next, self._next + count)
        for layer in range(len(extended.keys)):
            self._slots.keys[layer][:, :, new] = extended.keys[layer][:, :, -count:]
            self._slots.values[layer][:, :, new] = extended.values[layer][:, :, -count:]
        self._store, self._place = extended.store, extended.place
        self._next += count
        return output

    def _feed_single(self, columns: Tensor) -> Output:
        """Feed one token: what `TransformerXL.attend` computes, without its mask."""
        at = self._next
        window = self.model.config.window
        first = self._first if window is None else max(self._first, at + 1 - window)
        batch = _batch(columns)
        table = self.model.layers[0].attention.positions.table(
            at + 1, self._place[:1], batch.bars, batch.steps
        )
        x, first_values = self.model.embed(batch), None
        for number, layer in enumerate(self.model.layers):
            attention = layer.attention
            queries, keys, values = attention.project(layer.attention_norm(x), first_values)
            first_values = values if number == 0 else first_values
            self._slots.keys[number][:, :, at] = rotate(keys, *table)[:, :, 0]
            self._slots.values[number][:, :, at] = values[:, :, 0]
            mixed = functional.scaled_dot_product_attention(
                rotate(queries, *table),
                self._slots.keys[number][:, :, first : at + 1],
                self._slots.values[number][:, :, first : at + 1],
            )
            if self._store is not None and number == self._store.layer:
                assert self.model.neighbours is not None
                retrieval = Retrieval(self.model.neighbours, batch, self._store)
                mixed = retrieval(queries, keys, mixed)
                self._store = retrieval.append()
            x = x + attention.project_out(mixed.transpose(1, 2).flatten(2))
            x = x + layer.mlp(layer.mlp_norm(x))
        self._next, self._place = at + 1, self._place + 1
        return self.model.predict(self.model.norm(x), batch)

    def _end_block(self) -> None:
        """Move the last M tokens to the slots of the memory."""
        M = self.model.config.memory
        kept = min(M, self._next - self._first)
        if self._store is not None:
            past = slice(self._first, self._next)
            values = self._slots.values[self._store.layer][:, :, past]
            segment_ids = torch.zeros_like(self._slots.segment_ids[:, past])
            self._store = self._store.truncate(values, segment_ids, kept).flush()
        old, new = slice(self._next - kept, self._next), slice(M - kept, M)
        for layer in range(len(self._slots.keys)):
            for tensor in (self._slots.keys[layer], self._slots.values[layer]):
                tensor[:, :, new] = tensor[:, :, old].clone()
        self._first, self._next = M - kept, M

    def token_logits(self) -> np.ndarray:
        """Logits of the next token, shape (B, V), float64."""
        return _last(self._last.token_logits)

    def instrument_logits(self) -> np.ndarray | None:
        """Logits of the next token's instrument, shape (B, P), float64.

        None if the head needs to know that token: see `instrument_logits_given`.
        """
        logits = self._last.instrument_logits
        return None if logits is None else _last(logits)

    @torch.inference_mode()
    def instrument_logits_given(self, tokens: np.ndarray) -> np.ndarray:
        """Logits of the next token's instrument, shape (B, P), float64; `tokens`: shape (B,)."""
        return _last(self.model.instrument_logits(self._last.hidden[:, -1:], self._tensor(tokens)))

    @torch.inference_mode()
    def instrument_logits_after_pitches(self, lane: int, pitch0: int) -> np.ndarray:
        """Logits of the instrument after each pitch in one lane, shape (128, P), float64.

        Args:
            lane: of the song.
            pitch0: the token of pitch 0.
        """
        pitches = torch.arange(pitch0, pitch0 + PITCHES, device=self._last.hidden.device)
        hidden = self._last.hidden[lane, -1:].expand(PITCHES, -1)
        return self.model.instrument_logits(hidden[None], pitches[None])[0].double().cpu().numpy()

    @torch.inference_mode()
    def velocity_logits(self, tokens: np.ndarray, instruments: np.ndarray) -> np.ndarray | None:
        """Logits of the next note's velocity, shape (B, bins), float64; None without such a head.

        Args:
            tokens, instruments: of the note, shape (B,).
        """
        known = self._tensor(tokens), self._tensor(instruments)
        logits = self.model.velocity_logits(self._last.hidden[:, -1:], *known)
        return None if logits is None else _last(logits)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)[:, None].to(self._slots.segment_ids.device)


def _batch(columns: Tensor) -> Batch:
    names = ("tokens", "instruments", "bars", "steps", "velocities",
             "conditions", "band_low", "band_high")  # fmt: skip
    given = dict(zip(names, columns, strict=False))
    return Batch(segment_ids=torch.zeros_like(columns[0]), **given)


def _last(logits: Tensor) -> np.ndarray:
    """(B, tokens, classes) -> (B, classes), of the last token; float64 on the CPU."""
    return logits[:, -1].double().cpu().numpy()
