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
    return logits / temperature


def keep_top_k(logits: np.ndarray, k: int) -> np.ndarray:
    """Keep the `k` likeliest classes; 0 keeps all."""
    if not 0 < k < logits.shape[-1]:
        return logits
    return _keep(logits, _by_probability(logits), np.arange(logits.shape[-1]) < k)


def keep_top_p(logits: np.ndarray, p: float) -> np.ndarray:
    """Keep the fewest, likeliest classes whose probabilities sum to at least `p`; 1 keeps all."""
    if p >= 1:
        return logits
    order = _by_probability(logits)
    probs = np.take_along_axis(softmax(logits), order, axis=-1)
    probs_before = np.cumsum(probs, axis=-1) - probs  # of all likelier classes
    probs_before[..., 0] = -1.0
    return _keep(logits, order, probs_before < p)


def keep_min_p(logits: np.ndarray, ratio: float) -> np.ndarray:
    """Keep classes at least `ratio` times as likely as the likeliest; 0 keeps all."""
    if ratio == 0:
        return logits
    least = logits.max(axis=-1, keepdims=True) + np.log(ratio)
    return np.where(logits >= least, logits, -np.inf)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities that sum to 1; at least one logit of each row must be finite."""
    probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return probs / probs.sum(axis=-1, keepdims=True)


def sample(probs: np.ndarray, u: np.ndarray | float) -> np.ndarray:
    """Sample a class by the inverse of the cumulative distribution.

    Args:
        probs: shape (…, classes), not negative, not all 0; need not sum to 1.
        u: shape (…,), uniform in [0, 1), as `Generator.random` returns it.
    """
    cumulative = np.cumsum(probs, axis=-1)
    reached = cumulative <= np.asarray(u)[..., None] * cumulative[..., -1:]
    last = probs.shape[-1] - 1 - (probs[..., ::-1] > 0).argmax(axis=-1)
    return np.minimum(reached.sum(axis=-1), last)  # rounding may reach the very end


def _by_probability(logits: np.ndarray) -> np.ndarray:
    """The classes, likeliest first."""
    return np.argsort(-logits, axis=-1, kind="stable")


def _keep(logits: np.ndarray, order: np.ndarray, is_kept: np.ndarray) -> np.ndarray:
    """Keep those of the classes in their order that are marked."""
    kept = np.where(is_kept, np.take_along_axis(logits, order, axis=-1), -np.inf)
    result = np.empty_like(logits)
    np.put_along_axis(result, order, kept, axis=-1)
    return result
