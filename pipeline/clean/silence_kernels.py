"""The compiled half of `pipeline.clean.silence`: where nothing sounds, and closing gaps.

Times are in steps; `notes` is a contiguous array of dtype NOTE, by start, at least one.
"""

import numpy as np
from numba import njit


@njit(cache=True)
def longest_rest(notes):
    """The longest time between two of the song's notes in which nothing sounds."""
    longest, until = 0, notes[0].start
    for i in range(len(notes)):
        longest = max(longest, notes[i].start - until)
        until = max(until, notes[i].start + notes[i].duration)
    return longest


@njit(cache=True)
def sounding_until(notes, held):
    """The step at which all notes up to each one have ended; int64.

    Args:
        held: shape (2, spans): starts, ascending, and ends of what sounds as well.
    """
    until = np.empty(len(notes), np.int64)
    latest, span = 0, 0
    for i in range(len(notes)):
        latest = max(latest, notes[i].start + notes[i].duration)
        while span < held.shape[1] and held[0, span] <= notes[i].start:
            latest = max(latest, held[1, span])
            span += 1
        until[i] = latest
    return until


@njit(cache=True)
def long_silences(notes, until, bars, leading, inner):
    """Find the silences that hold more whole bars than may stay.

    Args:
        until: of `sounding_until`.
        bars: `starts`, `lengths` and `first_bars` of `shards.bars.Bars`.
        leading, inner: bars that may stay before the first note, and before the others.

    Returns:
        shape (3, silences), int64: the note after each, its first whole bar, and the note's bar.
    """
    starts, lengths, first_bars = bars
    found = np.empty((3, len(notes)), np.int64)
    filled, from_meter, meter = 0, 0, 0
    for i in range(len(notes)):
        silent_from = until[i - 1] if i else np.int64(0)
        start, kept = notes[i].start, inner if i else leading
        if start - silent_from <= kept:  # bars have at least a step
            continue
        while from_meter + 1 < len(starts) and starts[from_meter + 1] <= silent_from:
            from_meter += 1
        while meter + 1 < len(starts) and starts[meter + 1] <= start:
            meter += 1
        past, length = silent_from - starts[from_meter], lengths[from_meter]
        first = first_bars[from_meter] + (past + length - 1) // length
        last = first_bars[meter] + (start - starts[meter]) // lengths[meter]
        if first + kept < last:
            found[0, filled], found[1, filled], found[2, filled] = i, first, last
            filled += 1
    return found[:, :filled]


@njit(cache=True)
def close_gaps(steps, begin, end):
    """Move steps, ascending, to where they lie once the ranges [begin, end) are removed; in place.

    A step inside a range moves to its begin.
    """
    gap, removed = 0, 0
    for i in range(len(steps)):
        while gap < len(begin) and end[gap] <= steps[i]:
            removed += end[gap] - begin[gap]
            gap += 1
        inside = gap < len(begin) and begin[gap] <= steps[i]
        steps[i] = (begin[gap] if inside else steps[i]) - removed
