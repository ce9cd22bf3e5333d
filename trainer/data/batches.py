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

from shards.reader import SongSource
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS
from trainer.data.sampler import NO_SONG, PADDING, ContiguousBatchSampler, Span
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
    """A batch's columns in one tensor, so that they are copied to a device in one transfer.

    Args:
        lanes: B.
        tokens: T, or the tokens of several consecutive blocks.
        pinned: lock the memory pages, so that a GPU can copy from them asynchronously.

    Attributes:
        tensor: shape (columns, B, tokens), int64.
        arrays: each column of it as an array of shape (B, tokens), by name; write to them.
    """

    NAMES = Batch._fields[: Batch._fields.index("min_distance")]

    def __init__(self, lanes: int, tokens: int, *, pinned: bool = False) -> None:
        shape = len(self.NAMES), lanes, tokens
        self.tensor = torch.empty(shape, dtype=torch.long, pin_memory=pinned)
        self._array = self.tensor.numpy()
        self.arrays = dict(zip(self.NAMES, self._array, strict=True))

    def copy_from(self, other: "BatchBuffer", first: int) -> None:
        """Copy the tokens of another buffer from `first` on, as many as fit."""
        self._array[:] = other._array[:, :, first : first + self._array.shape[2]]

    def to(self, device: torch.device) -> Batch:
        """A copy on a device, in one transfer; asynchronous to a GPU."""
        return Batch(*self.tensor.to(device, non_blocking=True, copy=True).unbind())


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
        ids = np.arange(len(dataset.vocabulary))
        self._lacks_instrument = ~dataset.vocabulary.has_instrument(ids)
        self._is_not_note = ~dataset.vocabulary.is_note(ids)

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
        arrays, width = buffer.arrays, buffer.tensor.shape[2]
        for lane, spans in enumerate(lanes):
            at = 0
            for span in spans or ():
                here = lane, slice(at, at + span.stop - span.start)
                self._copy(arrays, here, span)
                at = here[1].stop
            if at < width:
                _pad(arrays, (lane, slice(at, width)))
        self._map_missing(arrays)

    def _copy(self, arrays: dict[str, np.ndarray], here: tuple[int, slice], span: Span) -> None:
        """Copy one span as it is in the dataset."""
        song, start, stop, segment_id = span
        if song == NO_SONG:
            _pad(arrays, here)
            return
        stream = self.streams.get(song, segment_id)
        played = stream.song
        if stop >= len(played):  # a varied song may be shorter
            _pad(arrays, here)
            stop = max(len(played) - 1, start)
            here = here[0], slice(here[1].start, here[1].start + stop - start)
        now, after = slice(start, stop), slice(start + 1, stop + 1)
        arrays["segment_ids"][here] = segment_id
        arrays["positions"][here] = self._count_to(stop)[now]
        arrays["tokens"][here], arrays["targets"][here] = played.tokens[now], played.tokens[after]
        arrays["instruments"][here] = played.instruments[now]
        arrays["instrument_targets"][here] = played.instruments[after]
        arrays["velocities"][here] = played.velocities[now]
        arrays["velocity_targets"][here] = played.velocities[after]
        arrays["bars"][here], arrays["steps"][here] = played.bars[now], played.steps[now]
        arrays["conditions"][here] = stream.condition_fields(now)
        arrays["band_low"][here], arrays["band_high"][here] = stream.band(now)

    def _map_missing(self, arrays: dict[str, np.ndarray]) -> None:
        """Give inputs without instrument or velocity the class for none; ignore such targets."""
        for name, none, value in (
            ("instruments", NO_INSTRUMENT, self.dataset.vocabulary.instruments),
            ("velocities", NO_VELOCITY, VELOCITY_BINS),
            ("velocity_targets", NO_VELOCITY, IGNORED),
        ):
            np.putmask(arrays[name], arrays[name] == none, value)
        for name, is_ignored in (
            ("instrument_targets", self._lacks_instrument),
            ("velocity_targets", self._is_not_note),
        ):  # clip takes IGNORED to token 0, <pad>, which has neither
            np.putmask(arrays[name], is_ignored.take(arrays["targets"], mode="clip"), IGNORED)

    def _count_to(self, stop: int) -> np.ndarray:
        """0, 1, 2 … to at least `stop` - 1."""
        if len(self._counting) < stop:
            self._counting = np.arange(2 * stop)
        return self._counting


def collate(lanes: list[BatchBuffer]) -> Batch:
    """Put the lanes' blocks together."""
    columns = torch.cat([lane.tensor for lane in lanes], dim=1)
    return Batch(*columns.unbind())


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


def _pad(arrays: dict[str, np.ndarray], here: tuple[int, slice]) -> None:
    """Write padding."""
    for array in arrays.values():
        array[here] = 0
    arrays["segment_ids"][here] = PADDING
    arrays["targets"][here] = IGNORED
    arrays["instruments"][here] = NO_INSTRUMENT
    arrays["velocities"][here] = arrays["velocity_targets"][here] = NO_VELOCITY
