"""Find the symbols that would continue an exact repetition for too long.

A loop of period p is running while each symbol equals the one p symbols before it. Real music
repeats itself, so a loop may run for a number of bars before its next symbol is blocked.
"""

import numpy as np

MAX_PERIOD = 2048
"""Longest loop that is detected, in symbols: about eight bars of a full band."""


class RepetitionGuard:
    """Follows one song, one symbol at a time.

    Args:
        max_bars: how many bars a loop may run.
        max_period: longest loop that is detected, in symbols.
    """

    def __init__(self, max_bars: int, max_period: int = MAX_PERIOD) -> None:
        self.max_bars, self.max_period = max_bars, max_period
        self._recent = np.full(max_period, -1, np.int64)  # latest symbol first
        # Of the loop of period 1, 2, …: the bar where it began, and its length in symbols.
        self._start_bars = np.zeros(max_period, np.int64)
        self._lengths = np.zeros(max_period, np.int64)
        self._bar = 0

    def push(self, symbol: int, bar: int) -> None:
        """Add the next symbol, not negative, and the bar it is in."""
        continues = self._recent == symbol
        starts = continues & (self._lengths == 0)
        self._start_bars[starts] = bar
        self._lengths = np.where(continues, self._lengths + 1, 0)
        self._recent[1:] = self._recent[:-1]
        self._recent[0] = symbol
        self._bar = bar

    def blocked_symbols(self) -> np.ndarray:
        """Symbols that would continue a loop of `max_bars` bars and at least one full period.

        Returns:
            shape (symbols,), sorted, each once.
        """
        periods = np.arange(1, self.max_period + 1)
        too_long = (self._lengths >= periods) & (self._bar - self._start_bars >= self.max_bars)
        return np.unique(self._recent[too_long])
