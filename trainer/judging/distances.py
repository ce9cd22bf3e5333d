"""How far samples lie from held-out songs in one measure, beside how far held-out songs lie from
each other: a distance means little without the second.

Held-out songs are parted at random many times, n of them to one side, the others to the other.
Each time n samples and the n songs are both held against the others, hence both distances are of
the same sizes and carry the same bias.

Sources:
    Yang and Lerch 2020, On the Evaluation of Generative Models in Music, section 4.2: overlap of
        distributions, and distances within the data as the reference.
        https://doi.org/10.1007/s00521-018-3849-7
    Ramdas, Garcia and Cuturi 2017, on Wasserstein distances between samples.
        https://arxiv.org/abs/1509.02237
"""

from dataclasses import dataclass

import numpy as np

DRAWS, BINS = 200, 10
LOW, HIGH = 2.5, 97.5


def wasserstein(first: np.ndarray, second: np.ndarray) -> float:
    """The area between two empirical distribution functions, in the unit of the values.

    It is how far values have to be moved, on average, to turn one distribution into the other.

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
    """What two histograms have in common: 1 where they are the same, 0 where they do not meet.

    Bins of equal width span the values of both. Yang and Lerch take kernel densities instead,
    whose width is one more choice to make.
    """
    values = np.concatenate([first, second])
    if values.min() == values.max():
        return 1.0
    limits = float(values.min()), float(values.max())
    shares = [np.histogram(side, BINS, limits)[0] / len(side) for side in (first, second)]
    return float(np.minimum(*shares).sum())


@dataclass(frozen=True)
class Range:
    """A mean over draws, and between what 95 % of the draws lie."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Range":
        """Of shape (draws,)."""
        return cls(float(values.mean()), *np.percentile(values, [LOW, HIGH]).tolist())


@dataclass(frozen=True)
class Comparison:
    """Samples beside held-out songs in one measure.

    Attributes:
        distance, overlap: of samples from held-out songs. The distance is in standard deviations
            of the held-out songs, or as it is where those are all the same.
        usual_distance, usual_overlap: of held-out songs from each other.
    """

    distance: Range
    overlap: Range
    usual_distance: Range
    usual_overlap: Range

    @property
    def stands_out(self) -> bool:
        """Whether samples lie farther off than held-out songs do in 97.5 % of the draws."""
        return self.distance.mean > self.usual_distance.high


def compare(samples: np.ndarray, held_out: np.ndarray) -> Comparison | None:
    """Compare in one measure.

    Args:
        samples, held_out: shape (songs,), float; NaN where a song has no value.

    Returns:
        None where there are too few values to compare: one sample and two songs are needed.
    """
    samples, held_out = samples[~np.isnan(samples)], held_out[~np.isnan(held_out)]
    n = min(len(samples), len(held_out) // 2)
    if n == 0:
        return None
    unit = held_out.std() or 1.0
    random = np.random.default_rng(0)
    rows = []
    for _ in range(DRAWS):
        parted = random.permutation(held_out)
        songs, others = parted[:n], parted[n:]
        drawn = random.permutation(samples)[:n]
        pairs = (drawn, others), (songs, others)
        rows.append([measure(*pair) for measure in (wasserstein, overlap) for pair in pairs])
    far, usually_far, alike, usually_alike = np.array(rows).T
    return Comparison(
        Range.of(far / unit),
        Range.of(alike),
        Range.of(usually_far / unit),
        Range.of(usually_alike),
    )
