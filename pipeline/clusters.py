"""Which songs are copies of one another: clusters from bytes, exact music and fingerprints.

Candidates for a near-copy share one band of their signatures, two places (locality-sensitive
hashing); a pair is joined where its whole signatures agree in at least `similarity` of their
places. Being a copy is taken to be transitive. An outside list may join more.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from pipeline.duplicates import DuplicateSettings
from pipeline.fingerprint import PLACES

BAND = 2
"""Places in a band. Of 128 bands, a pair of similarity 0.3 shares 11.5, one of 0.2 shares 5."""
MOST_COMPARED = 128
"""Songs of a band that each is compared with, those that share its next place too first."""


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
        signatures: of `pipeline.fingerprint`.
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
    least = int(np.ceil(duplicates.similarity * PLACES))
    if len(told) and least <= PLACES:
        matrix = np.stack([signatures[song] for song in told])
        for band in range(0, PLACES, BAND):
            join_band(parent, told, matrix, *_in_order(matrix, band), least)
    roots = np.array([root(parent, song) for song in range(len(md5s))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


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
def agree(one, other, least):
    """Whether two signatures agree in at least so many places.

    Gives up after a quarter where hardly any do: of a pair that agrees in a fifth, one in a
    thousand is lost so.
    """
    found = 0
    for place in range(len(one)):
        found += one[place] == other[place]
        if place == len(one) // 4 and found * 12 < least:
            return False
    return found >= least


@njit(cache=True)
def join_band(parent, told, matrix, order, key, least):
    """Join the songs that share a band and agree; see `clusters`."""
    for i in range(len(order)):
        for j in range(i - 1, max(i - 1 - MOST_COMPARED, -1), -1):
            if key[j] != key[i]:
                break
            one, other = told[order[j]], told[order[i]]
            if root(parent, one) != root(parent, other) and agree(
                matrix[order[j]], matrix[order[i]], least
            ):
                join(parent, one, other)
