import math
from collections import Counter

import numpy as np

from trainer.training.unigram_baseline import unigram_baseline


def test_the_baseline_matches_its_definition(twin, vocabulary):
    train, valid = np.arange(6), np.arange(6, 8)
    tokens, classes = Counter(), Counter()
    for number in train:
        tokens.update(twin.songs[number].tokens[1:].tolist())
        classes.update(_classes(twin.songs[number], vocabulary))
    token_nats, instrument_nats = [], []
    for number in valid:
        for token in twin.songs[number].tokens[1:].tolist():
            token_nats.append(_nats(tokens, token, len(vocabulary)))
        for number_of_class in _classes(twin.songs[number], vocabulary):
            instrument_nats.append(_nats(classes, number_of_class, 128))
    found = unigram_baseline(twin, train, valid)
    assert math.isclose(found["tokens"], np.mean(token_nats))
    assert math.isclose(found["instruments"], np.mean(instrument_nats))
    both = (sum(token_nats) + sum(instrument_nats)) / len(token_nats)
    assert math.isclose(found["loss"], both)


def _classes(song, vocabulary):
    """The program of each melodic note, once."""
    names = [vocabulary.names[token] for token in song.tokens]
    pairs = zip(names, song.instruments.tolist(), strict=True)
    return [number for name, number in pairs if name[0] == "n"]


def _nats(counts, item, kinds):
    """Negative log of an add-one smoothed frequency."""
    return -math.log((counts[item] + 1) / (counts.total() + kinds))
