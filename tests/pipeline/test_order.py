"""The compiled kernels against the slow forms that they equal."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline import order
from shards.song import NOTE, sort_notes

notes = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(1, 4),
        st.sampled_from([0, 1, 127, 128, 174, 255]),
        st.sampled_from([0, 1, 60, 61, 127]),
        st.sampled_from([1, 64, 127]),
    ),
    max_size=200,
).map(lambda rows: np.array(sorted(rows, key=lambda row: row[0]), NOTE))


def columns(played):
    return [np.ascontiguousarray(played[name]) for name in NOTE.names]


def lexsorted(played):
    """What shards.song.sort_notes does to notes that are in no order."""
    upside_down = played[::-1]
    return sort_notes(upside_down)


@given(notes)
def test_canonical_order_is_what_sorting_by_five_keys_gives(played):
    kept = order.canonical_order(*columns(played))
    assert played[kept].tolist() == lexsorted(played).tolist()


@pytest.mark.parametrize("count", [order.CROWD - 1, order.CROWD, order.CROWD + 1, 3000])
def test_a_crowd_on_one_step_is_in_order_too(count):
    random = np.random.default_rng(count)
    played = np.zeros(count, NOTE)
    for name, most in (("duration", 9), ("instrument", 255), ("pitch", 127), ("velocity", 127)):
        played[name] = random.integers(1, most, count)
    kept = order.canonical_order(*columns(played))
    assert played[kept].tolist() == lexsorted(played).tolist()


@given(notes)
def test_notes_in_order_are_left_alone_and_others_are_sorted(played):
    once = sort_notes(played)
    assert sort_notes(once) is once
    assert sort_notes(np.concatenate([once, once])).tolist() == once.tolist()
