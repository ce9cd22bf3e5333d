"""The compiled kernels equal their slow definitions."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.clean import order
from pipeline.clean.quantize import Snap
from pipeline.midi import NOTE_DTYPE
from shards.song import NOTE, sort_notes
from shards.vocabulary import NO_INSTRUMENT, Vocabulary, velocity_bin, velocity_of_bin

LIMIT = order.INSERTION_SORT_NOTES
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
    return [np.ascontiguousarray(played[name]) for name in played.dtype.names]


def lexsorted(played):
    """Notes as shards.song.sort_notes sorts them from another order."""
    return sort_notes(played[::-1])


def in_order(played):
    """The notes that the kernel keeps."""
    fields = columns(played)
    kept = order.canonical_order(*fields)
    found = played[kept]
    found["velocity"] = fields[-1][kept]
    return found


@given(notes)
def test_canonical_order_equals_sorting_by_four_keys(played):
    assert in_order(played).tolist() == lexsorted(played).tolist()


@pytest.mark.parametrize("count", [LIMIT - 1, LIMIT, LIMIT + 1, 3000])
def test_many_notes_on_one_step_are_in_order_too(count):
    random = np.random.default_rng(count)
    played = np.zeros(count, NOTE)
    for name, high in (("duration", 9), ("instrument", 255), ("pitch", 127), ("velocity", 127)):
        played[name] = random.integers(1, high, count)
    assert in_order(played).tolist() == lexsorted(played).tolist()


@given(notes)
def test_of_doubled_notes_the_longest_stays_with_the_velocity_of_the_loudest(played):
    doubles = {}
    for start, duration, instrument, pitch, velocity in played.tolist():
        before = doubles.get((start, instrument, pitch), (0, 0))
        doubles[start, instrument, pitch] = max(before[0], duration), max(before[1], velocity)
    kept = {(s, i, p): (d, v) for s, d, i, p, v in sort_notes(played).tolist()}
    assert kept == doubles


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
def test_snapping_and_counting_equal_whole_array_operations(rows, beat, steps):
    played = np.zeros(len(rows), NOTE_DTYPE)
    for i, (start, length, pitch, velocity, is_drum) in enumerate(sorted(rows)):
        played[i] = (start, start + length, pitch, velocity, 0, 0, pitch // 2, is_drum, 0)
    vocabulary, snap = Vocabulary(), Snap(beat, steps)
    classes = [
        vocabulary.drum_classes[note["pitch"]] if note["is_drum"] else note["program"]
        for note in played
    ]
    classes = np.array(classes, np.uint8)
    inside = classes != NO_INSTRUMENT
    notes, starts = played[inside], snap(played["start"][inside])
    held = snap(notes["end"]) - starts
    durations = np.maximum(np.arange(101) // 3 * 3, 1)  # any table will do
    columns, counts = order.snap_notes(played, vocabulary.drum_classes, beat, steps, durations, 7)
    is_drum = notes["is_drum"].astype(bool)
    stored = np.where(is_drum, 7, durations[np.minimum(held, 100)])
    expected = [starts, stored, classes[inside], notes["pitch"]]
    expected.append(velocity_of_bin(velocity_bin(notes["velocity"])))
    for column, wanted in zip(columns, expected, strict=True):
        assert column.tolist() == wanted.tolist()
    melodic = held[~is_drum]
    assert counts == ((~inside).sum(), (melodic > 100).sum(), (melodic == 0).sum())

    kept = np.arange(len(starts))[::2]
    filled = np.empty(len(kept), NOTE)
    order.fill_notes(columns, kept, filled)
    assert filled.tolist() == list(zip(*(column[kept].tolist() for column in columns), strict=True))
