"""Which songs are copies of one another: clusters from bytes, exact music and fingerprints.

Candidates for a near-copy share one band of their signatures (locality-sensitive hashing); a
pair is joined where its whole signatures agree in at least `similarity` of their places. Being
a copy is taken to be transitive.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shards import settings
from shards.settings import setting

BAND_ROWS = 4
"""128 hashes in 32 bands of 4: a pair of similarity 0.5 shares a band with probability 0.87,
one of 0.1, far above what different songs have, with 0.003."""


@dataclass(frozen=True, kw_only=True)
class DuplicateSettings:
    """When two songs count as copies."""

    similarity: float = setting(
        0.4,
        "Share of melodic grams from which two songs are near-copies. Edits of one song measure "
        "0.5 to 1, different songs at most 0.05; more than 1 compares exact music alone.",
        low=0.0,
    )

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        settings.check(self)


def clusters(
    md5s: Sequence[str],
    music: Sequence[str],
    signatures: Sequence[np.ndarray | None],
    duplicates: DuplicateSettings,
) -> np.ndarray:
    """Number the clusters of songs; all three arguments are parallel, one entry a song.

    Returns:
        shape (songs,), int32; clusters numbered by their first song, in order.
    """
    sets = DisjointSets(len(md5s))
    for keys in (md5s, music):
        first: dict[str, int] = {}
        for song, key in enumerate(keys):
            sets.join(first.setdefault(key, song), song)
    for one, other in _near_copies(signatures, duplicates.similarity):
        sets.join(one, other)
    roots = np.array([sets.root(song) for song in range(len(md5s))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


def _near_copies(
    signatures: Sequence[np.ndarray | None], similarity: float
) -> Iterator[tuple[int, int]]:
    """Pairs of songs that agree in enough places; of each bucket, all against its first."""
    songs = np.array([n for n, one in enumerate(signatures) if one is not None], np.int64)
    if not len(songs):
        return
    matrix = np.stack([signatures[song] for song in songs])
    for band in range(0, matrix.shape[1], BAND_ROWS):
        rows = np.ascontiguousarray(matrix[:, band : band + BAND_ROWS])
        keys = rows.view(np.dtype((np.void, rows.itemsize * BAND_ROWS))).ravel()
        _, first, bucket = np.unique(keys, return_index=True, return_inverse=True)
        leader = first[bucket]
        others = np.flatnonzero(leader != np.arange(len(songs)))
        alike = (matrix[others] == matrix[leader[others]]).mean(axis=1) >= similarity
        for other in others[alike].tolist():
            yield int(songs[leader[other]]), int(songs[other])


class DisjointSets:
    """Union-find; the root of a set is its smallest member."""

    def __init__(self, members: int) -> None:
        self._parent = list(range(members))

    def root(self, member: int) -> int:
        """The smallest member of the set that holds `member`."""
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member

    def join(self, one: int, other: int) -> None:
        """Make one set of the two that hold these members."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low
