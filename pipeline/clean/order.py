"""Compiled: a recording's notes onto the grid, into canonical order, repeated notes merged.

Each kernel states the slow definition that its test compares it with.
"""

import numpy as np
from numba import njit

from shards.vocabulary import NO_INSTRUMENT, VELOCITY_SHIFT

MAX_NOTES = 1 << 21
"""The number of a note in the file must fit into the low 21 bits of a sort key."""
INSERTION_SORT_NOTES = 64
"""Notes on one step up to which insertion sort is fastest."""


@njit(cache=True)
def canonical_order(start, duration, instrument, pitch, velocity):
    """Find the indices of the notes to keep, in canonical order.

    Of notes with equal start, instrument and pitch the longest is kept, then the first; `velocity`
    of the kept one becomes that of the loudest. Equal to np.lexsort by start, instrument, -pitch,
    -duration with all but the first of each (start, instrument, pitch) left out, as
    `shards.song.sort_notes` does it.

    Args:
        start: ascending. All arguments have shape (notes,), fewer than MAX_NOTES.
        duration: below 2**20.
        instrument, pitch, velocity: uint8; velocity changes in place.

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
            sound = np.int64(instrument[last]) << 7 | (127 - np.int64(pitch[last]))
            keys[last] = (sound << 20 | np.int64(2**20) - 1 - duration[last]) << 21 | last
            last += 1
        group = keys[first:last]
        if last - first > INSERTION_SORT_NOTES:
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
            note = key & (MAX_NOTES - 1)
            if key >> 41 != before:
                kept[filled] = note
                filled += 1
                before = key >> 41
            else:
                longest = kept[filled - 1]
                velocity[longest] = max(velocity[longest], velocity[note])
        first = last
    return kept[:filled]


@njit(cache=True)
def snap_notes(played, drum_classes, ticks_per_beat, steps_per_beat, durations, drum_duration):
    """Round notes to steps as `quantize.Snap` does, without those outside the percussion map.

    Args:
        played: dtype NOTE_DTYPE, by start.
        drum_classes: of the vocabulary.
        durations: what a note of 0, 1, 2 … steps becomes; a longer one becomes the last.
        drum_duration: of every drum, in steps.

    Returns:
        start, duration, instrument, pitch and velocity of the notes inside the map, in order; and
        three counts, the last two without drums: notes outside, durations shortened to the longest,
        durations lengthened to one step.
    """
    start = np.empty(len(played), np.int64)
    duration = np.empty(len(played), np.int64)
    instrument = np.empty(len(played), np.uint8)
    pitch = np.empty(len(played), np.uint8)
    velocity = np.empty(len(played), np.uint8)
    filled, shortened, lengthened = 0, 0, 0
    longest = len(durations) - 1
    twice, tick, step = 2 * ticks_per_beat, np.int64(-1), np.int64(0)
    for i in range(len(played)):
        note = played[i]
        class_ = drum_classes[note.pitch] if note.is_drum else note.program
        if class_ == NO_INSTRUMENT:
            continue
        if note.start != tick:
            tick = note.start
            step = (2 * steps_per_beat * tick + ticks_per_beat) // twice
        held = (2 * steps_per_beat * note.end + ticks_per_beat) // twice - step
        lengthened += held == 0 and not note.is_drum
        shortened += held > longest and not note.is_drum
        start[filled] = step
        duration[filled] = drum_duration if note.is_drum else durations[min(held, longest)]
        instrument[filled], pitch[filled] = class_, note.pitch
        velocity[filled] = (note.velocity >> VELOCITY_SHIFT << VELOCITY_SHIFT) + 2
        filled += 1
    columns = start[:filled], duration[:filled], instrument[:filled], pitch[:filled]
    return (*columns, velocity[:filled]), (len(played) - filled, shortened, lengthened)


@njit(cache=True)
def fill_notes(columns, kept, notes):
    """Write the kept entries of the columns into an array of dtype NOTE, shape (kept,)."""
    start, duration, instrument, pitch, velocity = columns
    for i in range(len(kept)):
        k = kept[i]
        notes[i].start = start[k]
        notes[i].duration = duration[k]
        notes[i].instrument = instrument[k]
        notes[i].pitch = pitch[k]
        notes[i].velocity = velocity[k]
