"""Memory maps -> tensors: the inputs and targets of a batch.

Conventions
    B lanes, T tokens in a block
    input       token t of a song, for every t but the last
    target      token t + 1 of the same song, so every token but <sos> is a target exactly once
    segment_id  which playing of which song a token belongs to; PADDING for padding
    position    how many tokens of the song come before
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shards.codec import EncodedSong
from shards.reader import SongSource
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS
from trainer.data.sampler import NO_SONG, PADDING, ContiguousBatchSampler, Span
from trainer.data.sections import CLASSES
from trainer.data.streams import Streams, Variation

IGNORED = -100
"""Target where there is nothing to predict; what torch's cross_entropy ignores."""

EMPTY = -1
"""segment_id of a memory slot that was never written. Differs from those of songs, which count from
0, and from PADDING."""


class Batch(NamedTuple):
    """Inputs and targets of one step, each of shape (B, T), int64 unless noted.

    Attributes:
        tokens: ids; <pad> in padding.
        instruments: class at every token of a note; elsewhere the number of classes, for none.
        bars, steps: bar, and step within the bar, at which the token stands.
        segment_ids, positions: see above.
        velocities: bin at a pitch or drum; elsewhere the number of bins, for none.
        targets: the next token; IGNORED in padding.
        instrument_targets: program of the next token if that is a pitch or control, else IGNORED.
        velocity_targets: bin of the next token if that is a pitch or drum, else IGNORED.
        conditions: fields of the song's conditions at each token; 0: none is given. See
            `trainer.data.conditions`.
        band_low, band_high: one bit for each program of the song's band, 0-63 and 64-127.
        min_distance: how many tokens back the nearest key is that a query may attend to. None: 0,
            its own.
        masked_inputs: bool; True where a learned vector replaces the input.

    All but the first five may be None: generation, for example, has no targets.
    """

    tokens: Tensor
    instruments: Tensor
    bars: Tensor
    steps: Tensor
    segment_ids: Tensor
    velocities: Tensor | None = None
    positions: Tensor | None = None
    targets: Tensor | None = None
    instrument_targets: Tensor | None = None
    velocity_targets: Tensor | None = None
    conditions: Tensor | None = None
    band_low: Tensor | None = None
    band_high: Tensor | None = None
    min_distance: Tensor | None = None
    masked_inputs: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Apply a function to every column that is not None."""
        return Batch._make(None if column is None else function(column) for column in self)

    def lanes(self, first: int, last: int) -> "Batch":
        """Lanes [first, last), as views."""
        return self.map(lambda column: column[first:last])


class BatchBuffer:
    """A batch's columns, in as few bits as hold them, in two tensors.

    A batch's columns have 64 bits, and to write them takes longer than to look up what they hold.
    So they are widened once, in the last copy, on the device.

    Args:
        lanes: B.
        tokens: T, or the tokens of several consecutive blocks.
        pinned: lock the memory pages, so that a GPU can copy from them asynchronously.

    Attributes:
        narrow, wide: shape (columns, B, tokens), int32 and int64.
        arrays: each column of them as an array of shape (B, tokens), by name; write to them.
        has_conditions: shape (B,), bool; whether the columns of conditions hold others than 0.
    """

    NARROW = ("tokens", "instruments", "bars", "steps", "velocities",
              "targets", "instrument_targets", "velocity_targets")  # fmt: skip
    WIDE = ("segment_ids", "positions", "conditions", "band_low", "band_high")
    OF_CONDITIONS = slice(2, 5)
    """Which of the wide columns hold conditions."""

    def __init__(self, lanes: int, tokens: int, *, pinned: bool = False) -> None:
        # numpy's memory, unlike torch's, lies in large pages
        self.narrow = torch.from_numpy(np.empty((len(self.NARROW), lanes, tokens), np.int32))
        self.wide = torch.from_numpy(np.zeros((len(self.WIDE), lanes, tokens), np.int64))
        self.has_conditions = np.zeros(lanes, bool)
        if pinned:
            self.narrow, self.wide = self.narrow.pin_memory(), self.wide.pin_memory()
        self.arrays: dict[str, np.ndarray] = dict(
            zip(self.NARROW, self.narrow.numpy(), strict=True)
        )
        self.arrays |= zip(self.WIDE, self.wide.numpy(), strict=True)

    def to(self, device: torch.device) -> Batch:
        """A copy on a device; asynchronous to a GPU."""
        narrow, wide = self.narrow, self.wide
        return widened(narrow.to(device, non_blocking=True), wide.to(device, non_blocking=True))


def widened(narrow: Tensor, wide: Tensor) -> Batch:
    """A copy of the columns of a `BatchBuffer`, or of some of its tokens, as a batch."""
    columns = wide.new_empty(len(narrow) + len(wide), *wide.shape[1:])
    columns[: len(narrow)], columns[len(narrow) :] = narrow, wide
    names = BatchBuffer.NARROW + BatchBuffer.WIDE
    return Batch(**dict(zip(names, columns.unbind(), strict=True)))


class Blocks(Dataset[BatchBuffer]):
    """The blocks that a sampler names; in mode join the dataset of a `DataLoader`, with `collate`.

    Args:
        dataset: where the songs are.
        numbers: shape (songs,); the dataset's number of each of the sampler's songs.
        block_size: T.
        variation: how playings of a song differ from it and from each other; None: not at all.
    """

    def __init__(
        self,
        dataset: SongSource,
        numbers: np.ndarray,
        block_size: int,
        variation: Variation | None = None,
    ) -> None:
        self.dataset, self.block_size = dataset, block_size
        self.streams = Streams(dataset, numbers, variation)
        self._counting = np.arange(block_size)
        has_target = dataset.vocabulary.has_instrument(np.arange(len(dataset.vocabulary)))
        self._most_instruments = np.where(has_target, CLASSES, IGNORED).astype(np.int32)
        self._padding = _padding(block_size)

    def __getitem__(self, spans: tuple[Span, ...] | None) -> BatchBuffer:
        """One lane's block, as a batch of one lane."""
        buffer = self.buffer(1)
        self.fill(buffer, [spans])
        return buffer

    def buffer(self, lanes: int, *, blocks: int = 1, pinned: bool = False) -> BatchBuffer:
        """A buffer for one batch, or for several consecutive ones."""
        return BatchBuffer(lanes, blocks * self.block_size, pinned=pinned)

    def fill(self, buffer: BatchBuffer, lanes: Sequence[Sequence[Span] | None]) -> None:
        """Copy what a sampler names into a buffer.

        Args:
            buffer: with as many lanes as `lanes`.
            lanes: the spans of each lane, in order; None for an idle lane. What they leave of the
                buffer becomes padding.
        """
        of_conditions = buffer.wide.numpy()[buffer.OF_CONDITIONS]
        of_spans: list[_SpanColumns] = []
        for lane, spans in enumerate(lanes):
            if buffer.has_conditions[lane]:  # few have: most lanes' zeros are left as they are
                of_conditions[:, lane] = 0
            of_lane, has_conditions = self._lane(spans or (), of_conditions[:, lane])
            of_spans += of_lane
            buffer.has_conditions[lane] = has_conditions
        columns = {name: array.reshape(-1) for name, array in buffer.arrays.items()}
        for name, *arrays in zip(_SpanColumns._fields, *of_spans, strict=True):
            if name != "segment_id":
                np.concatenate(arrays, out=columns[name])
        segment_ids = [one.segment_id for one in of_spans]
        columns["segment_ids"][:] = np.repeat(segment_ids, [len(one.tokens) for one in of_spans])
        self._map_missing(columns)

    def _lane(
        self, spans: Sequence[Span], of_conditions: np.ndarray
    ) -> tuple[list["_SpanColumns"], bool]:
        """What one lane holds.

        Args:
            spans: in order.
            of_conditions: shape (3, tokens), int64, zeros; conditions are written to it.

        Returns:
            The columns of its spans and of padding, as many tokens as the lane has; and whether it
            has conditions.
        """
        of_spans, at, tokens, has_conditions = [], 0, of_conditions.shape[1], False
        for song, start, stop, segment_id in spans:
            if song == NO_SONG:
                of_spans.append(self._pad(stop - start))
            else:
                stream = self.streams.get(song, segment_id)
                end = min(stop, max(len(stream.song) - 1, start))  # a varied one may be shorter
                of_spans.append(self._columns(stream.song, start, end, segment_id))
                if end < stop:
                    of_spans.append(self._pad(stop - end))
                if stream.has_conditions:
                    here, now = slice(at, at + end - start), slice(start, end)
                    of_conditions[0, here] = stream.condition_fields(now)
                    of_conditions[1, here], of_conditions[2, here] = stream.band(now)
                    has_conditions = True
            at += stop - start
        if at < tokens:
            of_spans.append(self._pad(tokens - at))
        return of_spans, has_conditions

    def _columns(self, song: EncodedSong, start: int, end: int, segment_id: int) -> "_SpanColumns":
        """Some tokens of a song, as they are in the dataset."""
        now, after = slice(start, end), slice(start + 1, end + 1)
        return _SpanColumns(
            song.tokens[now], song.tokens[after],
            song.instruments[now], song.instruments[after],
            song.velocities[now], song.velocities[after],
            song.bars[now], song.steps[now],
            self._count_to(end)[now], segment_id,
        )  # fmt: skip

    def _pad(self, tokens: int) -> "_SpanColumns":
        """Padding."""
        if tokens > len(self._padding.tokens):
            self._padding = _padding(2 * tokens)
        return _SpanColumns(*(array[:tokens] for array in self._padding[:-1]), segment_id=PADDING)

    def _map_missing(self, columns: dict[str, np.ndarray]) -> None:
        """Give inputs without instrument or velocity the class for none; ignore such targets.

        Both are stored as a number above all others. Only notes have a velocity, which
        `shards.check.id_fault` has seen to; a duration has the instrument of its note.
        """
        for name, none in (
            ("instruments", self.dataset.vocabulary.instruments),
            ("velocities", VELOCITY_BINS),
        ):
            np.minimum(columns[name], none, out=columns[name])
        velocities, instruments = columns["velocity_targets"], columns["instrument_targets"]
        velocities -= (velocities == NO_VELOCITY) * np.int32(NO_VELOCITY - IGNORED)
        # clip takes IGNORED to token 0, <pad>, which has no instrument
        most = self._most_instruments.take(columns["targets"], mode="clip")
        np.minimum(instruments, most, out=instruments)

    def _count_to(self, stop: int) -> np.ndarray:
        """0, 1, 2 … to at least `stop` - 1."""
        if len(self._counting) < stop:
            self._counting = np.arange(2 * stop)
        return self._counting


def collate(lanes: list[BatchBuffer]) -> Batch:
    """Put the lanes' blocks together."""
    narrow, wide = zip(*((lane.narrow, lane.wide) for lane in lanes), strict=True)
    return widened(torch.cat(narrow, dim=1), torch.cat(wide, dim=1))


def one_epoch(
    sampler: ContiguousBatchSampler,
    blocks: Blocks,
    device: torch.device,
    *,
    lanes: slice | None = None,
) -> Iterator[Batch]:
    """The batches of epoch 0, on a device; of some of the sampler's lanes, or of all."""
    lanes = lanes or slice(None)
    sampler.set_epoch(0)
    buffer = blocks.buffer(len(range(sampler.batch_size)[lanes]))
    for spans in sampler.iter_steps():
        blocks.fill(buffer, spans[lanes])
        yield buffer.to(device)


class _SpanColumns(NamedTuple):
    """What a span, or padding, has in each column, of the types that the dataset has."""

    tokens: np.ndarray
    targets: np.ndarray
    instruments: np.ndarray
    instrument_targets: np.ndarray
    velocities: np.ndarray
    velocity_targets: np.ndarray
    bars: np.ndarray
    steps: np.ndarray
    positions: np.ndarray
    segment_id: int


def _padding(tokens: int) -> _SpanColumns:
    zeros, none = np.zeros(tokens, np.uint8), np.full(tokens, NO_INSTRUMENT, np.uint8)
    ignored, positions = np.full(tokens, IGNORED, np.int32), np.zeros(tokens, np.int64)
    silent = np.full(tokens, NO_VELOCITY, np.uint8)
    return _SpanColumns(
        zeros, ignored, none, zeros, silent, silent, zeros, zeros, positions, PADDING
    )
