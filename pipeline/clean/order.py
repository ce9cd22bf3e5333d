"""Compiled: a recording's notes onto the grid, into canonical order, repeated notes merged."""

import numpy as np
from numba import njit

from shards.vocabulary import NO_INSTRUMENT, VELOCITY_SHIFT

MANY = 24
"""Notes on one step up to which insertion sort is fastest."""
GAPS = (4197377, 1050113, 262913, 65921, 16577, 4193, 1073, 281, 77, 23, 8)
"""4^k + 3 2^(k-1) + 1: Shellsort of n keys by these and 1 takes at most O(n^(4/3)).

Source: Sedgewick 1986, A new upper bound for Shellsort.
"""
MAX_DURATION = (1 << 20) - 1
"""Steps; it must fit into 20 bits of a sort key."""


@njit(cache=True)
def grid_notes(
    played, drum_classes, ticks_per_beat, steps_per_beat, durations, drum_duration, notes
):
    """Round notes to steps, in canonical order, without those outside the percussion map.

    Equal to rounding as `quantize.Snap` does, then `shards.song.sort_notes`.

    Args:
        played: dtype NOTE_DTYPE, by start.
        drum_classes: of the vocabulary.
        durations: what a note of 0, 1, 2 … steps becomes, at most MAX_DURATION; a longer one
            becomes the last.
        drum_duration: of every drum, in steps.
        notes: dtype NOTE, shape (notes played,), written.

    Returns:
        Entries written to `notes`; and three counts, the last two without drums: notes outside,
        durations shortened to the longest, durations lengthened to one step.
    """
    # a key: class, pitch from high to low, longest first; the velocity is not ordered by
    keys = np.empty(len(played), np.int64)
    waiting, filled, outside, shortened, lengthened = 0, 0, 0, 0, 0
    longest = len(durations) - 1
    twice, tick, step = 2 * ticks_per_beat, np.int64(-1), np.int64(0)
    for i in range(len(played)):
        note = played[i]
        class_ = drum_classes[note.pitch] if note.is_drum else note.program
        if class_ == NO_INSTRUMENT:
            outside += 1
            continue
        if note.start != tick:
            tick = note.start
            # exact up to 2 ** 52, and faster than dividing integers
            now = np.int64((2 * steps_per_beat * tick + ticks_per_beat) / twice)
            if now != step:
                filled = _write_step(keys[:waiting], step, notes, filled)
                waiting, step = 0, now
        held = np.int64((2 * steps_per_beat * note.end + ticks_per_beat) / twice) - step
        duration = drum_duration
        if not note.is_drum:
            lengthened += held == 0
            shortened += held > longest
            duration = durations[min(held, longest)]
        sound = np.int64(class_) << 7 | (127 - np.int64(note.pitch))
        velocity = np.int64((note.velocity >> VELOCITY_SHIFT << VELOCITY_SHIFT) + 2)
        keys[waiting] = (sound << 20 | MAX_DURATION - duration) << 8 | velocity
        waiting += 1
    filled = _write_step(keys[:waiting], step, notes, filled)
    return filled, outside, shortened, lengthened


@njit(cache=True)
def _write_step(keys, step, notes, filled):
    """Write the notes of one step, one per class and pitch; returns the entries written so far.

    The longest is kept, with the velocity of the loudest.
    """
    if len(keys) > MANY:
        _sort_roughly(keys)
    for i in range(1, len(keys)):
        key, j = keys[i], i
        while j > 0 and keys[j - 1] > key:
            keys[j] = keys[j - 1]
            j -= 1
        keys[j] = key
    before = np.int64(-1)
    for key in keys:
        sound, velocity = key >> 28, np.uint8(key & 255)
        if sound == before:
            notes[filled - 1].velocity = max(notes[filled - 1].velocity, velocity)
            continue
        notes[filled].start = step
        notes[filled].duration = MAX_DURATION - (key >> 8 & MAX_DURATION)
        notes[filled].instrument = sound >> 7
        notes[filled].pitch = 127 - (sound & 127)
        notes[filled].velocity = velocity
        filled += 1
        before = sound
    return filled


@njit(cache=True)
def _sort_roughly(keys):
    """All passes of Shellsort but the last; np.sort would slow its caller down for few keys too."""
    for gap in GAPS:
        for i in range(gap, len(keys)):
            key, j = keys[i], i
            while j >= gap and keys[j - gap] > key:
                keys[j] = keys[j - gap]
                j -= gap
            keys[j] = key
