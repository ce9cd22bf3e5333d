"""Dice that fall alike on every machine.

Only whole numbers are ever drawn: `Generator.integers` gives the same stream everywhere, while
`normal` and its kin go through the machine's own exp and log.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def dice_for(seed: int, *place: int) -> np.random.Generator:
    """The dice of one place, such as (song,): neither order nor the number of songs changes it."""
    return np.random.default_rng((seed, *place))


def pick(dice: np.random.Generator, options: Sequence[T]) -> T:
    """One of `options`, each as likely; list an option twice to make it twice as likely."""
    return options[int(dice.integers(len(options)))]


def happens(dice: np.random.Generator, percent: int) -> bool:
    """True in `percent` of a hundred throws."""
    return int(dice.integers(100)) < percent
