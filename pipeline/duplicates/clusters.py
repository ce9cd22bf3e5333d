"""Which songs are duplicates of each other: clusters from bytes, exact music and fingerprints.

Songs that share one band of their signatures, two bins, are candidates for near-duplicates
(locality-sensitive hashing). A pair of them is joined if the signatures agree in at least
`similarity` of their bins, less a margin for chance, and in enough of them on rare n-grams: power
chords in even eighths occur in hundreds of songs, and a punk song can consist of little else.
Being a duplicate is taken to be transitive. The user's list may join more songs.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from pipeline.duplicates.fingerprint import BINS
from pipeline.duplicates.settings import DuplicateSettings

BAND_BINS = 2
"""Of the 128 bands, a pair of similarity 0.3 shares 11.5 on average, one of 0.12 shares 1.8."""
MAX_COMPARED = 128
"""Songs of a band that each song is compared with, those that also share the next bin first."""
RARE_SONGS, RARE_ONE_IN = 8, 256
"""An n-gram is rare if at most RARE_SONGS songs contain it, or at most one in RARE_ONE_IN."""
MARGIN = 0.08
"""Three standard errors of a signature's estimate, so that no pair is missed by chance."""
MIN_RARE_SHARE = 0.08
"""Share of bins that have to agree on a rare n-gram, whatever `similarity` is."""


def clusters(
    md5s: Sequence[str],
    music: Sequence[str],
    signatures: Sequence[np.ndarray | None],
    duplicates: DuplicateSettings,
    listed: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """Number the clusters of songs; the first three arguments have one entry per song.

    Args:
        md5s, music: equal for identical files, and for identical music.
        signatures: of `pipeline.duplicates.fingerprint`.
        duplicates: when two songs count as near-duplicates.
        listed: groups of songs that are duplicates whatever they sound like.

    Returns:
        shape (songs,), int32; clusters numbered by their first song, in order.
    """
    parent = np.arange(len(md5s))
    for keys in (md5s, music):
        first: dict[str, int] = {}
        for song, key in enumerate(keys):
            union(parent, first.setdefault(key, song), song)
    for group in listed:
        for song in group[1:]:
            union(parent, group[0], song)
    signed = [(song, one) for song, one in enumerate(signatures) if one is not None]
    if signed and duplicates.similarity <= 1:
        songs = np.array([song for song, _ in signed], np.int64)
        matrix = np.stack([signature for _, signature in signed])
        is_first = np.array([root(parent, song) == song for song in songs])
        is_rare = _is_rare(matrix, is_first)
        min_agreeing = int(np.ceil((duplicates.similarity - MARGIN) * BINS))
        min_rare = int(np.ceil(MIN_RARE_SHARE * BINS))
        for band in range(0, BINS, BAND_BINS):
            order, key = _sort_by_band(matrix, band)
            join_band(parent, songs, matrix, is_rare, order, key, min_agreeing, min_rare)
    roots = np.array([root(parent, song) for song in range(len(md5s))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int32)


def rare_limit(songs: int) -> int:
    """How many of these songs may contain an n-gram that counts as rare."""
    return max(RARE_SONGS, songs // RARE_ONE_IN)


def _is_rare(matrix: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Where signatures hold a rare n-gram, shape (songs, BINS), bool.

    Args:
        matrix: shape (songs, BINS), uint16.
        counted: shape (songs,), bool; False for exact duplicates of another song.
    """
    limit = rare_limit(int(counted.sum()))
    is_rare = np.empty(matrix.shape, bool)
    for bin_ in range(BINS):
        songs = np.bincount(matrix[counted, bin_], minlength=1 << 16)
        is_rare[:, bin_] = songs[matrix[:, bin_]] <= limit
    return is_rare


def _sort_by_band(matrix: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Order rows by a band's bins and then by the next bin; also return the bands' sorted keys."""
    words = matrix[:, np.arange(band, band + BAND_BINS + 1) % BINS].astype(np.uint64)
    key = words[:, 0] << np.uint64(32) | words[:, 1] << np.uint64(16) | words[:, 2]
    order = np.argsort(key, kind="stable")
    return order, key[order] >> np.uint64(16)


@njit(cache=True)
def root(parent, member):
    """Find the smallest member of the set of `member`; union-find with path halving."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@njit(cache=True)
def union(parent, one, other):
    """Merge the sets of two members."""
    a, b = root(parent, one), root(parent, other)
    parent[max(a, b)] = min(a, b)


@njit(cache=True)
def agree(one, other, is_rare, min_agreeing, min_rare):
    """Whether two signatures agree in enough bins, and in enough bins with rare n-grams.

    Stops after a quarter of the bins if hardly any agree; of pairs that have just `min_agreeing`
    in common, three in a thousand are lost that way.

    Args:
        one, other: the signatures.
        is_rare: where `one`, and so `other` where they agree, holds a rare n-gram.
        min_agreeing, min_rare: how many bins have to agree, and how many of them be rare.
    """
    agreeing, rare = 0, 0
    for bin_ in range(len(one)):
        if one[bin_] == other[bin_]:
            agreeing += 1
            rare += is_rare[bin_]
        if bin_ == len(one) // 4 and agreeing * 16 < min_agreeing:
            return False
    return agreeing >= min_agreeing and rare >= min_rare


@njit(cache=True)
def join_band(parent, songs, matrix, is_rare, order, key, min_agreeing, min_rare):
    """Join the songs that share a band and agree; see `clusters`."""
    for i in range(len(order)):
        for j in range(i - 1, max(i - 1 - MAX_COMPARED, -1), -1):
            if key[j] != key[i]:
                break
            a, b = order[j], order[i]
            if root(parent, songs[a]) != root(parent, songs[b]) and agree(
                matrix[a], matrix[b], is_rare[a], min_agreeing, min_rare
            ):
                union(parent, songs[a], songs[b])
