"""The compiled kernels against the slow forms that they equal."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.clean import order
from pipeline.clean.quantize import Snap
from pipeline.midi import NOTE_DTYPE
from shards.song import NOTE, sort_notes
from shards.vocabulary import NO_INSTRUMENT, Vocabulary, velocity_bin, velocity_of_bin

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


recorded = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 9000),
        st.integers(0, 127),
        st.integers(1, 127),
        st.booleans(),
    ),
    max_size=60,
)


@given(recorded, st.sampled_from([96, 120, 480, 1]), st.sampled_from([4, 12, 96]))
def test_notes_are_snapped_and_counted_as_array_by_array_says(rows, beat, steps):
    played = np.zeros(len(rows), NOTE_DTYPE)
    for i, (start, length, pitch, velocity, is_drum) in enumerate(sorted(rows)):
        played[i] = (start, start + length, pitch, velocity, 0, 0, pitch // 2, is_drum)
    vocabulary, snap = Vocabulary(), Snap(beat, steps)
    classes = [
        vocabulary.drum_classes[note["pitch"]] if note["is_drum"] else note["program"]
        for note in played
    ]
    classes = np.array(classes, np.uint8)
    inside = classes != NO_INSTRUMENT
    notes, starts = played[inside], snap(played["start"][inside])
    held = snap(notes["end"]) - starts
    columns, counts = order.snap_notes(played, vocabulary.drum_classes, beat, steps, 100)
    expected = [starts, np.clip(held, 1, 100), classes[inside], notes["pitch"]]
    expected.append(velocity_of_bin(velocity_bin(notes["velocity"])))
    for column, wanted in zip(columns, expected, strict=True):
        assert column.tolist() == wanted.tolist()
    assert counts == ((~inside).sum(), (held > 100).sum(), ((held == 0) & ~notes["is_drum"]).sum())

    kept = np.arange(len(starts))[::2]
    filled = np.empty(len(kept), NOTE)
    order.fill_notes(columns, kept, filled)
    assert filled.tolist() == list(zip(*(column[kept].tolist() for column in columns), strict=True))
