"""From a model's scores to one class: pure functions, applied in the order they stand here.

Conventions
    scores   shape (classes,), float64: log probabilities, up to a constant; -inf is impossible
    Every step only takes classes away, ties going by class, and never the likeliest: where
    there was something to draw, there still is.

Sources
    top-k  Fan et al. 2018. https://arxiv.org/abs/1805.04833
    top-p  Holtzman et al. 2020, nucleus sampling. https://arxiv.org/abs/1904.09751
    min-p  Nguyen et al. 2024. https://arxiv.org/abs/2407.01082
"""

import numpy as np


def with_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Sharpen below 1, flatten above; at 0 only the likeliest stays, the first of several."""
    if temperature == 0:
        return np.where(np.arange(len(scores)) == scores.argmax(), 0.0, -np.inf)
    return scores / temperature


def keep_top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Keep the `k` likeliest; all of them for 0."""
    if not 0 < k < len(scores):
        return scores
    return _keep(scores, _by_chance(scores)[:k])


def keep_top_p(scores: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest likeliest that together have probability `p`; all of them for 1."""
    if p >= 1:
        return scores
    order = _by_chance(scores)
    chances = to_chances(scores)[order]
    likelier = np.cumsum(chances) - chances  # probability of all before
    likelier[0] = -1.0
    return _keep(scores, order[likelier < p])


def keep_min_p(scores: np.ndarray, share: float) -> np.ndarray:
    """Keep those at least `share` times as likely as the likeliest; all of them for 0."""
    if share == 0:
        return scores
    return np.where(scores >= scores.max() + np.log(share), scores, -np.inf)


def to_chances(scores: np.ndarray) -> np.ndarray:
    """The softmax: probabilities that add up to 1; at least one score is finite."""
    chances = np.exp(scores - scores.max())
    return chances / chances.sum()


def draw(chances: np.ndarray, place: float) -> int:
    """The class in which `place` falls when all stand side by side, each as wide as its chance.

    Args:
        chances: shape (classes,), not negative, not all 0; of any sum.
        place: from 0 up to but not 1, as `Generator.random` gives it.
    """
    edges = np.cumsum(chances)
    drawn = int(np.searchsorted(edges, place * edges[-1], side="right"))
    return min(drawn, int(np.flatnonzero(chances)[-1]))  # rounding may reach the very end


def _by_chance(scores: np.ndarray) -> np.ndarray:
    """The classes, the likeliest first."""
    return np.argsort(-scores, kind="stable")


def _keep(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    kept = np.full_like(scores, -np.inf)
    kept[classes] = scores[classes]
    return kept
