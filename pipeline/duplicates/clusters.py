"""Which songs are copies of one another: clusters from bytes, exact music and fingerprints.

Candidates for a near-copy share one band of their signatures, two places (locality-sensitive
hashing); a pair is joined where its whole signatures agree in at least `similarity` of their
places, less a margin for chance, and in enough of them on figures that few songs have: power
chords in even eighths are in hundreds of songs, and a punk song can consist of little else.
Being a copy is taken to be transitive. An outside list may join more.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from pipeline.duplicates.fingerprint import PLACES
from pipeline.duplicates.settings import DuplicateSettings

BAND = 2
"""Places in a band. Of 128 bands, a pair of similarity 0.3 shares 11.5, one of 0.12 shares 1.8."""
MOST_COMPARED = 128
"""Songs of a band that each is compared with, those that share its next place too first."""
FEW, ONE_IN = 8, 256
"""A figure is telling that at most so many songs have, or at most one song in so many."""
MARGIN = 0.08
"""Three standard errors of what signatures estimate: pairs that are as similar aren't missed."""
TELLING = 0.08
"""Share of places that have to agree on a telling figure, whatever `similarity` asks for."""


def clusters(
    md5s: Sequence[str],
    music: Sequence[str],
    signatures: Sequence[np.ndarray | None],
    duplicates: DuplicateSettings,
    listed: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """Number the clusters of songs; the first three arguments are parallel, one entry a song.

    Args:
        md5s, music: equal for files, and songs, that are the same.
        signatures: of `pipeline.duplicates.fingerprint`.
        duplicates: when two are near-copies.
        listed: groups of songs that are copies whatever they sound like.

    Returns:
        shape (songs,), int32; clusters numbered by their first song, in order.
    """
    parent = np.arange(len(md5s))
    for keys in (md5s, music):
        first: dict[str, int] = {}
        for song, key in enumerate(keys):
            join(parent, first.setdefault(key, song), song)
    for group in listed:
        for song in group[1:]:
            join(parent, group[0], song)
    told = np.array([n for n, one in enumerate(signatures) if one is not None], np.int64)
    least = int(np.ceil((duplicates.similarity - MARGIN) * PLACES))
    if len(told) and duplicates.similarity <= 1:
        matrix = np.stack([signatures[song] for song in told])
        alone = np.array([root(parent, song) == song for song in told])
        telling = _telling(matrix, alone)
        least_telling = int(np.ceil(TELLING * PLACES))
        for band in range(0, PLACES, BAND):
            order, key = _in_order(matrix, band)
            join_band(parent, told, matrix, telling, order, key, least, least_telling)
    roots = np.array([root(parent, song) for song in range(len(md5s))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


def _telling(matrix: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Where signatures hold a figure that few songs have, shape (songs, PLACES), bool.

    Args:
        matrix: shape (songs, PLACES), uint16.
        counted: shape (songs,), bool; not a song that is an exact copy of another one.
    """
    few = max(FEW, int(counted.sum()) // ONE_IN)
    telling = np.empty(matrix.shape, bool)
    for place in range(PLACES):
        songs = np.bincount(matrix[counted, place], minlength=1 << 16)
        telling[:, place] = songs[matrix[:, place]] <= few
    return telling


def _in_order(matrix: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by a band's places and, within equal ones, by the next; and the bands' keys."""
    words = matrix[:, np.arange(band, band + BAND + 1) % PLACES].astype(np.uint64)
    key = words[:, 0] << np.uint64(32) | words[:, 1] << np.uint64(16) | words[:, 2]
    order = np.argsort(key, kind="stable")
    return order, key[order] >> np.uint64(16)


@njit(cache=True)
def root(parent, member):
    """The smallest member of the set that holds `member`; union-find with path halving."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@njit(cache=True)
def join(parent, one, other):
    """Make one set of the two that hold these members."""
    a, b = root(parent, one), root(parent, other)
    parent[max(a, b)] = min(a, b)


@njit(cache=True)
def agree(one, other, telling, least, least_telling):
    """Whether two signatures agree in so many places, and on so many telling figures.

    Gives up after a quarter where hardly any do: of pairs that agree in just so many, three
    in a thousand are lost so.

    Args:
        one, other: the signatures.
        telling: where that of `one`, and so the other where they agree, holds a telling figure.
        least, least_telling: places, and places of those, that have to agree.
    """
    found, told = 0, 0
    for place in range(len(one)):
        if one[place] == other[place]:
            found += 1
            told += telling[place]
        if place == len(one) // 4 and found * 16 < least:
            return False
    return found >= least and told >= least_telling


@njit(cache=True)
def join_band(parent, told, matrix, telling, order, key, least, least_telling):
    """Join the songs that share a band and agree; see `clusters`."""
    for i in range(len(order)):
        for j in range(i - 1, max(i - 1 - MOST_COMPARED, -1), -1):
            if key[j] != key[i]:
                break
            a, b = order[j], order[i]
            if root(parent, told[a]) != root(parent, told[b]) and agree(
                matrix[a], matrix[b], telling[a], least, least_telling
            ):
                join(parent, told[a], told[b])
