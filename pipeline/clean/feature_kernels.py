"""The compiled counting behind `pipeline.clean.features`; each kernel walks a song's notes once.

`notes` is a contiguous array of dtype NOTE, by start. Times are in steps unless stated otherwise.
tests/pipeline/clean/test_feature_kernels.py compares each kernel with a slow definition.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from shards.vocabulary import PROGRAMS, VELOCITY_BINS, VELOCITY_SHIFT


class Histograms(NamedTuple):
    """One song's notes, counted; int64 except `sounding`.

    Attributes:
        pitches: shape (128,); notes of programs by pitch.
        drum_keys: shape (128,); drum notes by key.
        programs: shape (128,); notes by program.
        velocities: a number, the velocity bins that any note has.
        most_common_velocities: a number, the notes that have their instrument's most common
            velocity bin; all drums are one instrument.
        pitch_classes: shape (12,); notes of programs by pitch class.
        durations: shape (longest + 1,); notes of programs by duration.
        sounding: shape (12,), float64; steps that each pitch class sounds, drums not counted.
    """

    pitches: np.ndarray
    drum_keys: np.ndarray
    programs: np.ndarray
    velocities: int
    most_common_velocities: int
    pitch_classes: np.ndarray
    durations: np.ndarray
    sounding: np.ndarray


@njit(cache=True)
def histograms(notes):
    """Count one song's notes, see `Histograms`."""
    pitches = np.zeros(128, np.int64)
    drum_keys = np.zeros(128, np.int64)
    programs = np.zeros(PROGRAMS, np.int64)
    velocities = np.zeros((PROGRAMS + 1, VELOCITY_BINS), np.int64)
    longest = 0
    for i in range(len(notes)):
        longest = max(longest, notes[i].duration)
    durations = np.zeros(longest + 1, np.int64)
    sounding = np.zeros(12, np.float64)
    for i in range(len(notes)):
        note = notes[i]
        program = min(note.instrument, PROGRAMS)
        velocities[program, note.velocity >> VELOCITY_SHIFT] += 1
        if program == PROGRAMS:
            drum_keys[note.pitch] += 1
            continue
        pitches[note.pitch] += 1
        programs[program] += 1
        durations[note.duration] += 1
        sounding[note.pitch % 12] += note.duration
    used = np.zeros(VELOCITY_BINS, np.bool_)
    most_common = 0
    for program in range(PROGRAMS + 1):
        most = 0
        for velocity in range(VELOCITY_BINS):
            most = max(most, velocities[program, velocity])
            used[velocity] |= velocities[program, velocity] > 0
        most_common += most
    pitch_classes = np.zeros(12, np.int64)
    for pitch in range(128):
        pitch_classes[pitch % 12] += pitches[pitch]
    velocity_bins = used.sum()
    return Histograms(
        pitches, drum_keys, programs, velocity_bins, most_common, pitch_classes, durations, sounding
    )


@njit(cache=True)
def polyphony(notes, longest):
    """Count how many notes of programs sound at once; a note that ends at a step is silent there.

    Args:
        notes: at least one of them of a program.
        longest: the longest duration.

    Returns:
        The most notes at once; steps at which any sounds; the notes' durations, summed.
    """
    size = 1
    while size <= longest:
        size *= 2
    ending = np.zeros(size, np.int64)  # ring buffer: notes that end, by coming step
    now, sounding, maximum, steps, total = 0, 0, 0, 0, 0
    for i in range(len(notes) + 1):
        if i < len(notes) and notes[i].instrument >= PROGRAMS:
            continue
        while sounding and (i == len(notes) or now < notes[i].start):
            steps += 1
            now += 1
            sounding -= ending[now & (size - 1)]
            ending[now & (size - 1)] = 0
        if i < len(notes):
            now = notes[i].start
            ending[(now + notes[i].duration) & (size - 1)] += 1
            sounding += 1
            maximum = max(maximum, sounding)
            total += notes[i].duration
    return maximum, steps, total


@njit(cache=True)
def busiest_second(notes, starts, seconds, scale):
    """Count the most notes that start within any one second; and measure the song.

    Args:
        starts: the steps of the song's tempos, ascending from 0.
        seconds: the time at which each comes into force.
        scale: seconds per step from there.

    Returns:
        The number of notes; and the second at which the last note ends.
    """
    maximum, first, first_tempo, tempo, end = 0, 0, 0, 0, 0
    first_time, time = np.inf, 0.0
    for i in range(len(notes)):
        step = notes[i].start
        end = max(end, step + notes[i].duration)
        if i == 0 or step != notes[i - 1].start:
            while tempo + 1 < len(starts) and starts[tempo + 1] <= step:
                tempo += 1
            time = seconds[tempo] + (step - starts[tempo]) * scale[tempo]
            first_time = time if i == 0 else first_time
        while first_time <= time - 1.0:
            first += 1
            step = notes[first].start
            while first_tempo + 1 < len(starts) and starts[first_tempo + 1] <= step:
                first_tempo += 1
            first_time = seconds[first_tempo] + (step - starts[first_tempo]) * scale[first_tempo]
        maximum = max(maximum, i + 1 - first)
    while tempo + 1 < len(starts) and starts[tempo + 1] <= end:
        tempo += 1
    return maximum, seconds[tempo] + (end - starts[tempo]) * scale[tempo]


@njit(cache=True)
def rhythm(notes, bar_starts, bar_lengths, first_bars, steps_per_beat):
    """Measure where in their bars notes start.

    Args:
        bar_starts, bar_lengths, first_bars: of `shards.bars.Bars`.

    Returns:
        The last note's bar; distinct onsets; notes on a beat; and the bar similarity, see
        `pipeline.clean.features`.
    """
    latest = np.full(bar_lengths.max(), -2, np.int64)  # last bar with a note there, by step in it
    bar, line, length = -1, 0, 0  # the bar that notes are in, its first step, its steps
    bar_before, length_before, here, before, common = -3, 0, 0, 0, 0  # onsets there, and at once
    segment, onsets, on_beat, pairs = 0, 0, 0, 0
    total, is_on_beat = 0.0, False
    for i in range(len(notes)):
        start = notes[i].start
        if i and start == notes[i - 1].start:
            on_beat += is_on_beat
            continue
        new_meter = False
        while segment + 1 < len(bar_starts) and bar_starts[segment + 1] <= start:
            segment += 1
            new_meter = True
        if new_meter or length == 0 or start >= line + length:
            if bar == bar_before + 1 and length == length_before:
                total += (length - here - before + 2 * common) / length
                pairs += 1
            bar_before, length_before, before, here, common = bar, length, here, 0, 0
            length = bar_lengths[segment]
            bar = (start - bar_starts[segment]) // length
            line = bar_starts[segment] + bar * length
            bar += first_bars[segment]
        common += latest[start - line] == bar - 1
        latest[start - line] = bar
        here += 1
        is_on_beat = (start - line) % steps_per_beat == 0
        on_beat += is_on_beat
        onsets += 1
    if bar == bar_before + 1 and length == length_before:
        total += (length - here - before + 2 * common) / length
        pairs += 1
    return bar, onsets, on_beat, total / pairs if pairs else np.nan


@njit(cache=True)
def added_rests(song_events, controls, whole_note, longest):
    """Count the rest tokens that bends, or modulations, add to a song.

    Args:
        song_events: the song's notes, meters and tempos; each by start.
        controls: dtype CONTROL, by start.
        whole_note, longest: steps of a whole note and of the longest rest token.

    Returns:
        shape (2,), int64, by kind of control: rests of the song with them, less those without.
    """
    notes, meters, tempos = song_events
    added = np.zeros(2, np.int64)
    before = np.zeros(2, np.int64)  # the last step of the song and of the controls of a kind
    now, n, m, t, c = 0, 0, 0, 0, 0
    last = max(notes[-1].start, meters[-1].start, tempos[-1].start) + 1
    if len(controls):
        last = max(last, controls[-1].start + 1)
    while True:
        step = notes[n].start if n < len(notes) else last
        step = min(step, meters[m].start) if m < len(meters) else step
        step = min(step, tempos[t].start) if t < len(tempos) else step
        while c < len(controls) and controls[c].start < step:
            kind = controls[c].kind
            added[kind] += _rests(controls[c].start - before[kind], whole_note, longest)
            before[kind] = controls[c].start
            c += 1
        if step == last:
            return added
        rests = _rests(step - now, whole_note, longest)
        for kind in range(2):
            added[kind] += _rests(step - before[kind], whole_note, longest) - rests
            before[kind] = step
        now = step
        while n < len(notes) and notes[n].start == step:
            n += 1
        while m < len(meters) and meters[m].start == step:
            m += 1
        while t < len(tempos) and tempos[t].start == step:
            t += 1


@njit(cache=True)
def _rests(steps, whole_note, longest):
    """The tokens of a rest; equals `Vocabulary.rest_counts`."""
    if steps < whole_note:
        return np.int64(steps > 0)
    left = steps % longest
    return steps // longest + (left >= whole_note) + (left % whole_note > 0)


@njit(cache=True)
def count_parts(played):
    """Count the distinct pairs of track and channel that play notes; dtype NOTE_DTYPE."""
    tracks = 0
    for i in range(len(played)):
        tracks = max(tracks, np.int64(played[i].track) + 1)
    plays = np.zeros(tracks << 4, np.bool_)
    for i in range(len(played)):
        plays[np.int64(played[i].track) << 4 | played[i].channel] = True
    return plays.sum()
