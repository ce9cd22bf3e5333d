"""Compare pairs of signatures, and join those of duplicates: the compiled half of clusters.

What two songs share has to stand in the same order. Different songs with one accompaniment pattern
share many n-grams, but not the order of their first occurrences. In duplicates, these lie along a
few straight lines (a line shifts where the song was cut, or where a first occurrence is missing)
or, where the beat drifts, in nearly the same order.

Conventions
    place     the first time an n-gram starts, as a share of the song, in 65,535ths; so songs in
              another notation have equal places, and songs of which a part is missing have places
              in another ratio

Kernels here call only kernels of this file; see pipeline/midi/events.py.
"""

import numpy as np
from numba import njit

MAX_COMPARED = 128
"""Songs of a band that each song is compared with, those that also share the next bin first."""
MAX_PAIRS = 1 << 14
"""So many pairs' places are read at a time: 16 MB."""
DISORDERED_BITS = 21
BINS_AT_ONCE = 32
"""Bins whose hashes are counted in one pass: a cache line of each signature, in 8 MB."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LINES, TOLERANCE, MIN_ON_LINES = 3, 128, 0.5
"""Half of the shared n-grams lie on three lines of one slope, each as wide as half a second of a
song of four minutes."""
MIN_RANK_CORRELATION = 0.9
NEIGHBOURS, MIN_RUN = 24, 512
"""The slope is sought between points that are at most so many n-grams, and at least a 128th of the
song apart."""


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
def union_all(parent, ones, others):
    """Merge the sets of many pairs of members; two arrays of one length."""
    for pair in range(len(ones)):
        union(parent, ones[pair], others[pair])


@njit(cache=True)
def roots(parent):
    """Find the smallest member of each member's set."""
    found = np.empty(len(parent), np.int64)
    for member in range(len(parent)):
        found[member] = root(parent, member)
    return found


@njit(cache=True)
def find_rare(hashes, counted, max_songs):
    """Which hashes of each bin at most `max_songs` signatures have, bool, shape (BINS, 2 ** 16).

    Args:
        hashes: shape (signatures, BINS), uint16.
        counted: shape (signatures,), bool; False for exact duplicates of another song.
        max_songs: how many songs may have an n-gram that is rare.
    """
    bins = hashes.shape[1]
    is_rare = np.empty((bins, 1 << 16), np.bool_)
    for first in range(0, bins, BINS_AT_ONCE):
        songs = np.zeros((BINS_AT_ONCE, 1 << 16), np.int32)
        for row in range(len(hashes)):
            if counted[row]:
                for bin_ in range(first, min(first + BINS_AT_ONCE, bins)):
                    songs[bin_ - first, hashes[row, bin_]] += 1
        for bin_ in range(first, min(first + BINS_AT_ONCE, bins)):
            is_rare[bin_] = songs[bin_ - first] <= max_songs
    return is_rare


@njit(cache=True)
def agree(one, other, is_rare, bounds):
    """Whether two signatures agree in enough bins, and in enough bins with rare n-grams.

    Stops after a quarter of the bins if hardly any agree; of pairs that have just `min_agreeing`
    in common, three in a thousand are lost that way.

    Args:
        one, other: the signatures' hashes.
        is_rare: of `find_rare`.
        bounds: how many bins have to agree, and how many of them on rare n-grams.
    """
    min_agreeing, min_rare = bounds
    agreeing, rare = 0, 0
    for bin_ in range(len(one)):
        if one[bin_] == other[bin_]:
            agreeing += 1
            rare += is_rare[bin_, one[bin_]]
        if bin_ == len(one) // 4 and agreeing * 16 < min_agreeing:
            return False
    return agreeing >= min_agreeing and rare >= min_rare


@njit(cache=True)
def pack(a, b):
    """Two rows in one number, never 0 if a < b."""
    return np.uint64(a) << np.uint64(32) | np.uint64(b)


@njit(cache=True)
def slot(a, b):
    """Where a pair of rows is noted."""
    return pack(a, b) * GOLDEN >> np.uint64(64 - DISORDERED_BITS)


@njit(cache=True)
def find_pairs(parent, songs, hashes, is_rare, order, key, bounds, disordered, begin, spanning):
    """Find pairs of signatures that share a band and agree, of songs that are not joined yet.

    Args:
        parent: of the union-find of all songs; changed if `spanning`.
        songs, hashes: see `pipeline.duplicates.clusters.Signatures`.
        is_rare, bounds: see `agree`.
        order, key: the signatures by their bins in the band, and these.
        disordered: pairs to leave out; see `join_ordered`.
        begin: the position in `order` to begin at.
        spanning: leave out pairs of songs that those found before would join.

    Returns:
        int64, shape (pairs, 2): rows of the signatures, the smaller first, hardly more than
        MAX_PAIRS; and where to go on.
    """
    pairs = np.empty((MAX_PAIRS + MAX_COMPARED, 2), np.int64)
    found, i = 0, begin
    while i < len(order) and found < MAX_PAIRS:
        for j in range(i - 1, max(i - 1 - MAX_COMPARED, -1), -1):
            if key[j] != key[i]:
                break
            a, b = min(order[i], order[j]), max(order[i], order[j])
            if (
                root(parent, songs[a]) != root(parent, songs[b])
                and agree(hashes[a], hashes[b], is_rare, bounds)
                and disordered[slot(a, b)] != pack(a, b)
            ):
                if spanning:
                    union(parent, songs[a], songs[b])
                pairs[found] = a, b
                found += 1
        i += 1
    return pairs[:found], i


@njit(cache=True)
def join_ordered(parent, songs, hashes, pairs, places_a, places_b, disordered):
    """Join the pairs whose shared n-grams stand in the same order; note and count the others.

    Args:
        parent: of the union-find of all songs; changed.
        songs, hashes, pairs: see `find_pairs`.
        places_a, places_b: shape (pairs, BINS), of the first and the second of each pair.
        disordered: uint64, shape (2 ** DISORDERED_BITS,): packed pairs, in their slots, so that
            those that share many bands are looked at once; a new one replaces another. Changed.
    """
    apart = 0
    for n in range(len(pairs)):
        a, b = pairs[n]
        if same_order(hashes[a], hashes[b], places_a[n], places_b[n]):
            union(parent, songs[a], songs[b])
        else:
            disordered[slot(a, b)] = pack(a, b)
            apart += 1
    return apart


@njit(cache=True)
def same_order(hashes_a, hashes_b, places_a, places_b):
    """Whether the n-grams that two signatures share stand in the same order in both songs."""
    shared = hashes_a == hashes_b
    x, y = places_a[shared].astype(np.float64), places_b[shared].astype(np.float64)
    return (
        rank_correlation(x, y) >= MIN_RANK_CORRELATION
        or share_on_lines(y - x) >= MIN_ON_LINES
        or share_on_lines(y - slope(x, y) * x) >= MIN_ON_LINES
    )


@njit(cache=True)
def slope(x, y):
    """Find the commonest slope between two points, to a hundredth."""
    order = np.argsort(x, kind="mergesort")
    x, y = x[order], y[order]
    slopes = np.empty(len(x) * NEIGHBOURS, np.float64)
    count = 0
    for i in range(len(x)):
        for j in range(i + 1, min(i + 1 + NEIGHBOURS, len(x))):
            run, rise = x[j] - x[i], y[j] - y[i]
            if min(run, rise) >= MIN_RUN:
                slopes[count] = np.log(rise / run)
                count += 1
    slopes = np.sort(slopes[:count])
    begin, end = densest(slopes, 0.01)
    return np.exp(slopes[(begin + end) // 2]) if count else 1.0


@njit(cache=True)
def share_on_lines(offsets):
    """The share of offsets in the LINES fullest windows, TOLERANCE wide."""
    left, on_lines = np.sort(offsets), 0
    for _ in range(LINES):
        begin, end = densest(left, TOLERANCE)
        on_lines += end - begin
        left = np.concatenate((left[:begin], left[end:]))
    return on_lines / max(len(offsets), 1)


@njit(cache=True)
def densest(ascending, width):
    """The range, begin and end, of the window that holds the most values."""
    begin, end, last = 0, 0, 0
    for first in range(len(ascending)):
        while last < len(ascending) and ascending[last] <= ascending[first] + width:
            last += 1
        if last - first > end - begin:
            begin, end = first, last
    return begin, end


@njit(cache=True)
def rank_correlation(x, y):
    """Spearman's rank correlation; 0 where all x, or all y, are equal."""
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return (a * b).sum() / norm if norm > 0 else 0.0


@njit(cache=True)
def ranks(values):
    """Rank values from 0; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="mergesort")
    found = np.empty(len(values), np.float64)
    begin = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[order[end]] != values[order[begin]]:
            found[order[begin:end]] = (begin + end - 1) / 2
            begin = end
    return found
