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


def lexsorted(played):
    """Notes as shards.song.sort_notes sorts them from another order."""
    return sort_notes(played[::-1])


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


VOCABULARY = Vocabulary()
DURATIONS = np.maximum(np.arange(101) // 3 * 3, 1)  # any table will do
DRUM_DURATION = 7
recorded = st.lists(
    st.tuples(
        st.integers(0, 2000) | st.integers(0, 20),
        st.integers(0, 9000),
        st.sampled_from([0, 20, 40, 41, 127]),
        st.integers(1, 127),
        st.sampled_from([0, 1, 127]),
        st.booleans(),
    ),
    max_size=60,
)


def recording(rows):
    played = np.zeros(len(rows), NOTE_DTYPE)
    for i, (start, length, pitch, velocity, program, is_drum) in enumerate(sorted(rows)):
        played[i] = (start, start + length, pitch, velocity, 0, 0, program, is_drum, 0)
    return played


def gridded(played, beat, steps):
    """The notes of the kernel, and its counts."""
    notes = np.empty(len(played), NOTE)
    tables = VOCABULARY.drum_classes, beat, steps, DURATIONS, DRUM_DURATION
    filled, *counts = order.grid_notes(played, *tables, notes)
    return notes[:filled], counts


def slowly_gridded(played, beat, steps):
    """The same by operations on whole arrays."""
    snap, is_drum = Snap(beat, steps), played["is_drum"]
    classes = np.where(is_drum, VOCABULARY.drum_classes[played["pitch"]], played["program"])
    starts, inside = snap(played["start"]), classes != NO_INSTRUMENT
    held = snap(played["end"]) - starts
    notes = np.empty(len(played), NOTE)
    notes["start"], notes["instrument"], notes["pitch"] = starts, classes, played["pitch"]
    notes["duration"] = np.where(is_drum, DRUM_DURATION, DURATIONS[np.minimum(held, 100)])
    notes["velocity"] = velocity_of_bin(velocity_bin(played["velocity"]))
    melodic = held[inside & ~is_drum]
    counts = [(~inside).sum(), (melodic > 100).sum(), (melodic == 0).sum()]
    return lexsorted(notes[inside]), counts


@given(recorded, st.sampled_from([96, 120, 480, 1]), st.sampled_from([4, 12, 96]))
def test_notes_on_the_grid_equal_whole_array_operations(rows, beat, steps):
    (found, counts), (wanted, slow_counts) = (
        grid(recording(rows), beat, steps) for grid in (gridded, slowly_gridded)
    )
    assert found.tolist() == wanted.tolist()
    assert counts == slow_counts


@pytest.mark.parametrize("count", [order.MANY, order.MANY + 1, 76, 3000, 20_000])
def test_many_notes_on_one_step_are_in_order_too(count):
    random = np.random.default_rng(count)
    columns = (random.integers(0, high, count) for high in (2, 900, 128, 127, 128, 2))
    played = recording(list(zip(*(column.tolist() for column in columns), strict=True)))
    assert gridded(played, 96, 4)[0].tolist() == slowly_gridded(played, 96, 4)[0].tolist()


@given(st.integers(0, 2**40), st.integers(1, 2**20), st.sampled_from([4, 7, 96]))
def test_times_are_rounded_exactly_however_late(tick, beat, steps):
    played = recording([(tick, 0, 60, 64, 0, False)])
    assert (
        gridded(played, beat, steps)[0]["start"].tolist()
        == Snap(beat, steps)(played["start"]).tolist()
    )
