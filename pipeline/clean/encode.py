"""`shards.codec.Codec.encode`, compiled: the same arrays in a third of the time.

The codec's own method needs no compiler and is the definition; a test compares the two.
"""

import numpy as np
from numba import njit

from shards.codec import Codec, EncodedSong
from shards.layout import array_dtypes
from shards.song import Song
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, PROGRAMS, VELOCITY_SHIFT


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
    rests = vocabulary.rests, vocabulary.longest_rests
    drums = vocabulary.drum_duration, vocabulary.drum_classes
    length = stream_length(changes[0], notes, vocabulary.has_duration, drums, rests)
    if length < 0:
        codec.check_notes(notes)
    dtypes = array_dtypes(vocabulary.step_dtype).values()
    arrays = tuple(np.empty(length, dtype) for dtype in dtypes)
    write_stream(
        changes,
        notes,
        (bars.starts, bars.lengths, bars.first_bars),
        (vocabulary.sos, vocabulary.eos),
        (vocabulary.pitch0, vocabulary.drum0, vocabulary.duration0, vocabulary.rest0),
        vocabulary.nearest_durations,
        rests,
        arrays,
    )
    return EncodedSong(*arrays)


@njit(cache=True)
def stream_length(change_steps, notes, has_duration, drums, rests):
    """Count the tokens of a song; -1 if it has a note that `Codec.check_notes` refuses.

    Args:
        change_steps, notes, rests: as for `write_stream`.
        has_duration: of the vocabulary.
        drums: `drum_duration` and `drum_classes` of the vocabulary.
    """
    rest_steps, longest_rests = rests
    drum_duration, drum_classes = drums
    length, now, c, n = 2 + len(change_steps), 0, 0, 0
    while c < len(change_steps) or n < len(notes):
        if n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start):
            step = change_steps[c]
            c += 1
        else:
            note = notes[n]
            step = note.start
            if note.instrument >= PROGRAMS:
                fits = (
                    note.duration == drum_duration and drum_classes[note.pitch] == note.instrument
                )
                length += 1
            else:
                fits = 0 < note.duration < len(has_duration) and has_duration[note.duration]
                length += 2
            if not fits:
                return -1
            n += 1
        while now < step:
            now += rest_steps[longest_rests[min(step - now, rest_steps[-1])]]
            length += 1
    return length


@njit(cache=True)
def write_stream(changes, notes, meters, special_ids, first_ids, durations, rests, arrays):
    """Write a song's five arrays, see `shards.codec`.

    Args:
        changes: steps, ids and classes of meters, tempos and controls, by step and then in the
            stream's order; the class is NO_INSTRUMENT except for controls.
        notes: dtype NOTE, canonical.
        meters: starts, lengths and first_bars of `shards.bars.Bars`.
        special_ids: of <sos> and <eos>.
        first_ids: of the pitches, drums, durations and rests.
        durations: `nearest_durations` of the vocabulary.
        rests: `rests` and `longest_rests` of the vocabulary.
        arrays: the five arrays of `EncodedSong`, shape (`stream_length`,), written.
    """
    change_steps, change_ids, change_classes = changes
    bar_starts, bar_lengths, first_bars = meters
    sos, eos = special_ids
    pitch0, drum0, duration0, rest0 = first_ids
    rest_steps, longest_rests = rests
    tokens, instruments, velocities, bars, steps = arrays
    segment, at, now, c, n = 0, 1, 0, 0, 0
    tokens[0], instruments[0], velocities[0] = sos, NO_INSTRUMENT, NO_VELOCITY
    bars[0], steps[0] = 0, 0
    while c < len(change_steps) or n < len(notes):
        is_change = n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start)
        step = change_steps[c] if is_change else notes[n].start
        while now < step:
            rest = longest_rests[min(step - now, rest_steps[-1])]
            bar, bar_step = _bar_and_step(now, segment, bar_starts, bar_lengths, first_bars)
            tokens[at], instruments[at], velocities[at] = rest0 + rest, NO_INSTRUMENT, NO_VELOCITY
            bars[at], steps[at] = bar, bar_step
            at += 1
            now += rest_steps[rest]
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
        is_drum = note.instrument >= PROGRAMS
        tokens[at] = drum0 + note.instrument - PROGRAMS if is_drum else pitch0 + note.pitch
        instruments[at], velocities[at] = note.instrument, note.velocity >> VELOCITY_SHIFT
        at += 1
        n += 1
        if not is_drum:
            tokens[at] = duration0 + durations[note.duration]
            instruments[at], velocities[at] = note.instrument, NO_VELOCITY
            bars[at], steps[at] = bar, bar_step
            at += 1
    bar, bar_step = _bar_and_step(now, segment, bar_starts, bar_lengths, first_bars)
    tokens[at], instruments[at], velocities[at] = eos, NO_INSTRUMENT, NO_VELOCITY
    bars[at], steps[at] = bar, bar_step


@njit(cache=True)
def _bar_and_step(step, segment, bar_starts, bar_lengths, first_bars):
    past = step - bar_starts[segment]
    bar = past // bar_lengths[segment]
    return first_bars[segment] + bar, past - bar * bar_lengths[segment]
