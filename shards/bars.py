"""The bar lines of a song whose meter may change anywhere.

A meter is in force from its step to the next meter's. A change starts a new bar even inside an
unfinished one, as a conductor would take it. Before the first meter the song is in 4/4.

Source: Standard MIDI Files 1.0, time signature meta event (FF 58).
"""

from collections.abc import Mapping

import numpy as np


class Bars:
    """Converts steps to bars and bars to steps for one song.

    Args:
        meters: structured array with `start` [steps, ascending from 0], `numerator`,
            `denominator`, as in `shards.song.METER`.
        bar_steps: steps in a bar of each meter.

    Attributes:
        starts, lengths, first_bars: per meter, int64: its first step, the steps in one of its
            bars, and the number of its first bar.
    """

    def __init__(self, meters: np.ndarray, bar_steps: Mapping[tuple[int, int], int]) -> None:
        self.starts = meters["start"].astype(np.int64)
        pairs = zip(meters["numerator"].tolist(), meters["denominator"].tolist(), strict=True)
        self.lengths = np.array([bar_steps[pair] for pair in pairs], np.int64)
        if len(self.starts) == 1:  # most songs
            self.first_bars = np.zeros(1, np.int64)
            return
        whole_or_cut_short = -(-np.diff(self.starts) // self.lengths[:-1])
        self.first_bars = np.concatenate([[0], np.cumsum(whole_or_cut_short)])

    def meter_at(self, steps: np.ndarray) -> np.ndarray:
        """Index of the meter in force at each step; int64."""
        return np.searchsorted(self.starts, steps, side="right") - 1

    def locate(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bar of each step, from 0, and the steps since that bar began; both int64."""
        if len(self.starts) == 1:  # most songs; dividing by one number is far cheaper
            bars = np.floor_divide(steps, int(self.lengths[0]))
            return bars, steps - bars * self.lengths[0]
        meter = self.meter_at(steps)
        bars, within = np.divmod(steps - self.starts[meter], self.lengths[meter])
        return self.first_bars[meter] + bars, within

    def first_steps(self, bars: np.ndarray) -> np.ndarray:
        """The step at which each bar begins; int64."""
        meter = np.searchsorted(self.first_bars, bars, side="right") - 1
        return self.starts[meter] + (bars - self.first_bars[meter]) * self.lengths[meter]
