"""Which songs are duplicates of each other: clusters from bytes, exact music and fingerprints.

Songs that share one band of their signatures, two bins, are candidates for near-duplicates
(locality-sensitive hashing). A pair of them is joined if

1. the signatures agree in at least `similarity` of their bins, less a margin for chance,
2. in enough of them on rare n-grams: power chords in even eighths occur in hundreds of songs, and
   a punk song can consist of little else, and
3. what they share stands in the same order (`pipeline.duplicates.pairs`): songs that share an
   accompaniment pattern play it to other chords.

Two songs are compared twice, by their melodies and by their top lines; one of the two is enough.
Being a duplicate is taken to be transitive. The user's list may join more songs.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.duplicates.pairs import (
    DISORDERED_BITS,
    find_pairs,
    find_rare,
    join_ordered,
    roots,
    union,
    union_all,
)
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.signature import BINS
from pipeline.duplicates.stored import PlacesFile

RARE_SONGS, RARE_ONE_IN = 8, 256
"""An n-gram is rare if at most RARE_SONGS songs contain it, or at most one in RARE_ONE_IN."""
MARGIN = 0.08
"""Three standard errors of a signature's estimate, so that no pair is missed by chance."""
BAND_BINS = 2


class Rule(NamedTuple):
    """How signatures of a kind are compared.

    Attributes:
        bands: how many are looked at. Of 128 bands, a pair of similarity 0.3 shares 11.5 on
            average, one of 0.12 shares 1.8.
        min_rare_share: of the bins that have to agree on a rare n-gram, whatever `similarity` is.
    """

    bands: int
    min_rare_share: float


RULES = {"melodies": Rule(128, 0.08), "top_line": Rule(64, 0.12)}
"""Stricter for top lines: a song in another notation has 0.33 and more, and among 180,000 songs
5,600 times as many pairs can agree by chance as among the 2,405 that this was measured on."""


class Signatures(NamedTuple):
    """The signatures of one kind, of the songs that have one.

    Attributes:
        songs: shape (signatures,), int64, the songs' numbers.
        hashes: shape (signatures, BINS), uint16; see `pipeline.duplicates.signature`.
        places: likewise.
        rule: how they are compared.
    """

    songs: np.ndarray
    hashes: np.ndarray
    places: np.ndarray | PlacesFile
    rule: Rule


def clusters(
    exact: Sequence[np.ndarray], signatures: Iterable[Signatures], duplicates: DuplicateSettings
) -> np.ndarray:
    """Number the clusters of songs.

    Args:
        exact: each of shape (songs,): numbers from 0, equal for songs with the same bytes, or with
            the same music.
        signatures: of each kind; one kind at a time is looked at.
        duplicates: when two songs count as near-duplicates.

    Returns:
        shape (songs,), int32; clusters numbered by their first song, in order.
    """
    parent = np.arange(len(exact[0]))
    for keys in exact:
        first = np.unique(keys, return_index=True)[1]
        union_all(parent, first[keys], np.arange(len(keys)))
    is_first = roots(parent) == np.arange(len(parent))
    for kind in signatures if duplicates.similarity <= 1 else ():
        _join_near(parent, kind, is_first[kind.songs], duplicates.similarity)
        del kind  # before the next one is read: each takes most of the memory
    return numbered(parent)


def _join_near(
    parent: np.ndarray, signatures: Signatures, counted: np.ndarray, similarity: float
) -> None:
    """Join the near-duplicates by signatures of one kind; `counted` as for `find_rare`.

    Of each band, pairs that agree are found first, and then their places are read: of pairs that
    span the songs that would be joined, and where one of these turns out to be in another order, of
    all that are left.
    """
    songs, hashes, places, rule = signatures
    bounds = (
        int(np.ceil((similarity - MARGIN) * BINS)),
        int(np.ceil(rule.min_rare_share * BINS)),
    )
    max_songs = max(RARE_SONGS, int(np.count_nonzero(counted)) // RARE_ONE_IN)
    is_rare = find_rare(hashes, counted, max_songs)
    disordered = np.zeros(1 << DISORDERED_BITS, np.uint64)
    for band in range(0, BINS, BINS // rule.bands):
        order, key = _sort_by_band(hashes, band)
        for spanning in (True, False):
            begin = apart = 0
            while begin < len(order):
                found = songs, hashes, is_rare, order, key, bounds, disordered, begin, spanning
                pairs, begin = find_pairs(parent.copy(), *found)
                both = places[pairs[:, 0]], places[pairs[:, 1]]
                apart += join_ordered(parent, songs, hashes, pairs, *both, disordered)
            if not apart:
                break


def joined(clusters: np.ndarray, groups: Iterable[Sequence[int]]) -> np.ndarray:
    """Merge the clusters of the songs in each group, and number them again."""
    parent = np.unique(clusters, return_index=True)[1][clusters]
    for group in groups:
        for song in group[1:]:
            union(parent, group[0], song)
    return numbered(parent)


def numbered(parent: np.ndarray) -> np.ndarray:
    """Number the sets of a union-find by their first members."""
    return np.unique(roots(parent), return_inverse=True)[1].astype(np.int32)


def _sort_by_band(hashes: np.ndarray, band: int) -> tuple[np.ndarray, np.ndarray]:
    """Order rows by a band's bins and then by the next bin; also return the bands' sorted keys.

    Sorts numbers of the band's 32 bits, as many of the next bin's as there is room for, and the
    row: no two are equal, and it is several times as fast as argsort.
    """
    row_bits = np.uint64(max(len(hashes).bit_length(), 16))
    key = hashes[:, band].astype(np.uint64)
    for bin_ in range(band + 1, band + BAND_BINS + 1):
        key <<= np.uint64(16)
        key |= hashes[:, bin_ % BINS]
    key <<= np.uint64(16)
    key >>= row_bits
    key <<= row_bits
    key |= np.arange(len(hashes), dtype=np.uint64)
    key.sort()
    order = (key & ((np.uint64(1) << row_bits) - np.uint64(1))).astype(np.int64)
    return order, key >> np.uint64(32)
