"""Where the bar lines are, for a song whose meter may change anywhere.

A meter holds from its step to the next one's. A change starts a new bar even where the old
one was not full, as a conductor would take it. Before the first meter stands 4/4.

Source: Standard MIDI Files 1.0, time signature meta event (FF 58).
"""

from collections.abc import Mapping

import numpy as np


class Bars:
    """The bar lines of one song: steps to bars, and bars to steps.

    Args:
        meters: structured array with `start` [steps, ascending from 0], `numerator`,
            `denominator`, as in `shards.song.METER`.
        bar_steps: steps in a bar of each meter.
    """

    def __init__(self, meters: np.ndarray, bar_steps: Mapping[tuple[int, int], int]) -> None:
        self.starts = meters["start"].astype(np.int64)
        pairs = zip(meters["numerator"].tolist(), meters["denominator"].tolist(), strict=True)
        self.lengths = np.array([bar_steps[pair] for pair in pairs], np.int64)
        whole_or_cut_short = -(-np.diff(self.starts) // self.lengths[:-1])
        self.first_bars = np.concatenate([[0], np.cumsum(whole_or_cut_short)])

    def segment(self, steps: np.ndarray) -> np.ndarray:
        """The number of the meter in force at each step; its bars have `lengths` of that."""
        return np.searchsorted(self.starts, steps, side="right") - 1

    def positions(self, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The bar of each step, counted from 0, and the step's place in it; both int64."""
        if len(self.starts) == 1:  # most songs; dividing by one number is far cheaper
            bars = np.floor_divide(steps, int(self.lengths[0]))
            return bars, steps - bars * self.lengths[0]
        segment = self.segment(steps)
        bars, places = np.divmod(steps - self.starts[segment], self.lengths[segment])
        return self.first_bars[segment] + bars, places

    def line(self, bars: np.ndarray) -> np.ndarray:
        """The step at which each bar begins; int64."""
        segment = np.searchsorted(self.first_bars, bars, side="right") - 1
        return self.starts[segment] + (bars - self.first_bars[segment]) * self.lengths[segment]
