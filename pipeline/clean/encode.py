"""`shards.codec.Codec.encode`, compiled: the same arrays in a third of the time.

The codec's own, without a compiler, is the definition; a test holds the two to each other.
"""

import numpy as np
from numba import njit

from shards.codec import Codec, EncodedSong
from shards.song import Song
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_SHIFT


def encode(song: Song, codec: Codec) -> EncodedSong:
    """Turn a canonical song into its arrays.

    Raises:
        ValueError: as the codec does.
    """
    codec.check(song)
    vocabulary = codec.vocabulary
    steps, ids, classes = codec.changes(song)
    notes = np.ascontiguousarray(song.notes)
    bars = codec.bars(song, max(int(notes["start"][-1]), int(steps.max(initial=0))))
    length = stream_length(steps, notes, vocabulary.max_duration)
    encoded = EncodedSong(
        np.empty(length, np.uint16),
        np.empty(length, np.uint8),
        np.empty(length, np.uint8),
        np.empty(length, np.uint16),
        np.empty(length, vocabulary.step_dtype),
    )
    write_stream(
        steps,
        ids,
        classes,
        notes,
        bars.starts,
        bars.lengths,
        bars.first_bars,
        (vocabulary.sos, vocabulary.eos, vocabulary.sep),
        vocabulary.pitch0,
        vocabulary.duration1,
        vocabulary.max_duration,
        encoded.tokens,
        encoded.instruments,
        encoded.velocities,
        encoded.bars,
        encoded.steps,
    )
    return encoded


@njit(cache=True)
def stream_length(change_steps, notes, longest):
    """Tokens of a song; arguments as for `write_stream`."""
    length, now, c, n = 2 + len(change_steps) + 2 * len(notes), 0, 0, 0
    while c < len(change_steps) or n < len(notes):
        if n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start):
            step = change_steps[c]
            c += 1
        else:
            step = notes[n].start
            n += 1
        length += 2 * ((step - now + longest - 1) // longest)
        now = step
    return length


@njit(cache=True)
def write_stream(
    change_steps,
    change_ids,
    change_classes,
    notes,
    bar_starts,
    bar_lengths,
    first_bars,
    special,
    pitch0,
    duration1,
    longest,
    tokens,
    instruments,
    velocities,
    bars,
    places,
):
    """Write a song's five arrays, see `shards.codec`.

    Args:
        change_steps, change_ids, change_classes: meters, tempos and controls, by step, and in
            the stream's order within one; the class is NO_INSTRUMENT but for a control.
        notes: dtype NOTE, canonical.
        bar_starts, bar_lengths, first_bars: of `shards.bars.Bars`.
        special: ids of <sos>, <eos> and <sep>.
        pitch0, duration1: ids of the first pitch and of the duration of one step.
        longest: steps in the longest duration.
        tokens, instruments, velocities, bars, places: shape (`stream_length`,), written.
    """
    sos, eos, sep = special
    segment, at, now, c, n = 0, 1, 0, 0, 0
    tokens[0], instruments[0], velocities[0] = sos, NO_INSTRUMENT, NO_VELOCITY
    bars[0], places[0] = 0, 0
    while c < len(change_steps) or n < len(notes):
        is_change = n == len(notes) or (c < len(change_steps) and change_steps[c] <= notes[n].start)
        step = change_steps[c] if is_change else notes[n].start
        while now < step:
            rest = min(step - now, longest)
            bar, place = _position(now, segment, bar_starts, bar_lengths, first_bars)
            tokens[at], tokens[at + 1] = sep, duration1 - 1 + rest
            for i in (at, at + 1):
                instruments[i], velocities[i] = NO_INSTRUMENT, NO_VELOCITY
                bars[i], places[i] = bar, place
            at += 2
            now += rest
            while segment + 1 < len(bar_starts) and bar_starts[segment + 1] <= now:
                segment += 1
        bar, place = _position(now, segment, bar_starts, bar_lengths, first_bars)
        bars[at], places[at] = bar, place
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
        bars[at + 1], places[at + 1] = bar, place
        at += 2
        n += 1
    bar, place = _position(now, segment, bar_starts, bar_lengths, first_bars)
    tokens[at], instruments[at], velocities[at] = eos, NO_INSTRUMENT, NO_VELOCITY
    bars[at], places[at] = bar, place


@njit(cache=True)
def _position(step, segment, bar_starts, bar_lengths, first_bars):
    past = step - bar_starts[segment]
    bar = past // bar_lengths[segment]
    return first_bars[segment] + bar, past - bar * bar_lengths[segment]
