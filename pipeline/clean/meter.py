"""Whether bars have three beats or four, by how onsets repeat; and 3/4 where a file states nothing.

Strength of onsets is counted in sixteenths: a note counts by its duration, bass notes and kick
drums LOW_WEIGHT times. What every beat has in common is taken off it, and it is correlated with
itself some beats later:

    triple = (r(3) + r(6) - r(4) - r(8)) / 2

is positive where the music repeats after three and six beats rather than four and eight. A slow
change of the strength gives all four lags about the same, and nothing to `triple`.

3/4 stands for all meters with bars of three quarter notes: 6/8 has the same bar lines. Other meters
are not inferred, nor where 4/4 starts its bars: without a meter, bars start with the file.

Source: Brown 1993, Determination of the meter of musical scores by autocorrelation.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.clean.beat import KICK_DRUMS, LOW_PITCH, LOW_WEIGHT
from pipeline.midi import METER_DTYPE, Recording

MIN_TRIPLE = 0.25
"""For 3/4 to be inferred. `python -m benchmarks correctness beat CORPUS` counts the stated meters
on either side of it."""
MIN_LEAD = 0.05
"""Of the weight on all beats, by which another beat than the first must lead for bars to start on
it. Of 87 songs in a stated 3/4, 5 would be moved by this."""
MIN_BEATS, MAX_BEATS = 48, 4096
"""From the first onset to the last. `triple` of n random beats has a standard deviation of
0.5 / sqrt(n), so fewer would reach MIN_TRIPLE by chance; more are not looked at."""
LAGS = np.array([3, 6, 4, 8])
SLOTS = 4
"""Per beat."""
LONGEST = 4.0
"""Beats; longer notes count as this."""
SHORTEST = 0.125
"""Beats, added to each duration: notes without any count, too."""


class Meter(NamedTuple):
    """What is known of a recording's meter.

    Attributes:
        stated: whether the file states any meter; that of a beat that was replaced by another
            tempo does not count.
        triple: see above, about -1 to 1; NaN: too few beats, or the same onsets in all of them.
    """

    stated: bool
    triple: float

    def fit(self, numerator: int, denominator: int) -> float | None:
        """Evidence for a meter against the other kind; None where it is of neither or undefined.

        `triple` for bars of three, six … quarter notes; its negative for one, two, four or eight.
        """
        quarters = 4 * numerator / denominator
        if math.isnan(self.triple) or (quarters % 3 and quarters not in (1, 2, 4, 8)):
            return None
        return -self.triple if quarters % 3 else self.triple


def infer_meter(recording: Recording, enabled: bool) -> tuple[Recording, Meter]:
    """Measure the meter; put a recording that states none into 3/4 where that is clear.

    Where the bars clearly start on the second or third beat of the file, a shorter bar precedes
    them, as a meter of its own.

    Args:
        recording: at least one note.
        enabled: False: only measure.
    """
    notes, stated = np.ascontiguousarray(recording.notes), len(recording.meters) > 0
    triple, weights = _measure(notes, recording.ticks_per_beat, LAGS)
    meter = Meter(stated, float(triple))
    if stated or not enabled or not triple >= MIN_TRIPLE:
        return recording, meter
    pickup = int(weights.argmax())
    if weights[pickup] - weights[0] < MIN_LEAD * weights.sum():
        pickup = 0
    rows = [(0, pickup, 4), (pickup * recording.ticks_per_beat, 3, 4)][pickup == 0 :]
    return dataclasses.replace(recording, meters=np.array(rows, METER_DTYPE)), meter


@njit(cache=True)
def _measure(notes, ticks_per_beat, lags):
    """`triple`, and the weight on the beats of the file by their number modulo 3."""
    scale = 1.0 / ticks_per_beat
    first = int(notes[0].start * scale)
    beats = min(int(notes[-1].start * scale + 0.125) - first + 1, MAX_BEATS)
    strength = np.zeros(beats * SLOTS, np.float64)
    for i in range(len(notes)):
        note = notes[i]
        slot = int((note.start * scale - first) * SLOTS + 0.5)
        if slot >= len(strength):
            break
        if note.is_drum:
            weight, low = 1.0, note.pitch == KICK_DRUMS[0] or note.pitch == KICK_DRUMS[1]
        else:
            weight = min((note.end - note.start) * scale, LONGEST) + SHORTEST
            low = note.pitch < LOW_PITCH
        strength[slot] += weight * LOW_WEIGHT if low else weight
    weights = np.zeros(3, np.float64)
    for beat in range(beats):
        weights[(first + beat) % 3] += strength[beat * SLOTS]
    if beats < MIN_BEATS:
        return np.nan, weights
    strength = np.sqrt(strength)
    for slot in range(SLOTS):
        strength[slot::SLOTS] -= strength[slot::SLOTS].mean()
    power = np.sum(strength**2) / beats
    if power < 1e-9:
        return np.nan, weights
    r = np.zeros(len(lags), np.float64)
    for k in range(len(lags)):
        lag = lags[k] * SLOTS
        r[k] = np.sum(strength[lag:] * strength[:-lag]) / (beats - lags[k]) / power
    return (r[0] + r[1] - r[2] - r[3]) / 2, weights
