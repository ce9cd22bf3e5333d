"""Find the symbols that would continue an exact repetition for too long.

A loop of period p is running while each symbol equals the one p symbols before it. Real music
repeats itself, so a loop may run for a number of bars before its next symbol is blocked.
"""

from bisect import bisect_right

import numpy as np

MAX_PERIOD = 2048
"""Longest loop that is detected, in symbols: about eight bars of a full band."""

COMPARED = 8
"""Symbols by which most loops are ruled out before they are compared as a whole."""

HASHED = 64
"""Symbols that rarely come twice unless there is a loop: without them nothing is compared."""
FACTOR, MODULUS = 0x9E3779B97F4A7C15, 2**61 - 1
"""Of the rolling hash of Rabin and Karp 1987; equal hashes of others only cost a comparison."""
LEAVING = pow(FACTOR, HASHED, MODULUS)
"""Factor of the symbol that leaves the hash."""


class RepetitionGuard:
    """Follows one song, one symbol at a time.

    Args:
        max_bars: how many bars a loop may run.
        max_period: longest loop that is detected, in symbols.
    """

    def __init__(self, max_bars: int, max_period: int = MAX_PERIOD) -> None:
        self.max_bars, self.max_period = max_bars, max_period
        self._symbols, self._bars = np.empty(1024, np.int64), list[int]()
        self._hash, self._repeated = 0, -1  # of the last symbols; where such ended before
        self._ends = dict[int, int]()  # of each hash, the last end

    def push(self, symbol: int, bar: int) -> None:
        """Add the next symbol, not negative, and the bar it is in, never before the last one's."""
        count = len(self._bars)
        if count == len(self._symbols):
            self._symbols = np.concatenate([self._symbols, np.empty_like(self._symbols)])
        self._symbols[count] = symbol
        self._bars.append(bar)
        leaving = int(self._symbols[count - HASHED]) if count >= HASHED else 0
        self._hash = (FACTOR * self._hash + int(symbol) - LEAVING * leaving) % MODULUS
        self._repeated = self._ends.get(self._hash, -1)
        self._ends[self._hash] = count

    def blocked_symbols(self) -> np.ndarray:
        """Symbols that would continue a loop of `max_bars` bars and at least one full period.

        Returns:
            shape (symbols,), sorted, each once.
        """
        bars, last = self._bars, len(self._bars) - 1
        least = last + 2 - bisect_right(bars, bars[-1] - self.max_bars) if bars else 0
        if not 0 < least <= last:  # the song is no longer than the bars that a loop may run
            return np.empty(0, np.int64)
        if least >= HASHED and self._repeated < max(last - self.max_period, 0):
            return np.empty(0, np.int64)
        symbols = self._symbols
        earlier = symbols[max(last - self.max_period, 0) : last][::-1]
        periods = 1 + np.flatnonzero(earlier == symbols[last])
        periods = periods[np.maximum(periods, least) + periods <= last + 1]
        for back in range(1, min(least, COMPARED)):
            if not len(periods):
                return periods
            periods = periods[symbols[last - back - periods] == symbols[last - back]]
        looping = [period for period in periods.tolist() if self._loops(period, least)]
        return np.unique(symbols[last + 1 - np.array(looping, np.int64)])

    def _loops(self, period: int, least: int) -> bool:
        """Whether at least `least` symbols, and a full period, repeat those one period before."""
        stop, length = len(self._bars), max(period, least)
        recent = self._symbols[stop - length : stop]
        return np.array_equal(recent, self._symbols[stop - length - period : stop - period])
