"""Compare samples with held-out songs in one metric, and held-out songs with each other.

A distance means little without a reference. The held-out songs are therefore split at random 200
times into n songs and the rest. Each time, n samples and the n songs are both compared with the
rest, so both distances come from sets of the same sizes and carry the same bias.

Few held-out songs are no reference. Samples of the same distribution as the held-out songs exceed
it in this share of 200 trials, in percent (8 samples, gamma distribution of shape 2):

    held-out songs   2     4     6     8    12    16    24    40    90
    exceed        48.5  30.0  14.5   7.5   4.5   6.5   4.0   3.5   3.5

Sources:
    Yang and Lerch 2020, On the Evaluation of Generative Models in Music, section 4.2: overlap of
        distributions, and distances within the data as the reference.
        https://doi.org/10.1007/s00521-018-3849-7
    Ramdas, Garcia and Cuturi 2017, on Wasserstein distances between samples.
        https://arxiv.org/abs/1509.02237
"""

from typing import TypedDict

import numpy as np

DRAWS, BINS = 200, 10
LOW, HIGH = 2.5, 97.5
MIN_HELD_OUT = 16
"""With fewer held-out songs there is no reference."""


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """The area between two empirical distribution functions, in the unit of the values.

    It is the mean distance by which values must move to turn one distribution into the other.

    Args:
        first, second: shape (values,), any two sizes, at least one value each.
    """
    values = np.sort(np.concatenate([first, second]))
    below = [
        np.searchsorted(np.sort(side), values[:-1], side="right") / len(side)
        for side in (first, second)
    ]
    return float((np.abs(below[0] - below[1]) * np.diff(values)).sum())


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """The shared area of two histograms: 1 if they are equal, 0 if they are disjoint.

    Bins of equal width span the values of both. Yang and Lerch use kernel density estimates
    instead, which need a choice of bandwidth.
    """
    values = np.concatenate([first, second])
    if values.min() == values.max():
        return 1.0
    limits = float(values.min()), float(values.max())
    shares = [np.histogram(side, BINS, limits)[0] / len(side) for side in (first, second)]
    return float(np.minimum(*shares).sum())


class Spread(TypedDict):
    """Mean over random draws, and the range that holds 95 % of them."""

    mean: float
    low: float
    high: float


class Comparison(TypedDict):
    """Samples compared with held-out songs in one metric, and held-out songs with each other.

    Distances are in standard deviations of the held-out songs; in the metric's unit if that is 0.
    """

    distance: Spread
    overlap: Spread
    reference_distance: Spread | None  # between held-out songs; None: fewer than MIN_HELD_OUT
    reference_overlap: Spread | None
    exceeds_reference: bool  # the mean distance is above the reference's 97.5th percentile


def compare(samples: np.ndarray, held_out: np.ndarray) -> Comparison | None:
    """Compare samples with held-out songs in one metric.

    Args:
        samples, held_out: shape (songs,), float; NaN where the metric is not defined.

    Returns:
        None with fewer than one defined sample or two defined held-out songs.
    """
    samples, held_out = samples[~np.isnan(samples)], held_out[~np.isnan(held_out)]
    n = min(len(samples), len(held_out) // 2)
    if n == 0:
        return None
    deviation = held_out.std() or 1.0
    random = np.random.default_rng(0)
    rows = []
    for _ in range(DRAWS):
        shuffled = random.permutation(held_out)
        songs, rest = shuffled[:n], shuffled[n:]
        drawn = random.permutation(samples)[:n]
        pairs = (drawn, rest), (songs, rest)
        rows.append([compute(*pair) for compute in (wasserstein, overlap) for pair in pairs])
    distances, reference_distances, overlaps, reference_overlaps = np.array(rows).T
    distance, reference = _spread(distances / deviation), _spread(reference_distances / deviation)
    enough = len(held_out) >= MIN_HELD_OUT
    return {
        "distance": distance,
        "overlap": _spread(overlaps),
        "reference_distance": reference if enough else None,
        "reference_overlap": _spread(reference_overlaps) if enough else None,
        "exceeds_reference": enough and distance["mean"] > reference["high"],
    }


def _spread(draws: np.ndarray) -> Spread:
    low, high = np.percentile(draws, [LOW, HIGH]).tolist()
    return {"mean": float(draws.mean()), "low": low, "high": high}
