"""Compiled: notes into canonical order, doubles out.

It states the slow form that it equals, which is what its test compares it with.
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


def warm_up() -> None:
    """Load the compiled kernel, or compile it."""
    step, byte = (np.zeros(1, dtype) for dtype in (np.int64, np.uint8))
    canonical_order(step, step, byte, byte, byte)
