"""Random choices that are the same on every machine.

Only integers are drawn: `Generator.integers` gives the same stream everywhere, while `normal` and
others use the machine's own exp and log.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def random_generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one key, such as (song,); other songs do not change its stream."""
    return np.random.default_rng((seed, *key))


def choose(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`, each as likely; list an option twice to make it twice as likely."""
    return options[int(rng.integers(len(options)))]


def happens(rng: np.random.Generator, percent: int) -> bool:
    """True with a probability of `percent` in a hundred."""
    return int(rng.integers(100)) < percent
