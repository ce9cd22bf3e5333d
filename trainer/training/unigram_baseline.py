"""The yardstick: what a model would score that knows only how common each token is."""

from typing import Any

import numpy as np

from shards.vocabulary import Vocabulary


def unigram(dataset: Any, train: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Score validation targets by their frequency in training, each counted once more.

    Args:
        dataset: where the songs are.
        train, valid: numbers of the songs of each split.

    Returns:
        TokenLosses, named and averaged as the model's own: loss (both together, a target), tokens (a
        target), instruments (a pitch or a control).
    """
    train_tokens, train_classes = _counts(dataset, train)
    tokens, classes = _counts(dataset, valid)
    token_nats = _cross_entropy(tokens, train_tokens)
    instrument_nats = _cross_entropy(classes, train_classes)
    return {
        "loss": (token_nats + instrument_nats) / max(tokens.sum(), 1),
        "tokens": token_nats / max(tokens.sum(), 1),
        "instruments": instrument_nats / max(classes.sum(), 1),
    }


def _counts(dataset: Any, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each token is a target, (V,), and each class is one, (I,); int64."""
    vocabulary: Vocabulary = dataset.vocabulary
    tokens = np.zeros(len(vocabulary), np.int64)
    classes = np.zeros(vocabulary.instruments, np.int64)
    for number in numbers.tolist():
        song = dataset.song(number)
        targets = song.tokens[1:]
        is_named = vocabulary.has_instrument(targets)
        tokens += np.bincount(targets, minlength=len(tokens))
        classes += np.bincount(song.instruments[1:][is_named], minlength=len(classes))
    return tokens, classes


def _cross_entropy(counts: np.ndarray, reference: np.ndarray) -> float:
    """TokenLosses of all counts under the reference's frequencies, add-one smoothed."""
    smoothed = reference + 1.0
    return float(-(counts * np.log(smoothed / smoothed.sum())).sum())
