"""Memory maps -> tensors: what each lane is fed, and what it is to predict.

Conventions
    B lanes, T tokens in a block
    input     token t of a song, for every t but the last
    target    token t + 1 of the same song: every token but <sos> is a target exactly once
    visit     which playing of which song a position belongs to; PADDING where there is none
    place     how many tokens of the song lie before
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shards.codec import EncodedSong
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS, Vocabulary
from trainer.sampler import ContiguousBatchSampler, Piece

PADDING = -2
"""Visit of a position that nothing is played at. The memory's own "nothing here" is another
number, so that padding never looks into the memory."""

IGNORED = -100
"""Target where there is nothing to predict; what torch's cross_entropy leaves out."""

MOST_KNOWN = 4096
"""Songs whose arrays are kept at hand; views, so that each takes a kilobyte, however long."""


class Batch(NamedTuple):
    """One step's inputs and targets, each shape (B, T), int64 unless said otherwise.

    Attributes:
        tokens: ids; <pad> where nothing is played.
        instruments: class at both tokens of a note, else the number of classes, which stands
            for none.
        bars, steps: where the token stands in time.
        visits, places: see above.
        velocities: bin at a pitch, else the number of bins, which stands for none.
        targets: the next token; IGNORED where nothing is played.
        instrument_targets: class of the next token where that is a pitch or a control, else
            IGNORED.
        velocity_targets: bin of the next token where that is a pitch, else IGNORED.
        nearest: how far back the nearest key lies that a position may see; none: 0, itself.
        replaced: bool; where the input is kept from the model.

    All but the first five may be None: targets where nothing is to be learned, as in generation.
    """

    tokens: Tensor
    instruments: Tensor
    bars: Tensor
    steps: Tensor
    visits: Tensor
    velocities: Tensor | None = None
    places: Tensor | None = None
    targets: Tensor | None = None
    instrument_targets: Tensor | None = None
    velocity_targets: Tensor | None = None
    nearest: Tensor | None = None
    replaced: Tensor | None = None

    def lanes(self, first: int, last: int) -> "Batch":
        """Lanes [first, last) of it, a view."""
        return Batch(*(None if column is None else column[first:last] for column in self))


class Songs(Protocol):
    """What is needed of a dataset: the arrays of a song, by its number."""

    vocabulary: Vocabulary
    index: Any

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song."""
        ...


class Columns:
    """A batch as it lies in the dataset, in one piece of memory that can go to a GPU at once.

    Nothing is converted here: every column keeps the dataset's own type, so that a position
    takes some 23 bytes rather than 80, and filling it is copying. `to` does the rest where the
    model is.

    Args:
        lanes: B.
        block_size: T.
        vocabulary: of the dataset.
        pinned: lock the memory, so that a GPU can fetch it by itself.

    Attributes:
        arrays: each column as shape (B, T), by name; write to them.
    """

    def __init__(
        self, lanes: int, block_size: int, vocabulary: Vocabulary, *, pinned: bool = False
    ) -> None:
        types = {
            "visits": np.int64,
            "places": np.int32,
            "tokens": np.uint16,
            "targets": np.uint16,
            "bars": np.uint16,
            "steps": vocabulary.step_dtype,
            "instruments": np.uint8,
            "instrument_targets": np.uint8,
            "velocities": np.uint8,
            "velocity_targets": np.uint8,
        }  # widest first, so that each begins at a multiple of its own width
        self._vocabulary = vocabulary
        shape = lanes, block_size
        sizes = {name: lanes * block_size * np.dtype(kind).itemsize for name, kind in types.items()}
        self._bytes = torch.empty(sum(sizes.values()), dtype=torch.uint8, pin_memory=pinned)
        self.arrays: dict[str, np.ndarray] = {}
        self._at: dict[str, tuple[int, int, torch.dtype, tuple[int, int]]] = {}
        whole, start = self._bytes.numpy(), 0
        for name, kind in types.items():
            stop = start + sizes[name]
            self.arrays[name] = whole[start:stop].view(kind).reshape(shape)
            self._at[name] = start, stop, torch.from_numpy(self.arrays[name]).dtype, shape
            start = stop

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, as a copy, in one transfer; to a GPU without waiting for it."""
        moved = self._bytes.to(device, non_blocking=True, copy=True)
        columns = {
            name: moved[start:stop].view(kind).view(shape).long()
            for name, (start, stop, kind, shape) in self._at.items()
        }
        classes, next_classes = columns["instruments"], columns["instrument_targets"]
        bins, next_bins = columns["velocities"], columns["velocity_targets"]
        targets, vocabulary = columns["targets"], self._vocabulary
        played = columns["visits"] != PADDING
        pitch = (targets >= vocabulary.pitch0) & (targets < vocabulary.duration1) & played
        control = (targets >= vocabulary.bend0) & (targets < vocabulary.unused0) & played
        columns["instruments"] = classes.masked_fill(
            classes == NO_INSTRUMENT, vocabulary.instruments
        )
        columns["velocities"] = bins.masked_fill(bins == NO_VELOCITY, VELOCITY_BINS)
        columns["targets"] = targets.masked_fill(~played, IGNORED)
        columns["instrument_targets"] = next_classes.masked_fill(~(pitch | control), IGNORED)
        columns["velocity_targets"] = next_bins.masked_fill(~pitch, IGNORED)
        return Batch(**columns)


class Blocks(Dataset[tuple[np.ndarray, ...]]):
    """The blocks that a sampler names; in mode join the dataset of a `DataLoader`, with `collate`.

    Args:
        songs: where the arrays are.
        numbers: shape (songs,); the dataset's number of each of the sampler's songs.
        block_size: T.
    """

    def __init__(self, songs: Songs, numbers: np.ndarray, block_size: int) -> None:
        self.songs, self.block_size = songs, block_size
        self.numbers: list[int] = numbers.tolist()
        self._known: dict[int, tuple[np.ndarray, ...]] = {}
        self._count = np.arange(block_size, dtype=np.int32)

    def __getitem__(self, pieces: tuple[Piece, ...] | None) -> Columns:
        """One lane's block, as a batch of one lane."""
        columns = self.columns(1)
        self.fill(columns, [pieces])
        return columns

    def columns(self, lanes: int, *, pinned: bool = False) -> Columns:
        """Room for a batch."""
        return Columns(lanes, self.block_size, self.songs.vocabulary, pinned=pinned)

    def fill(self, columns: Columns, batch: list[tuple[Piece, ...] | None]) -> None:
        """Copy what a sampler names into a batch's columns.

        Args:
            columns: of as many lanes as `batch` names.
            batch: the pieces of each lane; None where it is idle.
        """
        arrays = columns.arrays
        visits, places = arrays["visits"], arrays["places"]
        tokens, targets = arrays["tokens"], arrays["targets"]
        classes, next_classes = arrays["instruments"], arrays["instrument_targets"]
        bins, next_bins = arrays["velocities"], arrays["velocity_targets"]
        bars, steps, count = arrays["bars"], arrays["steps"], self._count
        for lane, pieces in enumerate(batch):
            at = 0
            for song, start, stop, visit in pieces or ():
                here = lane, slice(at, at + stop - start)
                at += stop - start
                after = slice(start + 1, stop + 1)
                of_tokens, of_classes, of_bins, of_bars, of_steps = self._song(song)
                visits[here] = visit
                np.add(count[: stop - start], start, out=places[here])
                tokens[here], targets[here] = of_tokens[start:stop], of_tokens[after]
                classes[here], next_classes[here] = of_classes[start:stop], of_classes[after]
                bins[here], next_bins[here] = of_bins[start:stop], of_bins[after]
                bars[here], steps[here] = of_bars[start:stop], of_steps[start:stop]
            if at < self.block_size:
                for array in arrays.values():
                    array[lane, at:] = 0
                visits[lane, at:] = PADDING
                classes[lane, at:] = NO_INSTRUMENT
                bins[lane, at:] = NO_VELOCITY

    def _song(self, song: int) -> tuple[np.ndarray, ...]:
        """The arrays of a song; those asked for lately are at hand."""
        known = self._known.get(song)
        if known is None:
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            arrays = self.songs.song(self.numbers[song])
            known = (
                arrays.tokens,
                arrays.instruments,
                arrays.velocities,
                arrays.bars,
                arrays.steps,
            )
            self._known[song] = known
        return known


def collate(lanes: list[Columns]) -> Batch:
    """Put the lanes' blocks together."""
    batches = [lane.to(torch.device("cpu")) for lane in lanes]
    columns = zip(*batches, strict=True)
    return Batch(*(None if column[0] is None else torch.cat(column) for column in columns))


def once(sampler: ContiguousBatchSampler, blocks: Blocks, device: torch.device) -> Iterator[Batch]:
    """The batches of one epoch, on a device."""
    sampler.set_epoch(0)
    columns = blocks.columns(sampler.batch_size)
    for pieces in sampler.walk():
        blocks.fill(columns, pieces)
        yield columns.to(device)
