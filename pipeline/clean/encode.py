"""`shards.codec.Codec.encode`, compiled: the same arrays, faster.

The codec's own method needs no compiler and is the definition; a test compares the two.
"""

import numpy as np
from numba import njit

from shards.codec import Codec, EncodedSong
from shards.layout import array_dtypes
from shards.song import Song
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, PROGRAMS, VELOCITY_SHIFT

TOKENS_PER_NOTE, TOKENS_PER_CHANGE = 4, 3
"""At most: two rests before it, and its own; a rest of several of the longest takes more."""


def encode(song: Song, codec: Codec) -> EncodedSong:
    """Turn a canonical song into its arrays.

    Raises:
        ValueError: under the same conditions as `Codec.encode`.
    """
    codec.check(song)
    vocabulary = codec.vocabulary
    changes = codec.changes(song)
    notes = np.ascontiguousarray(song.notes)
    last = max(int(notes["start"][-1]), int(changes[0].max(initial=0)))
    bars = codec.bars(song, last)
    room = 2 + TOKENS_PER_NOTE * len(notes) + TOKENS_PER_CHANGE * len(changes[0])
    room += last // int(vocabulary.rests[-1])
    arrays = tuple(np.empty(room, dtype) for dtype in array_dtypes(vocabulary.step_dtype).values())
    length = write_stream(
        changes,
        notes,
        (bars.starts, bars.lengths, bars.first_bars),
        (vocabulary.sos, vocabulary.eos),
        (vocabulary.pitch0, vocabulary.drum0, vocabulary.duration0, vocabulary.rest0),
        (vocabulary.nearest_durations, vocabulary.has_duration),
        (vocabulary.drum_duration, vocabulary.drum_classes),
        (vocabulary.rests, vocabulary.longest_rests),
        arrays,
    )
    if length < 0:
        codec.check_notes(notes)
    return EncodedSong(*(array[:length].copy() for array in arrays))


@njit(cache=True)
def write_stream(changes, notes, meters, special_ids, first_ids, durations, drums, rests, arrays):
    """Write a song's five arrays, see `shards.codec`.

    Args:
        changes: steps, ids and classes of meters, tempos and controls, by step and then in the
            stream's order; the class is NO_INSTRUMENT except for controls.
        notes: dtype NOTE, canonical.
        meters: starts, lengths and first_bars of `shards.bars.Bars`.
        special_ids: of <sos> and <eos>.
        first_ids: of the pitches, drums, durations and rests.
        durations: `nearest_durations` and `has_duration` of the vocabulary.
        drums: its `drum_duration` and `drum_classes`.
        rests: its `rests` and `longest_rests`.
        arrays: the five arrays of `EncodedSong`, long enough, written.

    Returns:
        The number of tokens; -1 if the song has a note that `Codec.check_notes` refuses.
    """
    change_steps, change_ids, change_classes = changes
    bar_starts, bar_lengths, first_bars = meters
    sos, eos = special_ids
    pitch0, drum0, duration0, rest0 = first_ids
    nearest, has_duration = durations
    drum_duration, drum_classes = drums
    rest_steps, longest_rests = rests
    tokens, instruments, velocities, bars, steps = arrays
    tokens[0], instruments[0], velocities[0] = sos, NO_INSTRUMENT, NO_VELOCITY
    bars[0], steps[0] = 0, 0
    segment, at, now, c, n, bar, bar_step = 0, 1, 0, 0, 0, 0, 0
    while c < len(change_steps) or n < len(notes):
        is_change = n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start)
        step = change_steps[c] if is_change else notes[n].start
        while now < step:
            rest = longest_rests[min(step - now, rest_steps[-1])]
            tokens[at], instruments[at], velocities[at] = rest0 + rest, NO_INSTRUMENT, NO_VELOCITY
            bars[at], steps[at] = bar, bar_step
            at += 1
            now += rest_steps[rest]
            while segment + 1 < len(bar_starts) and bar_starts[segment + 1] <= now:
                segment += 1
            past = now - bar_starts[segment]
            bar = past // bar_lengths[segment]
            bar_step = past - bar * bar_lengths[segment]
            bar += first_bars[segment]
        bars[at], steps[at] = bar, bar_step
        if is_change:
            tokens[at], instruments[at] = change_ids[c], change_classes[c]
            velocities[at] = NO_VELOCITY
            at += 1
            c += 1
            continue
        note = notes[n]
        n += 1
        instruments[at], velocities[at] = note.instrument, note.velocity >> VELOCITY_SHIFT
        if note.instrument >= PROGRAMS:
            if note.duration != drum_duration or drum_classes[note.pitch] != note.instrument:
                return -1
            tokens[at] = drum0 + note.instrument - PROGRAMS
            at += 1
            continue
        if not (0 < note.duration < len(has_duration) and has_duration[note.duration]):
            return -1
        tokens[at] = pitch0 + note.pitch
        at += 1
        if n > 1:
            above = notes[n - 2]
            if (above.start, above.instrument, above.duration) == (
                note.start,
                note.instrument,
                note.duration,
            ):
                continue
        tokens[at] = duration0 + nearest[note.duration]
        instruments[at], velocities[at] = note.instrument, NO_VELOCITY
        bars[at], steps[at] = bar, bar_step
        at += 1
    tokens[at], instruments[at], velocities[at] = eos, NO_INSTRUMENT, NO_VELOCITY
    bars[at], steps[at] = bar, bar_step
    return at + 1
