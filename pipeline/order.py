"""Compiled: notes into canonical order, doubles out; melodic grams and their MinHash.

Each states the slow form that it equals, which is what its test compares it with.
"""

import numpy as np
from numba import njit

MOST_NOTES = 1 << 21
"""Places in the file fit into the low bits of a sort key up to here."""
CROWD = 64
"""Notes on one step up to which sorting by insertion is fastest."""


@njit(cache=True)
def canonical_order(start, duration, instrument, pitch, velocity):
    """Positions of notes in canonical order; of doubles the longest, then loudest, then first.

    Equal to np.lexsort by start, instrument, -pitch, -duration, -velocity with all but the first
    of each (start, instrument, pitch) left out, as `shards.song.sort_notes` does it.

    Args:
        start: ascending.
        duration: below 2**20. instrument, pitch, velocity: uint8. All shape (notes,), fewer
            than MOST_NOTES.

    Returns:
        shape (notes kept,), int64.
    """
    count = len(start)
    kept = np.empty(count, np.int64)
    keys = np.empty(count, np.int64)
    filled, first = 0, 0
    while first < count:
        last = first
        while last < count and start[last] == start[first]:
            part = np.int64(instrument[last]) << 7 | (127 - np.int64(pitch[last]))
            rank = (np.int64(2**20) - 1 - duration[last]) << 7 | (127 - np.int64(velocity[last]))
            keys[last] = (part << 27 | rank) << 21 | last
            last += 1
        group = keys[first:last]
        if last - first > CROWD:
            group = np.sort(group)
        else:
            for i in range(1, len(group)):
                key, j = group[i], i
                while j > 0 and group[j - 1] > key:
                    group[j] = group[j - 1]
                    j -= 1
                group[j] = key
        before = np.int64(-1)
        for key in group:
            if key >> 48 != before:
                kept[filled] = key & (MOST_NOTES - 1)
                filled += 1
                before = key >> 48
        first = last
    return kept[:filled]


@njit(cache=True)
def grams(start, instrument, pitch, length, programs, mix):
    """The hash of every run of `length` steps along a part's skyline; drums are left out.

    Args:
        start, instrument, pitch: of the notes, in canonical order.
        length: steps in a gram.
        programs: instruments from here on are drums.
        mix: uint64, odd; see `pipeline.fingerprint`.

    Returns:
        shape (grams,), uint64; in no order, some more than once.
    """
    found = np.empty(len(start), np.uint64)
    filled = 0
    letters = np.empty((programs, length), np.uint64)  # of each part, the last ones, in a ring
    steps = np.full(programs, -1, np.int64)  # along its skyline so far; -1: not begun
    last_start = np.empty(programs, np.int64)
    last_pitch = np.empty(programs, np.int64)
    for i in range(len(start)):
        part = np.int64(instrument[i])
        if part >= programs or (steps[part] >= 0 and start[i] == last_start[part]):
            continue  # a drum, or a note below the skyline
        high = np.int64(pitch[i])
        if steps[part] >= 0:
            letter = np.uint64(start[i] - last_start[part]) << np.uint64(8)
            letters[part, steps[part] % length] = letter + np.uint64(high - last_pitch[part] + 128)
        steps[part] += 1
        last_start[part], last_pitch[part] = start[i], high
        if steps[part] >= length:
            gram = np.uint64(0)
            for n in range(length):
                gram = (gram ^ letters[part, (steps[part] + n) % length]) * mix
                gram ^= gram >> np.uint64(29)
            found[filled] = gram
            filled += 1
    return found[:filled]


@njit(cache=True)
def are_at_least(values, least):
    """Whether there are so many different values; looks no further than it must."""
    seen = np.empty(least, values.dtype)
    different = 0
    for value in values:
        new = True
        for i in range(different):
            if seen[i] == value:
                new = False
                break
        if new:
            seen[different] = value
            different += 1
            if different == least:
                return True
    return least == 0


@njit(cache=True)
def min_hash(values, multipliers, offsets):
    """The least of `values * multiplier + offset` modulo 2**64 for each pair; uint64."""
    least = np.full(len(multipliers), np.uint64(2**64 - 1), np.uint64)
    for value in values:
        for n in range(len(multipliers)):
            hashed = value * multipliers[n] + offsets[n]
            if hashed < least[n]:
                least[n] = hashed
    return least


def warm_up() -> None:
    """Load the compiled kernels, or compile them."""
    step, byte, word = (np.zeros(1, dtype) for dtype in (np.int64, np.uint8, np.uint64))
    canonical_order(step, step, byte, byte, byte)
    are_at_least(grams(step, byte, byte, 6, 128, np.uint64(1)), 16)
    min_hash(word, word, word)
