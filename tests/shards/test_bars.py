"""Bar lines against a walk from bar to bar."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shards.bars import Bars
from shards.song import METER

BAR_STEPS = {(4, 4): 48, (3, 4): 36, (7, 8): 42, (1, 8): 6}
meters = st.lists(st.tuples(st.integers(1, 300), st.sampled_from(list(BAR_STEPS))), max_size=4)


def walk(changes, steps):
    """The place of each step, one step at a time: the slow definition."""
    in_force, places, bar, place = (4, 4), [], 0, 0
    for step in range(steps):
        if step in changes:
            in_force = changes[step]
            bar, place = bar + (place > 0), 0
        elif place == BAR_STEPS[in_force]:
            bar, place = bar + 1, 0
        places.append((bar, place))
        place += 1
        if place == BAR_STEPS[in_force]:
            bar, place = bar + 1, 0
    return places


@given(meters)
def test_positions_are_those_of_a_walk_from_step_to_step(changes):
    changes = dict(changes)
    rows = [(0, 4, 4), *((step, *meter) for step, meter in sorted(changes.items()))]
    bars, places = Bars(np.array(rows, METER), BAR_STEPS).positions(np.arange(400))
    assert list(zip(bars.tolist(), places.tolist(), strict=True)) == walk(changes, 400)


@given(meters)
def test_a_bar_begins_at_its_first_step(changes):
    rows = [(0, 4, 4), *((step, *meter) for step, meter in sorted(dict(changes).items()))]
    bars = Bars(np.array(rows, METER), BAR_STEPS)
    numbers, places = bars.positions(np.arange(400))
    begins = np.flatnonzero(places == 0)
    assert (bars.line(numbers[begins]) == begins).all()
