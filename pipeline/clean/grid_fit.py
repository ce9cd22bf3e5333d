"""How far onsets lie from the grid, and whether they follow the beat at all.

Conventions
    phase           an onset's position within its beat, in ticks: 0 to ticks_per_beat - 1
    beat alignment  how strongly phases gather: the largest of |mean exp(2 pi i k phase)| over the
                    divisions k of the beat, with phase in beats. 1 for a sequencer; about
                    1 / sqrt(n) for n random onsets. Where in the beat they gather makes no
                    difference, so a song that is shifted off the grid as a whole stays aligned.

Source: Fisher 1993, Statistical Analysis of Circular Data (mean resultant length).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit

DIVISIONS = np.array([1, 2, 3, 4, 6, 8, 12])
MIN_ALIGNMENT = 0.2
"""Songs with less are unaligned; measured in benchmarks/correctness/bounds-results.md."""
MIN_ONSETS = 100
"""Few onsets gather by chance, so no song with fewer onsets is called unaligned."""


@dataclass(frozen=True)
class GridFit:
    """How one recording's onsets lie on the grid and within the beat.

    Attributes:
        errors: shape (notes,), float64; milliseconds from each onset to its step.
        beat_alignment: 0 to 1, see above.
        onsets: number of distinct ticks at which notes start.
    """

    errors: np.ndarray
    beat_alignment: float
    onsets: int

    @property
    def unaligned(self) -> bool:
        """Whether ticks are unrelated to beats: played freely, or to another tempo."""
        return self.onsets >= MIN_ONSETS and self.beat_alignment < MIN_ALIGNMENT

    @property
    def error_ms(self) -> float:
        """The median error: half of the notes are no further from their steps."""
        return self._quantiles[0]

    @property
    def error_ms_95(self) -> float:
        """The error in milliseconds that 95 % of the notes stay within."""
        return self._quantiles[1]

    @cached_property
    def _quantiles(self) -> tuple[float, ...]:
        ranks = [int(share * (len(self.errors) - 1)) for share in (0.5, 0.95)]
        partitioned = np.partition(self.errors, ranks)
        return tuple(float(partitioned[rank]) for rank in ranks)


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
    errors, alignment, onsets = _fit(
        ticks,
        np.concatenate([[-1], tempos["tick"]]),
        np.concatenate([[500_000], tempos["microseconds"]]),
        ticks_per_beat,
        steps_per_beat,
        DIVISIONS,
    )
    return GridFit(errors, float(alignment), int(onsets))


@njit(cache=True)
def _fit(ticks, tempo_tick, tempo, beat, steps, divisions):
    errors = np.empty(len(ticks), np.float64)
    by_phase = np.zeros(beat, np.int64)  # onsets
    t, onsets, error = 0, 0, 0.0
    for i in range(len(ticks)):
        while t + 1 < len(tempo) and tempo_tick[t + 1] <= ticks[i]:
            t += 1
        if i == 0 or ticks[i] != ticks[i - 1]:
            phase = ticks[i] % beat
            past_step = phase * steps % beat  # in ticks times `steps`: a whole number
            milliseconds = tempo[t] / (1e3 * beat)  # per tick
            error = min(past_step, beat - past_step) * milliseconds / steps
            by_phase[phase] += 1
            onsets += 1
        errors[i] = error
    real = np.zeros(len(divisions), np.float64)
    imaginary = np.zeros(len(divisions), np.float64)
    for phase in range(beat):
        if not by_phase[phase]:
            continue
        for k in range(len(divisions)):
            angle = 2 * np.pi * divisions[k] * phase / beat
            real[k] += by_phase[phase] * np.cos(angle)
            imaginary[k] += by_phase[phase] * np.sin(angle)
    return errors, np.sqrt(np.max(real**2 + imaginary**2)) / max(onsets, 1), onsets
