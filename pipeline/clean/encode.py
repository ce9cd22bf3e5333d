"""`shards.codec.Codec.encode`, compiled: the same arrays in a third of the time.

The codec's own method needs no compiler and is the definition; a test compares the two.
"""

import numpy as np
from numba import njit

from shards.codec import Codec, EncodedSong
from shards.layout import array_dtypes
from shards.song import Song
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_SHIFT


def encode(song: Song, codec: Codec) -> EncodedSong:
    """Turn a canonical song into its arrays.

    Raises:
        ValueError: under the same conditions as `Codec.encode`.
    """
    codec.check(song)
    vocabulary = codec.vocabulary
    changes = codec.changes(song)
    notes = np.ascontiguousarray(song.notes)
    bars = codec.bars(song, max(int(notes["start"][-1]), int(changes[0].max(initial=0))))
    length = stream_length(changes[0], notes, vocabulary.max_duration)
    dtypes = array_dtypes(vocabulary.step_dtype).values()
    arrays = tuple(np.empty(length, dtype) for dtype in dtypes)
    write_stream(
        changes,
        notes,
        (bars.starts, bars.lengths, bars.first_bars),
        (vocabulary.sos, vocabulary.eos, vocabulary.sep),
        (vocabulary.pitch0, vocabulary.duration1),
        vocabulary.max_duration,
        arrays,
    )
    return EncodedSong(*arrays)


@njit(cache=True)
def stream_length(change_steps, notes, max_duration):
    """Count the tokens of a song; arguments as for `write_stream`."""
    length, now, c, n = 2 + len(change_steps) + 2 * len(notes), 0, 0, 0
    while c < len(change_steps) or n < len(notes):
        if n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start):
            step = change_steps[c]
            c += 1
        else:
            step = notes[n].start
            n += 1
        length += 2 * ((step - now + max_duration - 1) // max_duration)
        now = step
    return length


@njit(cache=True)
def write_stream(changes, notes, meters, special_ids, first_ids, max_duration, arrays):
    """Write a song's five arrays, see `shards.codec`.

    Args:
        changes: steps, ids and classes of meters, tempos and controls, by step and then in the
            stream's order; the class is NO_INSTRUMENT except for controls.
        notes: dtype NOTE, canonical.
        meters: starts, lengths and first_bars of `shards.bars.Bars`.
        special_ids: of <sos>, <eos> and <sep>.
        first_ids: of the first pitch and of the duration of one step.
        max_duration: steps in the longest duration.
        arrays: the five arrays of `EncodedSong`, shape (`stream_length`,), written.
    """
    change_steps, change_ids, change_classes = changes
    bar_starts, bar_lengths, first_bars = meters
    sos, eos, sep = special_ids
    pitch0, duration1 = first_ids
    tokens, instruments, velocities, bars, steps = arrays
    segment, at, now, c, n = 0, 1, 0, 0, 0
    tokens[0], instruments[0], velocities[0] = sos, NO_INSTRUMENT, NO_VELOCITY
    bars[0], steps[0] = 0, 0
    while c < len(change_steps) or n < len(notes):
        is_change = n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start)
        step = change_steps[c] if is_change else notes[n].start
        while now < step:
            rest = min(step - now, max_duration)
            bar, bar_step = _bar_and_step(now, segment, bar_starts, bar_lengths, first_bars)
            tokens[at], tokens[at + 1] = sep, duration1 - 1 + rest
            for i in (at, at + 1):
                instruments[i], velocities[i] = NO_INSTRUMENT, NO_VELOCITY
                bars[i], steps[i] = bar, bar_step
            at += 2
            now += rest
            while segment + 1 < len(bar_starts) and bar_starts[segment + 1] <= now:
                segment += 1
        bar, bar_step = _bar_and_step(now, segment, bar_starts, bar_lengths, first_bars)
        bars[at], steps[at] = bar, bar_step
        if is_change:
            tokens[at], instruments[at] = change_ids[c], change_classes[c]
            velocities[at] = NO_VELOCITY
            at += 1
            c += 1
            continue
        note = notes[n]
        tokens[at], tokens[at + 1] = pitch0 + note.pitch, duration1 - 1 + note.duration
        instruments[at] = instruments[at + 1] = note.instrument
        velocities[at], velocities[at + 1] = note.velocity >> VELOCITY_SHIFT, NO_VELOCITY
        bars[at + 1], steps[at + 1] = bar, bar_step
        at += 2
        n += 1
    bar, bar_step = _bar_and_step(now, segment, bar_starts, bar_lengths, first_bars)
    tokens[at], instruments[at], velocities[at] = eos, NO_INSTRUMENT, NO_VELOCITY
    bars[at], steps[at] = bar, bar_step


@njit(cache=True)
def _bar_and_step(step, segment, bar_starts, bar_lengths, first_bars):
    past = step - bar_starts[segment]
    bar = past // bar_lengths[segment]
    return first_bars[segment] + bar, past - bar * bar_lengths[segment]
