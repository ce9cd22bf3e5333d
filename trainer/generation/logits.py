"""Turn logits into sampled classes: pure functions, applied in the order of this file.

Conventions
    logits   shape (…, classes), float64: log probabilities up to a constant; -inf is impossible.
             Each row of the last dimension is a distribution of its own
    Each filter only removes classes and never the likeliest, so at least one class remains.
    Of equally likely classes the lower one comes first.

Sources
    top-k  Fan et al. 2018. https://arxiv.org/abs/1805.04833
    top-p  Holtzman et al. 2020, nucleus sampling. https://arxiv.org/abs/1904.09751
    min-p  Nguyen et al. 2024. https://arxiv.org/abs/2407.01082
"""

import numpy as np

from trainer.generation.settings import SampleConfig

COLDEST = 1e-9
"""Below it only the likeliest class is kept; division by much less would leave no finite logit."""


def filtered_probs(logits: np.ndarray, config: SampleConfig, top_p: float) -> np.ndarray:
    """Probabilities after temperature, top-k, top-p and min-p."""
    logits = with_temperature(logits, config.temperature)
    logits = keep_top_k(logits, config.top_k)
    logits = keep_top_p(logits, top_p)
    return softmax(keep_min_p(logits, config.min_p))


def with_temperature(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Sharpen the distribution below 1, flatten it above; at 0 keep only the likeliest class."""
    if temperature < COLDEST:
        likeliest = logits.argmax(axis=-1)[..., None]
        return np.where(np.arange(logits.shape[-1]) == likeliest, 0.0, -np.inf)
    return logits if temperature == 1 else logits / temperature


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the `k` likeliest classes; 0 keeps all."""
    if not 0 < k < logits.shape[-1]:
        return logits
    return _keep(logits, np.sort(logits, axis=-1)[..., ::-1], np.full((*logits.shape[:-1], 1), k))


def keep_top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest, likeliest classes whose probabilities sum to at least `p`; 1 keeps all."""
    if p >= 1:
        return logits
    descending = np.sort(logits, axis=-1)[..., ::-1]
    probs = softmax(descending)
    before = np.cumsum(probs, axis=-1) - probs  # of all likelier classes
    before[..., 0] = -1.0
    return _keep(logits, descending, (before < p).sum(axis=-1, keepdims=True))


def keep_min_p(logits: np.ndarray, ratio: float) -> np.ndarray:
    """Keep classes at least `ratio` times as likely as the likeliest; 0 keeps all."""
    if ratio == 0:
        return logits
    least = logits.max(axis=-1, keepdims=True) + np.log(ratio)
    return np.where(logits >= least, logits, -np.inf)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities that sum to 1; at least one logit of each row must be finite."""
    probs = logits - logits.max(axis=-1, keepdims=True)
    np.exp(probs, out=probs)  # in place: a new array takes longer than the sum
    probs /= probs.sum(axis=-1, keepdims=True)
    return probs


def sample(probs: np.ndarray, u: np.ndarray | float) -> np.ndarray:
    """Sample a class by the inverse of the cumulative distribution.

    Args:
        probs: shape (…, classes), not negative, not all 0; need not sum to 1.
        u: shape (…,), uniform in [0, 1), as `Generator.random` returns it.
    """
    cumulative, classes = np.cumsum(probs, axis=-1), probs.shape[-1]
    chosen = (cumulative <= np.asarray(u)[..., None] * cumulative[..., -1:]).sum(axis=-1)
    if (chosen == classes).any():  # rounding has reached the very end
        return np.minimum(chosen, classes - 1 - (probs[..., ::-1] > 0).argmax(axis=-1))
    return chosen


def _keep(logits: np.ndarray, descending: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Keep the likeliest classes, of the equally likely the lower ones.

    Args:
        logits: shape (…, classes).
        descending: the same, sorted.
        count: how many to keep, shape (…, 1).
    """
    least = np.take_along_axis(descending, count - 1, axis=-1)
    is_more, is_equal = logits > least, logits == least
    places = count - is_more.sum(axis=-1, keepdims=True)  # left for the equally likely
    return np.where(is_more | is_equal & (is_equal.cumsum(axis=-1) <= places), logits, -np.inf)
