"""The counting behind `pipeline.features`, compiled.

Arguments are fields of one song's notes, by start; times in steps unless said otherwise.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from shards.vocabulary import PROGRAMS, VELOCITY_BINS


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
def tallies(instrument, pitch, velocity_bin, duration):
    """Count one song's notes, see `Tallies`."""
    pitches = np.zeros(128, np.int64)
    keys = np.zeros(128, np.int64)
    programs = np.zeros(PROGRAMS, np.int64)
    velocities = np.zeros((PROGRAMS + 1, VELOCITY_BINS), np.int64)
    durations = np.zeros(duration.max() + 1, np.int64)
    sounding = np.zeros(12, np.float64)
    for i in range(len(pitch)):
        program = min(instrument[i], PROGRAMS)
        velocities[program, velocity_bin[i]] += 1
        if program == PROGRAMS:
            keys[pitch[i]] += 1
            continue
        pitches[pitch[i]] += 1
        programs[program] += 1
        durations[duration[i]] += 1
        sounding[pitch[i] % 12] += duration[i]
    return Tallies(pitches, keys, programs, velocities, durations, sounding)


@njit(cache=True)
def most_at_once(start, end):
    """Notes that sound at once, at most; a note that ends where another starts does not count."""
    ends = np.sort(end)
    most, ended = 0, 0
    for i in range(len(start)):
        while ends[ended] <= start[i]:
            ended += 1
        most = max(most, i + 1 - ended)
    return most


@njit(cache=True)
def busiest_second(seconds):
    """Most notes that start within one second; `seconds` ascending."""
    most, first = 0, 0
    for i in range(len(seconds)):
        while seconds[first] <= seconds[i] - 1.0:
            first += 1
        most = max(most, i + 1 - first)
    return most


@njit(cache=True)
def neighbouring_bars_alike(bar, place, length):
    """Mean share of steps at which two neighbouring bars agree on whether notes start.

    Args:
        bar, place: the bar of each note, and its step in there.
        length: steps in that bar.

    Returns:
        0 to 1; NaN where no two neighbouring bars of one length both have notes.
    """
    before = np.zeros(1, np.bool_)
    bar_before, total, pairs = -2, 0.0, 0
    i = 0
    while i < len(bar):
        here = np.zeros(length[i], np.bool_)
        bar_here = bar[i]
        while i < len(bar) and bar[i] == bar_here:
            here[place[i]] = True
            i += 1
        if bar_here == bar_before + 1 and len(here) == len(before):
            total += np.count_nonzero(here == before) / len(here)
            pairs += 1
        before, bar_before = here, bar_here
    return total / pairs if pairs else np.nan
