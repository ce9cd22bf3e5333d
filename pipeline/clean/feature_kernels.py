"""The counting behind `pipeline.clean.features`, compiled; each kernel walks a song's notes once.

`notes` is a contiguous array of dtype NOTE, by start; times in steps unless said otherwise. The
slow forms that they equal are in tests/pipeline/clean/test_feature_kernels.py.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from shards.vocabulary import PROGRAMS, VELOCITY_BINS, VELOCITY_SHIFT


class Tallies(NamedTuple):
    """How often each thing occurs in a song; int64 but for `sounding`.

    Attributes:
        pitches, keys: shape (128,); notes by pitch, of programs and of drums.
        programs: shape (128,); notes by program.
        velocities: shape (129, 32); notes by program, drums last, and velocity bin.
        durations: shape (longest + 1,); notes of programs by duration.
        sounding: shape (12,), float64; steps that each pitch class sounds, drums not counted.
    """

    pitches: np.ndarray
    keys: np.ndarray
    programs: np.ndarray
    velocities: np.ndarray
    durations: np.ndarray
    sounding: np.ndarray


@njit(cache=True)
def tallies(notes):
    """Count one song's notes, see `Tallies`."""
    pitches = np.zeros(128, np.int64)
    keys = np.zeros(128, np.int64)
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
            keys[note.pitch] += 1
            continue
        pitches[note.pitch] += 1
        programs[program] += 1
        durations[note.duration] += 1
        sounding[note.pitch % 12] += note.duration
    return Tallies(pitches, keys, programs, velocities, durations, sounding)


@njit(cache=True)
def sounding_together(notes, longest):
    """How many notes of programs sound at once; one that ends where another starts does not count.

    Args:
        notes: at least one of them of a program.
        longest: duration of the longest.

    Returns:
        The most at once; steps in which any sounds; steps that all sound, added up.
    """
    ending = np.zeros(longest + 1, np.int64)  # a ring: notes that end at each step to come
    now, sounding, most, steps, added = 0, 0, 0, 0, 0
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
            most = max(most, sounding)
            added += notes[i].duration
    return most, steps, added


@njit(cache=True)
def busiest_second(notes, starts, seconds, scale):
    """Most notes that start within one second.

    Args:
        starts: the song's tempos' steps, ascending from 0.
        seconds: when each comes into force. scale: seconds a step from there.
    """
    most, first, early, late = 0, 0, 0, 0
    first_at, at = np.inf, 0.0
    for i in range(len(notes)):
        step = notes[i].start
        if i == 0 or step != notes[i - 1].start:
            while late + 1 < len(starts) and starts[late + 1] <= step:
                late += 1
            at = seconds[late] + (step - starts[late]) * scale[late]
            first_at = at if i == 0 else first_at
        while first_at <= at - 1.0:
            first += 1
            step = notes[first].start
            while early + 1 < len(starts) and starts[early + 1] <= step:
                early += 1
            first_at = seconds[early] + (step - starts[early]) * scale[early]
        most = max(most, i + 1 - first)
    return most


@njit(cache=True)
def rhythm(notes, bar_starts, bar_lengths, first_bars, steps_per_beat):
    """Where in their bars notes start.

    Args:
        bar_starts, bar_lengths, first_bars: of `shards.bars.Bars`.

    Returns:
        The last note's bar; different onsets; notes on a beat; and the mean share of steps at
        which two neighbouring bars agree on whether notes start: 0 to 1, NaN where no two
        neighbouring bars of one length both have notes.
    """
    here = np.zeros(bar_lengths.max(), np.bool_)
    before = np.zeros(bar_lengths.max(), np.bool_)
    bar, line, length = -1, 0, 0  # the bar that notes are in, and its first step
    bar_before, length_before = -3, 0
    segment, onsets, on_beat, pairs = 0, 0, 0, 0
    total, falls_on_beat = 0.0, False
    for i in range(len(notes)):
        start = notes[i].start
        if i and start == notes[i - 1].start:
            on_beat += falls_on_beat
            continue
        new_meter = False
        while segment + 1 < len(bar_starts) and bar_starts[segment + 1] <= start:
            segment += 1
            new_meter = True
        if new_meter or length == 0 or start >= line + length:
            if bar == bar_before + 1 and length == length_before:
                total += _alike(here, before, length)
                pairs += 1
            here, before = before, here
            here[:] = False
            bar_before, length_before = bar, length
            length = bar_lengths[segment]
            bar = (start - bar_starts[segment]) // length
            line = bar_starts[segment] + bar * length
            bar += first_bars[segment]
        here[start - line] = True
        falls_on_beat = (start - line) % steps_per_beat == 0
        on_beat += falls_on_beat
        onsets += 1
    if bar == bar_before + 1 and length == length_before:
        total += _alike(here, before, length)
        pairs += 1
    return bar, onsets, on_beat, total / pairs if pairs else np.nan


@njit(cache=True)
def _alike(here, before, length):
    """Share of the first `length` entries in which two arrays agree."""
    alike = 0
    for step in range(length):
        alike += here[step] == before[step]
    return alike / length


@njit(cache=True)
def unoccupied(steps, notes, meters, tempos):
    """Different steps, of these, at which neither a note starts nor meter or tempo changes.

    Args:
        steps, meters, tempos: int64, ascending.
    """
    found, n, m, t = 0, 0, 0, 0
    for i in range(len(steps)):
        step = steps[i]
        if i and step == steps[i - 1]:
            continue
        while n < len(notes) and notes[n].start < step:
            n += 1
        while m < len(meters) and meters[m] < step:
            m += 1
        while t < len(tempos) and tempos[t] < step:
            t += 1
        occupied = n < len(notes) and notes[n].start == step
        occupied |= m < len(meters) and meters[m] == step
        occupied |= t < len(tempos) and tempos[t] == step
        found += not occupied
    return found
