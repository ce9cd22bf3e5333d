"""Bar lines compared with a walk from step to step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shards.bars import Bars
from shards.song import METER

BAR_STEPS = {(4, 4): 48, (3, 4): 36, (7, 8): 42, (1, 8): 6}
meters = st.lists(st.tuples(st.integers(1, 300), st.sampled_from(list(BAR_STEPS))), max_size=4)


def walk(changes, steps):
    """(bar, step in it) of each step, one step at a time: the slow definition."""
    in_force, found, bar, within = (4, 4), [], 0, 0
    for step in range(steps):
        if step in changes:
            in_force = changes[step]
            bar, within = bar + (within > 0), 0
        elif within == BAR_STEPS[in_force]:
            bar, within = bar + 1, 0
        found.append((bar, within))
        within += 1
        if within == BAR_STEPS[in_force]:
            bar, within = bar + 1, 0
    return found


@given(meters)
def test_bars_and_steps_are_those_of_a_walk_from_step_to_step(changes):
    changes = dict(changes)
    rows = [(0, 4, 4), *((step, *meter) for step, meter in sorted(changes.items()))]
    bars, within = Bars(np.array(rows, METER), BAR_STEPS).locate(np.arange(400))
    assert list(zip(bars.tolist(), within.tolist(), strict=True)) == walk(changes, 400)


@given(meters)
def test_a_bar_begins_at_its_first_step(changes):
    rows = [(0, 4, 4), *((step, *meter) for step, meter in sorted(dict(changes).items()))]
    bars = Bars(np.array(rows, METER), BAR_STEPS)
    numbers, within = bars.locate(np.arange(400))
    begins = np.flatnonzero(within == 0)
    assert (bars.first_steps(numbers[begins]) == begins).all()
