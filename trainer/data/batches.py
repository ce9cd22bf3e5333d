"""Memory maps -> tensors: what each lane is fed, and what it is to predict.

Conventions
    B lanes, T tokens in a block
    input     token t of a song, for every t but the last
    target    token t + 1 of the same song: every token but <sos> is a target exactly once
    segment_id     which playing of which song a position belongs to; PADDING where there is none
    place     how many tokens of the song lie before
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shards.codec import EncodedSong
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS, Vocabulary
from trainer.data.sampler import NOTHING, PADDING, ContiguousBatchSampler, Piece

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
        segment_ids, positions: see above.
        velocities: bin at a pitch, else the number of bins, which stands for none.
        targets: the next token; IGNORED where nothing is played.
        instrument_targets: class of the next token where that is a pitch or a control, else
            IGNORED.
        velocity_targets: bin of the next token where that is a pitch, else IGNORED.
        min_distance: how far back the nearest key lies that a position may see; none: 0, itself.
        masked_inputs: bool; where the input is kept from the model.

    All but the first five may be None: targets where nothing is to be learned, as in generation.
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
    min_distance: Tensor | None = None
    masked_inputs: Tensor | None = None

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
    """Room for batches, as the model takes them, in one piece of memory that is copied at once.

    Args:
        lanes: B.
        tokens: T, or those of several blocks one after the other.
        pinned: lock the memory, so that a GPU can fetch it by itself.

    Attributes:
        whole: shape (columns, B, tokens), int64.
        arrays: each column of it as shape (B, tokens), by name; write to them.
    """

    NAMES = Batch._fields[: Batch._fields.index("min_distance")]

    def __init__(self, lanes: int, tokens: int, *, pinned: bool = False) -> None:
        shape = len(self.NAMES), lanes, tokens
        self.whole = torch.empty(shape, dtype=torch.long, pin_memory=pinned)
        self._array = self.whole.numpy()
        self.arrays = dict(zip(self.NAMES, self._array, strict=True))

    def take(self, other: "Columns", first: int) -> None:
        """Copy what another room holds from token `first` on, as much as fits."""
        self._array[:] = other._array[:, :, first : first + self._array.shape[2]]

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, as a copy, in one transfer; to a GPU without waiting for it."""
        return Batch(*self.whole.to(device, non_blocking=True, copy=True).unbind())


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
        self._numbers = np.arange(block_size)
        self._said = _what_is_said(songs.vocabulary)

    def __getitem__(self, pieces: tuple[Piece, ...] | None) -> Columns:
        """One lane's block, as a batch of one lane."""
        columns = self.columns(1)
        self.fill(columns, [pieces])
        return columns

    def columns(self, lanes: int, *, blocks: int = 1, pinned: bool = False) -> Columns:
        """Room for a batch, or several."""
        return Columns(lanes, blocks * self.block_size, pinned=pinned)

    def fill(self, columns: Columns, batch: Sequence[Sequence[Piece] | None]) -> None:
        """Copy what a sampler names into a batch's columns.

        Args:
            columns: of as many lanes as `batch` names.
            batch: the pieces of each lane, in order; None where it is idle. What they leave of
                the columns is padding.
        """
        arrays, width = columns.arrays, columns.whole.shape[2]
        for lane, pieces in enumerate(batch):
            at = 0
            for piece in pieces or ():
                here = lane, slice(at, at + piece.stop - piece.start)
                self._copy(arrays, here, piece)
                at = here[1].stop
            if at < width:
                _pad(arrays, (lane, slice(at, width)))
        self._tell_apart(arrays)

    def _copy(self, arrays: dict[str, np.ndarray], here: tuple[int, slice], piece: Piece) -> None:
        """One piece, as it lies in the dataset."""
        song, start, stop, segment_id = piece
        if song == NOTHING:
            _pad(arrays, here)
            return
        tokens, classes, bins, bars, steps = self._song(song)
        now, after = slice(start, stop), slice(start + 1, stop + 1)
        arrays["segment_ids"][here] = segment_id
        arrays["positions"][here] = self._count(stop)[now]
        arrays["tokens"][here], arrays["targets"][here] = tokens[now], tokens[after]
        arrays["instruments"][here] = classes[now]
        arrays["instrument_targets"][here] = classes[after]
        arrays["velocities"][here], arrays["velocity_targets"][here] = bins[now], bins[after]
        arrays["bars"][here], arrays["steps"][here] = bars[now], steps[now]

    def _tell_apart(self, arrays: dict[str, np.ndarray]) -> None:
        """Name what has no class or bin, and leave out targets that the heads have none for."""
        classes, bins = arrays["instruments"], arrays["velocities"]
        np.putmask(classes, classes == NO_INSTRUMENT, self.songs.vocabulary.instruments)
        np.putmask(bins, bins == NO_VELOCITY, VELOCITY_BINS)
        said = self._said.take(arrays["targets"], mode="clip")  # IGNORED: as of <pad>, nothing
        np.putmask(arrays["instrument_targets"], said == 0, IGNORED)
        np.putmask(arrays["velocity_targets"], said != PITCH, IGNORED)

    def _count(self, stop: int) -> np.ndarray:
        """0, 1, 2 … to `stop` and beyond."""
        if len(self._numbers) < stop:
            self._numbers = np.arange(2 * stop)
        return self._numbers

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


def once(
    sampler: ContiguousBatchSampler,
    blocks: Blocks,
    device: torch.device,
    *,
    lanes: slice | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch, on a device; of some of the sampler's lanes, or of all."""
    lanes = lanes or slice(None)
    sampler.set_epoch(0)
    columns = blocks.columns(len(range(sampler.batch_size)[lanes]))
    for pieces in sampler.walk():
        blocks.fill(columns, pieces[lanes])
        yield columns.to(device)


def _pad(arrays: dict[str, np.ndarray], here: tuple[int, slice]) -> None:
    """Write that nothing is played."""
    for array in arrays.values():
        array[here] = 0
    arrays["segment_ids"][here] = PADDING
    arrays["targets"][here] = IGNORED
    arrays["instruments"][here] = NO_INSTRUMENT
    arrays["velocities"][here] = NO_VELOCITY


PITCH, CONTROL = 2, 1
"""What a token is to the heads beside the vocabulary's; all others are 0."""


def _what_is_said(vocabulary: Vocabulary) -> np.ndarray:
    """PITCH, CONTROL or 0 for each token, shape (V,)."""
    said = np.zeros(len(vocabulary), np.uint8)
    said[vocabulary.pitch0 : vocabulary.duration1] = PITCH
    said[vocabulary.bend0 : vocabulary.unused0] = CONTROL
    return said
