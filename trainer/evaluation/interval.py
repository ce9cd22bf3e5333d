"""A 95 % confidence interval of a mean loss, when the songs are the sample.

The mean is a ratio: the sum of the losses over the sum of the counts. The targets of one song are
not independent and songs differ in length, so the songs are what varies: each is left out once (the
jackknife), on a logarithmic scale, because losses are positive and skewed. A few long songs tell as
little as few songs, so Student's t has the degrees of freedom of the effective number of songs.

A bootstrap's percentiles are too narrow for few songs. Share of draws of n out of 90 real songs
whose interval holds the mean of all 90, for the loss of a tiny model, in percent:

    n                            3     4     6     8    10    15    20    30    50
    this interval             95.7  95.9  94.5  94.5  93.7  95.1  93.3  94.6  96.4
    percentiles, bootstrap    73.5  79.1  83.3  85.0  85.6  90.1  89.9  92.2  95.0

It is too narrow where most of a loss comes from one song in a hundred that may not have been drawn:
for changes of tempo it holds the mean in 78 % of draws of 8 songs, in 91 % of 30.

Sources:
    Miller 1974, The jackknife: a review, Biometrika 61: ratios, and transforming them.
    Kish 1965, Survey Sampling: the effective number, (sum of weights)^2 / sum of squares.
    Abramowitz and Stegun 1964, 26.7.5: Student's quantile from the normal one.
"""

import math
from statistics import NormalDist

import numpy as np

MIN_SONGS = 8
"""With fewer songs there is no interval: at 4 it would often be longer than the mean is large."""


def ratio_interval(sums: np.ndarray, counts: np.ndarray) -> tuple[float, float] | None:
    """The 95 % confidence interval of `sums.sum() / counts.sum()`.

    Args:
        sums, counts: shape (songs,); of each song. Songs with a count of 0 do not take part.

    Returns:
        Its ends; None with fewer than MIN_SONGS songs, or if all of the loss is one song's.
    """
    sums, counts = sums[counts > 0].astype(np.float64), counts[counts > 0].astype(np.float64)
    songs = len(counts)
    if songs < MIN_SONGS:
        return None
    without = sums.sum() - sums, counts.sum() - counts
    if without[0].min() <= 0:
        return None
    mean = float(sums.sum() / counts.sum())
    squares = np.log(without[0] / without[1] / mean) ** 2
    error = math.sqrt((songs - 1) / songs * squares.sum())
    effective_songs = counts.sum() ** 2 / (counts**2).sum()
    factor = math.exp(student_quantile(max(effective_songs - 1, 1)) * error)
    return mean / factor, mean * factor


def student_quantile(degrees: float, probability: float = 0.975) -> float:
    """The quantile of Student's t distribution, to 1 % from 2 degrees of freedom on."""
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))
