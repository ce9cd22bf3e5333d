"""Memory maps -> tensors: what each lane is fed, and what it is to predict.

Conventions
    B lanes, T tokens in a block
    input     token t of a song, for every t but the last
    target    token t + 1 of the same song: every token but <sos> is a target exactly once
    visit     which playing of which song a position belongs to; PADDING where there is none
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from shards.codec import EncodedSong
from shards.vocabulary import NO_INSTRUMENT, Kind, Vocabulary
from trainer.sampler import ContiguousBatchSampler, Piece

PADDING = -2
"""Visit of a position that nothing is played at. The memory's own "nothing here" is another
number, so that padding never looks into the memory."""

IGNORED = -100
"""Target where there is nothing to predict; what torch's cross_entropy leaves out."""


class Batch(NamedTuple):
    """One step's inputs and targets, each shape (B, T), int64.

    Attributes:
        tokens: ids; <pad> where nothing is played.
        instruments: class at both tokens of a note, else the number of classes, which stands
            for none.
        bars, steps: where the token stands in time.
        visits: see above.
        targets: the next token; IGNORED where nothing is played.
        instrument_targets: class of the next token where that is a pitch, else IGNORED.

    The targets may be None where nothing is to be learned, as in generation.
    """

    tokens: Tensor
    instruments: Tensor
    bars: Tensor
    steps: Tensor
    visits: Tensor
    targets: Tensor | None = None
    instrument_targets: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, in one copy; to a GPU without waiting for it."""
        fields = torch.stack(self)
        if device.type == "cuda":
            fields = fields.pin_memory()
        return Batch(*fields.to(device, non_blocking=True).unbind())


class Songs(Protocol):
    """What is needed of a dataset: the arrays of a song, by its number."""

    vocabulary: Vocabulary

    def song(self, number: int) -> EncodedSong:
        """The arrays of one song."""
        ...


class Blocks(Dataset[np.ndarray]):
    """The blocks that a sampler names, as arrays; the dataset of a `DataLoader`.

    Args:
        songs: where the arrays are.
        numbers: shape (songs,); the dataset's number of each of the sampler's songs.
        block_size: T.
    """

    def __init__(self, songs: Songs, numbers: np.ndarray, block_size: int) -> None:
        self.songs, self.numbers, self.block_size = songs, numbers, block_size
        vocabulary = songs.vocabulary
        self._none = vocabulary.instruments
        self._idle = np.array(
            [vocabulary.pad, self._none, 0, 0, PADDING, IGNORED, IGNORED], np.int64
        )[:, None]

    def __getitem__(self, pieces: tuple[Piece, ...] | None) -> np.ndarray:
        """One lane's block, shape (fields of Batch, T), int64."""
        block = np.empty((len(self._idle), self.block_size), np.int64)
        at = 0
        for piece in pieces or ():
            end = at + piece.stop - piece.start
            self._fill(block[:, at:end], piece)
            at = end
        block[:, at:] = self._idle
        return block

    def _fill(self, block: np.ndarray, piece: Piece) -> None:
        song = self.songs.song(int(self.numbers[piece.song]))
        here, following = slice(piece.start, piece.stop), slice(piece.start + 1, piece.stop + 1)
        targets, classes = song.tokens[following], song.instruments[following]
        is_pitch = self.songs.vocabulary.kind(targets) == Kind.PITCH
        block[0] = song.tokens[here]
        block[1] = song.instruments[here]
        block[1][block[1] == NO_INSTRUMENT] = self._none
        block[2], block[3] = song.bars[here], song.steps[here]
        block[4] = piece.visit
        block[5] = targets
        block[6] = np.where(is_pitch, classes.astype(np.int64), IGNORED)


def collate(lanes: list[np.ndarray]) -> Batch:
    """Put the lanes' blocks together."""
    return Batch(*torch.from_numpy(np.stack(lanes, axis=1)).unbind())


def endless(
    sampler: ContiguousBatchSampler, blocks: Blocks
) -> Iterator[tuple[Batch, dict[str, int]]]:
    """Batches from the sampler's position on, epoch after epoch.

    Yields:
        The batch, and the sampler's position after it.
    """
    while True:
        for pieces in sampler:
            yield collate([blocks[lane] for lane in pieces]), sampler.state_dict()


def once(sampler: ContiguousBatchSampler, blocks: Blocks) -> Iterator[Batch]:
    """The batches of one epoch."""
    sampler.set_epoch(0)
    for pieces in sampler:
        yield collate([blocks[lane] for lane in pieces])


def select(dataset: Songs, split: str) -> np.ndarray:
    """Numbers of the songs of a split that are no duplicates and have something to predict.

    Returns:
        shape (songs,), int64, ascending.
    """
    index = dataset.index
    wanted = (index["split"].to_numpy() == split) & index["primary"].to_numpy()
    return np.flatnonzero(wanted & (index["tokens"].to_numpy() > 1))
