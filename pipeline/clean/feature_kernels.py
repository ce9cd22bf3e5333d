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
        durations: shape (longest + 1,); notes of programs by duration.
        sounding: shape (12,), float64; steps that each pitch class sounds, drums not counted.
    """

    pitches: np.ndarray
    drum_keys: np.ndarray
    programs: np.ndarray
    velocities: int
    most_common_velocities: int
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
    return Histograms(pitches, drum_keys, programs, used.sum(), most_common, durations, sounding)


@njit(cache=True)
def polyphony(notes, longest):
    """Count how many notes of programs sound at once; a note that ends at a step is silent there.

    Args:
        notes: at least one of them of a program.
        longest: the longest duration.

    Returns:
        The most notes at once; steps at which any sounds; the notes' durations, summed.
    """
    ending = np.zeros(longest + 1, np.int64)  # ring buffer: notes that end, by coming step
    now, sounding, maximum, steps, total = 0, 0, 0, 0, 0
    for i in range(len(notes) + 1):
        if i < len(notes) and notes[i].instrument >= PROGRAMS:
            continue
        while sounding and (i == len(notes) or now < notes[i].start):
            steps += 1
            now += 1
            sounding -= ending[now % len(ending)]
            ending[now % len(ending)] = 0
        if i < len(notes):
            now = notes[i].start
            ending[(now + notes[i].duration) % len(ending)] += 1
            sounding += 1
            maximum = max(maximum, sounding)
            total += notes[i].duration
    return maximum, steps, total


@njit(cache=True)
def busiest_second(notes, starts, seconds, scale):
    """Count the most notes that start within any one second.

    Args:
        starts: the steps of the song's tempos, ascending from 0.
        seconds: the time at which each comes into force.
        scale: seconds per step from there.
    """
    maximum, first, first_tempo, tempo = 0, 0, 0, 0
    first_time, time = np.inf, 0.0
    for i in range(len(notes)):
        step = notes[i].start
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
    return maximum


@njit(cache=True)
def rhythm(notes, bar_starts, bar_lengths, first_bars, steps_per_beat):
    """Measure where in their bars notes start.

    Args:
        bar_starts, bar_lengths, first_bars: of `shards.bars.Bars`.

    Returns:
        The last note's bar; distinct onsets; notes on a beat; and the bar similarity, see
        `pipeline.clean.features`.
    """
    here = np.zeros(bar_lengths.max(), np.bool_)
    before = np.zeros(bar_lengths.max(), np.bool_)
    bar, line, length = -1, 0, 0  # the bar that notes are in, its first step, its steps
    bar_before, length_before = -3, 0
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
                total += _agreement(here, before, length)
                pairs += 1
            here, before = before, here
            here[:] = False
            bar_before, length_before = bar, length
            length = bar_lengths[segment]
            bar = (start - bar_starts[segment]) // length
            line = bar_starts[segment] + bar * length
            bar += first_bars[segment]
        here[start - line] = True
        is_on_beat = (start - line) % steps_per_beat == 0
        on_beat += is_on_beat
        onsets += 1
    if bar == bar_before + 1 and length == length_before:
        total += _agreement(here, before, length)
        pairs += 1
    return bar, onsets, on_beat, total / pairs if pairs else np.nan


@njit(cache=True)
def _agreement(here, before, length):
    """Share of the first `length` entries in which two arrays are equal."""
    equal = 0
    for step in range(length):
        equal += here[step] == before[step]
    return equal / length


@njit(cache=True)
def count_rests(steps, whole_note, longest):
    """Count the rest tokens between a song's ascending steps; equals `Vocabulary.rest_counts`."""
    count, now = 0, 0
    for step in steps:
        if step != now:
            left = (step - now) % longest
            count += (step - now) // longest + (left >= whole_note) + (left % whole_note > 0)
            now = step
    return count
