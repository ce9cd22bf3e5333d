"""How well a recording's onsets fit a grid, and whether they were played to its beat at all.

Conventions
    phase   an onset's place within its beat, in ticks: 0 to ticks_per_beat - 1
    click   how strongly phases gather: the largest of |mean exp(2 pi i k phase)| over the
            divisions k of the beat; 1 is a machine, and n onsets strewn at random have about
            1 / sqrt(n). It does not matter where in the beat they gather, so a song that was
            moved off the grid as a whole still has its click.

Source: Fisher 1993, Statistical Analysis of Circular Data (mean resultant length).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit

GRIDS = (4, 6, 8, 12, 16, 24, 32, 48, 96)
"""Steps a beat for which the error is measured: the grids that one may choose from."""
DIVISIONS = np.array([1, 2, 3, 4, 6, 8, 12])
LEAST_CLICK = 0.2
FEWEST_ONSETS = 100
"""Fewer onsets gather by chance: no song with fewer is called unaligned."""


@dataclass(frozen=True)
class GridFit:
    """One recording against the grids.

    Attributes:
        errors: shape (notes,), float64; milliseconds from each onset to its step.
        by_grid: shape (len(GRIDS),), float64; mean milliseconds to the nearest step.
        click: see above.
        onsets: different ticks at which notes start.
    """

    errors: np.ndarray
    by_grid: np.ndarray
    click: float
    onsets: int

    @property
    def unaligned(self) -> bool:
        """Whether ticks have nothing to do with beats: played freely, or to another tempo."""
        return self.onsets >= FEWEST_ONSETS and self.click < LEAST_CLICK

    def quantiles(self, *shares: float) -> list[float]:
        """Errors that these shares of the notes stay within, milliseconds."""
        places = [int(share * (len(self.errors) - 1)) for share in shares]
        parted = np.partition(self.errors, places)
        return [float(parted[place]) for place in places]


def grid_fit(
    ticks: np.ndarray, tempos: np.ndarray, ticks_per_beat: int, steps_per_beat: int
) -> GridFit:
    """Hold onsets against the grids.

    Args:
        ticks: shape (notes,), int64, ascending; at least one.
        tempos: `midi.TEMPO_DTYPE`, by tick.
        ticks_per_beat: of the file.
        steps_per_beat: of the dataset, for `errors`.
    """
    errors, by_grid, click, onsets = _fit(
        ticks,
        np.concatenate([[-1], tempos["tick"]]),
        np.concatenate([[500_000], tempos["microseconds"]]),
        ticks_per_beat,
        steps_per_beat,
        np.array(GRIDS),
        DIVISIONS,
    )
    return GridFit(errors, by_grid, float(click), int(onsets))


@njit(cache=True)
def _distance(phase, beat, steps):
    """Ticks times `steps` from a phase to the nearest of the beat's steps."""
    off = phase * steps % beat
    return min(off, beat - off)


@njit(cache=True)
def _fit(ticks, tempo_tick, tempo, beat, steps, grids, divisions):
    errors = np.empty(len(ticks), np.float64)
    weight = np.zeros(beat, np.float64)  # by phase: milliseconds a tick, summed over notes
    struck = np.zeros(beat, np.int64)  # by phase: onsets
    t, onsets, phase, error = 0, 0, np.int64(0), 0.0
    for i in range(len(ticks)):
        while t + 1 < len(tempo) and tempo_tick[t + 1] <= ticks[i]:
            t += 1
        milliseconds = tempo[t] / (1e3 * beat)
        if i == 0 or ticks[i] != ticks[i - 1]:
            phase = ticks[i] % beat
            error = _distance(phase, beat, steps) * milliseconds / steps
            struck[phase] += 1
            onsets += 1
        errors[i] = error
        weight[phase] += milliseconds
    by_grid = np.zeros(len(grids), np.float64)
    real = np.zeros(len(divisions), np.float64)
    imaginary = np.zeros(len(divisions), np.float64)
    for phase in range(beat):
        if not struck[phase]:
            continue
        for g in range(len(grids)):
            by_grid[g] += weight[phase] * _distance(phase, beat, grids[g]) / grids[g]
        for k in range(len(divisions)):
            angle = 2 * np.pi * divisions[k] * phase / beat
            real[k] += struck[phase] * np.cos(angle)
            imaginary[k] += struck[phase] * np.sin(angle)
    click = np.sqrt(np.max(real**2 + imaginary**2)) / max(onsets, 1)
    return errors, by_grid / max(len(ticks), 1), click, onsets
