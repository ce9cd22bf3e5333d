"""Find the beats of music that is played freely: no constant tempo explains its onsets.

    onsets -> strength every FRAME seconds -> period of the beat, every HOP seconds -> beats
           -> beats moved onto the onsets next to them

The periods are those at which the strength within WINDOW seconds correlates with itself, with a
preference for PREFERRED_BPM, on the path that changes least (Viterbi). The beats are those with the
most strength on them whose distances are nearest to the periods (dynamic programming):

    score(t) = strength(t) + max over s of score(s) - TIGHTNESS log(((t - s) / period(t)))^2

Unlike in its source, the period changes with time, and beats end up on onsets, not on frames, for
those of a MIDI file are exact.

Source: Ellis 2007, Beat Tracking by Dynamic Programming.
"""

import numpy as np
from numba import njit

from pipeline.clean.onset_period import NEAR_BEAT, into_bar

FRAME = 0.02
"""Seconds. Players are together within about 20 ms; finer frames cost time and find no more."""
BLUR = 1.5
"""Frames; standard deviation of an onset's strength in time."""
SLOWEST_BPM, FASTEST_BPM, PREFERRED_BPM = 60.0, 210.0, 110.0
"""The middle of 80 to 160; by ratio, one standard deviation to either side is PREFERRED_OCTAVES."""
PREFERRED_OCTAVES = 1.0
PERIODS = 64
"""Tried, 2.0 % apart."""
WINDOW, HOP = 4.0, 1.0
"""Seconds. Pairs of onsets in the middle of a window count most. Windows twice as long lose twice
as many invented performances whose tempo changes by a fifth."""
CHANGE_COST = 0.02
"""Of a step to the next period within one hop, as a share of a perfect correlation."""
MAX_CHANGE = 6
"""Periods; the fastest change within a hop, 12.7 %."""
MAX_RATIO = 1.6
"""Of the time between two beats to the period, or of the period to it."""
TIGHTNESS = 40.0
"""Strengths are of mean square 1; a beat that is 10 % early costs 0.4, which a weak onset gains."""
NEAR = 0.05
"""Seconds; an onset this near a beat may be that beat."""
TOGETHER = 0.015
"""Seconds; standard deviation of notes that are meant to be at once."""
DIVISIONS = np.array([2, 3, 4, 6])
MIN_BETWEEN = 50
MIN_GATHERED = 0.4
"""How strongly onsets between the beats must gather at halves, thirds, quarters or sixths of them:
the mean of cos(2 pi division position). Onsets on the beats say nothing, for beats follow them.
Onsets at random reach 0.3."""


def tracked_beats(onsets: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Find beats that the onsets follow; None where they follow none.

    Args:
        onsets: shape (onsets,), seconds, ascending; distinct.
        weights: shape (onsets,), positive; how much each marks a beat.

    Returns:
        Shape (beats,), seconds, from the start of the first onset's bar of 4/4 to the last beat
        with an onset; they may begin before second 0.
    """
    beats = track_beats(onsets, weights)
    if len(beats) < 2:
        return None
    positions = np.interp(onsets, beats, np.arange(len(beats)))
    between = positions[np.abs(positions - np.rint(positions)) > NEAR_BEAT]
    if len(between) < MIN_BETWEEN:
        return None
    gathered = np.cos(2 * np.pi * DIVISIONS[:, None] * between).mean(axis=1)
    if gathered.max() < MIN_GATHERED:
        return None
    first_length = beats[1] - beats[0]
    positions[0] += min((onsets[0] - beats[0]) / first_length, 0.0)  # not by `np.interp`
    before = round(into_bar(positions, weights) - positions[0])
    return np.concatenate([beats[0] + np.arange(-before, 0) * first_length, beats])


def track_beats(onsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Find where the beats are most likely to be, whether the onsets follow them or not.

    Time and memory grow with the onsets, and with the seconds from the first to the last: about
    10 microseconds and 8 kB for each second.

    Args:
        onsets, weights: as in `tracked_beats`.

    Returns:
        Shape (beats,), seconds, ascending; the first and the last have onsets near them.
    """
    times = onsets - onsets[0]
    frames, onset_frame = np.unique(np.rint(times / FRAME).astype(np.int64), return_inverse=True)
    strength = np.sqrt(np.bincount(onset_frame, weights))
    hop, hops = round(HOP / FRAME), int(frames[-1]) // round(HOP / FRAME) + 1
    periods = 60 / FRAME / np.geomspace(FASTEST_BPM, SLOWEST_BPM, PERIODS)
    octaves = np.log2(60 / FRAME / periods / PREFERRED_BPM)
    near = np.arange(-round(3 * BLUR), round(3 * BLUR) + 1)
    pairs_kernel = np.exp(-0.25 * (near / BLUR) ** 2)  # two onsets, each of them blurred
    reach = round(WINDOW / HOP / 2)
    likely = _correlations(frames, strength, hops, hop, reach, pairs_kernel, periods)
    likely *= np.exp(-0.5 * (octaves / PREFERRED_OCTAVES) ** 2)
    path = _steadiest(likely, CHANGE_COST, MAX_CHANGE)
    blurred = _blurred(frames, strength, np.exp(-0.5 * (near / BLUR) ** 2))
    beats = _best_beats(blurred, path, periods, hop, TIGHTNESS)
    return onsets[0] + _onto_onsets(beats * FRAME, times, weights)


def _blurred(frames: np.ndarray, strength: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Strength by frame; of mean square 1 over frames with onsets."""
    impulses = np.zeros(int(frames[-1]) + 1)
    impulses[frames] = strength
    blurred = np.convolve(impulses, kernel, "same") if len(impulses) > len(kernel) else impulses
    return blurred / np.sqrt(np.mean(blurred[frames] ** 2))


@njit(cache=True)
def _correlations(frames, weights, hops, hop, reach, kernel, periods):
    """Correlation of the strength with itself, by hop and period; shape (hops, periods).

    Only pairs of frames with onsets are looked at. `reach` is the number of hops to either side
    that a window holds, their pairs weighted by distance; `kernel` blurs the distances of pairs.
    """
    lags = int(2 * periods[-1]) + len(kernel)
    pairs = np.zeros((hops, lags), np.float64)
    power = np.zeros(hops, np.float64)
    for i in range(len(frames)):
        h = frames[i] // hop
        power[h] += weights[i] * weights[i]
        for j in range(i + 1, len(frames)):
            lag = frames[j] - frames[i]
            if lag >= lags:
                break
            pairs[h, lag] += weights[i] * weights[j]
    found = np.zeros((hops, len(periods)), np.float64)
    window = np.empty(lags, np.float64)
    firsts = np.empty((2, len(periods)), np.int64)  # lags blurred for one period, and for two
    for multiple in range(2):
        firsts[multiple] = np.rint((multiple + 1) * periods) - len(kernel) // 2
    for h in range(hops):
        window[:] = 0.0
        total = 1e-300
        for k in range(max(h - reach, 0), min(h + reach + 1, hops)):
            share = 1.0 - abs(k - h) / (reach + 1)
            total += share * power[k]
            for lag in range(lags):
                window[lag] += share * pairs[k, lag]
        found[h] = -window.mean() * kernel.sum()
        for lag in firsts:
            for k in range(len(kernel)):
                for p in range(len(periods)):
                    found[h, p] += kernel[k] * window[lag[p] + k] / 2
        found[h] /= total
    return found


@njit(cache=True)
def _steadiest(likely, cost, reach):
    """The path through the windows with the largest sum of `likely` less `cost` per step."""
    windows, periods = likely.shape
    score = likely[0].copy()
    before = np.zeros((windows, periods), np.int64)
    for w in range(1, windows):
        now = np.empty(periods, np.float64)
        for p in range(periods):
            best, at = -np.inf, p
            for q in range(max(p - reach, 0), min(p + reach + 1, periods)):
                value = score[q] - cost * abs(p - q)
                if value > best:
                    best, at = value, q
            now[p] = best + likely[w, p]
            before[w, p] = at
        score = now
    path = np.empty(windows, np.int64)
    path[-1] = score.argmax()
    for w in range(windows - 1, 0, -1):
        path[w - 1] = before[w, path[w]]
    return path


@njit(cache=True)
def _best_beats(strength, path, periods, hop, tightness):
    """Frames of the beats with the best score, see above; ascending, int64."""
    nearest = (periods / MAX_RATIO).astype(np.int64)
    furthest = (periods * MAX_RATIO).astype(np.int64) + 1
    costs = np.zeros((len(periods), furthest[-1] + 1), np.float64)  # the furthest beat first
    for p in range(len(periods)):
        for distance in range(nearest[p], furthest[p] + 1):
            costs[p, furthest[p] - distance] = tightness * np.log(distance / periods[p]) ** 2
    score = strength.copy()
    for t in range(len(strength)):
        p = path[t // hop]
        skipped = max(furthest[p] - t, 0)  # they are before the first frame
        best = _best_before(
            score[t - furthest[p] + skipped : max(t - nearest[p] + 1, 0)], costs[p, skipped:]
        )
        score[t] += best if t >= nearest[p] else max(best, 0.0)
    last = max(len(strength) - nearest[path[-1]], 0)
    t = last + score[last:].argmax()
    beats = [t]
    while t >= nearest[path[t // hop]]:
        p = path[t // hop]
        begin = max(t - furthest[p], 0)
        before = score[begin : t - nearest[p] + 1]
        skipped = begin - t + furthest[p]
        t = begin + (before - costs[p, skipped : skipped + len(before)]).argmax()
        beats.append(t)
    return np.array(beats[::-1])


@njit(cache=True, fastmath={"nnan", "nsz"})  # a maximum is the same in any order
def _best_before(scores, costs):
    """The maximum of `scores` less `costs`; -inf of nothing."""
    best = -np.inf
    for i in range(len(scores)):
        value = scores[i] - costs[i]
        best = value if value > best else best
    return best


def _onto_onsets(beats: np.ndarray, onsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Move beats to where the onsets next to them gather; those without onsets lie between.

    Beats before the first with onsets, or after the last, are dropped.
    """
    low, high = np.searchsorted(onsets, [beats - NEAR, beats + NEAR])
    exact = beats
    for _ in range(4):
        exact = _means(exact, onsets, weights, low, high)
    numbered = np.flatnonzero(high > low)
    numbers = np.arange(numbered[0], numbered[-1] + 1) if len(numbered) else numbered
    return np.interp(numbers, numbered, exact[numbered]) if len(numbered) else exact[:0]


@njit(cache=True)
def _means(beats, onsets, weights, low, high):
    """Weighted means of onsets low[i] to high[i]; the nearer to beat i, the more they count."""
    means = np.empty(len(beats), np.float64)
    for i in range(len(beats)):
        total = moment = 1e-300
        for k in range(low[i], high[i]):
            weight = weights[k] * np.exp(-0.5 * ((onsets[k] - beats[i]) / TOGETHER) ** 2)
            total += weight
            moment += weight * (onsets[k] - beats[i])
        means[i] = beats[i] + moment / total
    return means
