"""How far onsets lie from the grid, and whether they follow the beat at all.

Conventions
    phase           an onset's position within its beat, in ticks: 0 to ticks_per_beat - 1
    beat alignment  how strongly phases gather: the largest of |mean exp(2 pi i k phase)| over the
                    divisions k of the beat, with phase in beats. 1 for a sequencer; about
                    1 / sqrt(n) for n random onsets. Where in the beat they gather makes no
                    difference, so a song that is shifted off the grid as a whole stays aligned.

Source: Fisher 1993, Statistical Analysis of Circular Data (mean resultant length).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

DIVISIONS = np.array([1, 2, 3, 4, 6, 8, 12])
MIN_ALIGNMENT = 0.2
"""Songs with less are unaligned; measured in benchmarks/correctness/bounds-results.md."""
MIN_ONSETS = 100
"""Few onsets gather by chance, so no song with fewer onsets is called unaligned."""


class GridFit(NamedTuple):
    """How one recording's onsets lie on the grid and within the beat.

    Attributes:
        error_ms: milliseconds from an onset to its step, the median: half of the notes are no
            further from their steps.
        error_ms_95: likewise of 95 % of the notes.
        onsets: number of distinct ticks at which notes start.
        beat_alignment: 0 to 1, see above.
        lengths: shape (divisions,), float64: how strongly phases gather in each of DIVISIONS.
    """

    error_ms: float
    error_ms_95: float
    onsets: int
    beat_alignment: float
    lengths: np.ndarray

    @property
    def unaligned(self) -> bool:
        """Whether ticks are unrelated to beats: played freely, or to another tempo."""
        return self.onsets >= MIN_ONSETS and self.beat_alignment < MIN_ALIGNMENT


def grid_fit(
    ticks: np.ndarray, tempos: np.ndarray, ticks_per_beat: int, steps_per_beat: int
) -> GridFit:
    """Measure how onsets lie on a grid.

    Args:
        ticks: shape (notes,), int64, ascending; at least one.
        tempos: `midi.TEMPO_DTYPE`, by tick.
        ticks_per_beat: of the file.
        steps_per_beat: of the grid.
    """
    errors, lengths = np.empty(len(ticks)), np.empty(len(DIVISIONS))
    low, high = (int(share * (len(ticks) - 1)) for share in (0.5, 0.95))
    onsets, alignment, median, most = _fit(
        ticks, tempos, ticks_per_beat, steps_per_beat, (low, high), errors, DIVISIONS, lengths
    )
    if most < 0:
        partitioned = np.partition(errors, (low, high))
        median, most = float(partitioned[low]), float(partitioned[high])
    return GridFit(median, most, onsets, alignment, lengths)


@njit(cache=True)
def _fit(ticks, tempos, beat, steps, ranks, errors, divisions, lengths):
    """Write the `errors` of the notes, in milliseconds, and `GridFit.lengths`.

    Returns:
        The distinct ticks; the beat alignment; and the errors of these ranks, which are found
        without sorting where all onsets have one tempo, and are -1.0 elsewhere.
    """
    by_phase = np.zeros(beat, np.int64)  # onsets
    by_distance = np.zeros(beat // 2 + 1, np.int64)  # notes; in ticks times `steps`, from a step
    t, first_tempo, onsets, distance, error, milliseconds = -1, -1, 0, 0, 0.0, 0.0
    for i in range(len(ticks)):
        if i == 0 or ticks[i] != ticks[i - 1]:
            while t + 1 < len(tempos) and tempos[t + 1].tick <= ticks[i]:
                t += 1
            first_tempo = t if i == 0 else first_tempo
            phase = ticks[i] % beat
            past_step = phase * steps % beat
            distance = min(past_step, beat - past_step)
            milliseconds = (tempos[t].microseconds if t >= 0 else 500_000) / (1e3 * beat)
            error = distance * milliseconds / steps
            by_phase[phase] += 1
            onsets += 1
        by_distance[distance] += 1
        errors[i] = error
    _gather(by_phase, onsets, divisions, lengths)
    low = high = -1.0
    if t == first_tempo:
        low = _ranked(by_distance, ranks[0]) * milliseconds / steps
        high = _ranked(by_distance, ranks[1]) * milliseconds / steps
    return onsets, lengths.max(), low, high


@njit(cache=True)
def _ranked(counts, rank):
    """The number at a rank, from 0, among numbers of which there are so many each."""
    number = 0
    while rank >= counts[number]:
        rank -= counts[number]
        number += 1
    return number


@njit(cache=True)
def _gather(by_phase, onsets, divisions, lengths):
    """Write how strongly the phases gather in each division."""
    real = np.zeros(len(divisions), np.float64)
    imaginary = np.zeros(len(divisions), np.float64)
    for phase in range(len(by_phase)):
        if not by_phase[phase]:
            continue
        for k in range(len(divisions)):
            angle = 2 * np.pi * divisions[k] * phase / len(by_phase)
            real[k] += by_phase[phase] * np.cos(angle)
            imaginary[k] += by_phase[phase] * np.sin(angle)
    for k in range(len(divisions)):
        lengths[k] = np.sqrt(real[k] ** 2 + imaginary[k] ** 2) / max(onsets, 1)
