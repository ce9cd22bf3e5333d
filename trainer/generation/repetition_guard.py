"""Hears when a song goes round in circles, and which token would take it round once more.

A loop of period p is running where each of the last symbols is the one p before it. Music
repeats itself, so nothing is done until the loop has run for a number of bars.
"""

import numpy as np

LONGEST_PERIOD = 2048
"""Symbols in the longest loop that is heard: about eight bars of a full band."""


class LoopGuard:
    """Follows one song, a symbol at a time.

    Args:
        bars: how long a loop may run.
        longest: period in symbols up to which loops are heard.
    """

    def __init__(self, bars: int, longest: int = LONGEST_PERIOD) -> None:
        self.bars, self.longest = bars, longest
        self._recent = np.full(longest, -1, np.int64)  # the latest first
        self._since = np.zeros(longest, np.int64)  # bar at which the loop of period 1, 2, … began
        self._lengths = np.zeros(longest, np.int64)  # symbols that it has run for
        self._bar = 0

    def push(self, symbol: int, bar: int) -> None:
        """Hear the next symbol, not negative, and the bar it stands in."""
        goes_on = self._recent == symbol
        starts = goes_on & (self._lengths == 0)
        self._since[starts] = bar
        self._lengths = np.where(goes_on, self._lengths + 1, 0)
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = symbol
        self._bar = bar

    def tired(self) -> np.ndarray:
        """Symbols that would go on with a loop that has run long enough; without doubles.

        Long enough is for `bars`, and for at least one whole period.
        """
        periods = np.arange(1, self.longest + 1)
        long = (self._lengths >= periods) & (self._bar - self._since >= self.bars)
        return np.unique(self._recent[long[: self.longest]])
