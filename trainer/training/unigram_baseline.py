"""The unigram baseline: the loss of predicting every target by its frequency in training."""

import numpy as np

from shards.reader import SongSource
from shards.vocabulary import PROGRAMS


def unigram_baseline(dataset: SongSource, train: np.ndarray, valid: np.ndarray) -> dict[str, float]:
    """Score validation targets by their add-one smoothed frequency in the training split.

    Args:
        dataset: of the songs.
        train, valid: song numbers of each split.

    Returns:
        Means in nats, named like the model's: loss (both heads, per target), tokens (per target),
        instruments (per target that has an instrument).
    """
    train_tokens, train_classes = _count_targets(dataset, train)
    tokens, classes = _count_targets(dataset, valid)
    token_nats = _cross_entropy(tokens, train_tokens)
    instrument_nats = _cross_entropy(classes, train_classes)
    return {
        "loss": (token_nats + instrument_nats) / max(tokens.sum(), 1),
        "tokens": token_nats / max(tokens.sum(), 1),
        "instruments": instrument_nats / max(classes.sum(), 1),
    }


def _count_targets(dataset: SongSource, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each token, (V,), and each program, (128,), is a target; int64."""
    vocabulary = dataset.vocabulary
    tokens = np.zeros(len(vocabulary), np.int64)
    classes = np.zeros(PROGRAMS, np.int64)
    for number in numbers.tolist():
        song = dataset.song(number)
        targets = song.tokens[1:]
        has_instrument = vocabulary.has_instrument(targets)
        tokens += np.bincount(targets, minlength=len(tokens))
        classes += np.bincount(song.instruments[1:][has_instrument], minlength=len(classes))
    return tokens, classes


def _cross_entropy(counts: np.ndarray, reference: np.ndarray) -> float:
    """Total nats of all counts under the add-one smoothed frequencies of `reference`."""
    smoothed = reference + 1.0
    return float(-(counts * np.log(smoothed / smoothed.sum())).sum())
