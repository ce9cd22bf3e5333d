"""Bends and modulations onto the grid: equal to a slow definition, and by example."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.grid_controls import EVENT, grid_controls, nearest_value, place_on_grid
from pipeline.clean.quantize import Snap
from pipeline.midi import NOTE_DTYPE
from pipeline.midi.controls import ALL_CONTROLLERS_OFF, CONTROL_DTYPE, PITCH_BEND
from shards.song import BEND, CONTROL, MODULATION, NOTE, control_changes, sort_notes
from shards.vocabulary import BEND_VALUES, MODULATION_VALUES, bend_bins, modulation_bins


def place_slowly(events, notes, snap):
    """Event by event and note by note."""
    rows = []
    for tick, instrument, kind, value in events.tolist():
        step = int(snap(np.array([tick]))[0])
        own = [note for note in notes.tolist() if note[2] == instrument]
        sounds = any(start <= step < start + duration for start, duration, *_ in own)
        later = [start for start, *_ in own if start > step]
        if sounds or later:
            rows.append((step if sounds else min(later), instrument, kind, value))
    rows.sort(key=lambda row: row[0])
    canonical = control_changes(np.array(rows, CONTROL))
    return canonical[canonical["start"] <= notes["start"][-1]]


notes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 9), st.sampled_from([0, 5, 130]), st.just(60)),
    min_size=1,
    max_size=15,
).map(lambda rows: sort_notes(np.array([(*row, 66) for row in sorted(rows)], NOTE)))
events = st.lists(
    st.tuples(
        st.integers(0, 400), st.sampled_from([0, 5]), st.integers(0, 1), st.sampled_from([0, 7, 9])
    ),
    max_size=25,
).map(lambda rows: np.array(sorted(rows, key=lambda row: row[0]), EVENT))


@given(notes, events)
def test_events_are_placed_as_the_slow_definition_does(notes, events):
    placed = np.empty(len(events), CONTROL)
    placed = placed[: place_on_grid(events, notes, 96, 12, placed)]
    assert placed.tolist() == place_slowly(events, notes, Snap(96, 12)).tolist()


@given(st.integers(-(2**31), 2**31 - 1))
def test_values_become_those_of_the_nearest_bins(value):
    assert nearest_value(BEND, value) == BEND_VALUES[bend_bins(value)]
    level = modulation_bins(min(max(value, 0), 127))
    assert nearest_value(MODULATION, value) == MODULATION_VALUES[level]


def played(*rows):
    """Notes from (start, end, part, program)."""
    notes = np.zeros(len(rows), NOTE_DTYPE)
    for name, column in zip(
        ("start", "end", "part", "program"), zip(*rows, strict=True), strict=True
    ):
        notes[name] = column
    notes["pitch"], notes["velocity"] = 60, 66
    return notes


def gridded(played_notes, *rows):
    """Controls from (tick, part, kind, value), at 12 ticks and 12 steps per beat."""
    controls = np.zeros(len(rows), CONTROL_DTYPE)
    for name, column in zip(
        ("tick", "part", "kind", "value"), zip(*rows, strict=True), strict=True
    ):
        controls[name] = column
    notes = np.zeros(len(played_notes), NOTE)
    notes["start"] = played_notes["start"]
    notes["duration"] = played_notes["end"] - played_notes["start"]
    notes["instrument"], notes["pitch"] = played_notes["program"], 60
    return grid_controls(played_notes, controls, sort_notes(notes), 12, 12).tolist()


def test_a_class_follows_the_part_that_plays_most_of_its_notes():
    notes = played((0, 9, 1, 30), (0, 9, 2, 30), (12, 20, 2, 30))
    assert gridded(notes, (3, 1, PITCH_BEND, 200), (4, 2, PITCH_BEND, -100)) == [(4, 30, 0, -100)]


def test_a_bend_in_silence_is_written_at_the_next_note_and_undone_by_a_reset():
    notes = played((0, 4, 0, 30), (12, 20, 0, 30), (24, 30, 0, 30))
    moves = [(6, 0, PITCH_BEND, 200), (14, 0, ALL_CONTROLLERS_OFF, 0)]
    assert gridded(notes, *moves) == [(12, 30, 0, 200), (14, 30, 0, 0)]


def test_changes_within_a_bin_and_other_controllers_are_left_out():
    notes = played((0, 9, 0, 30), (12, 20, 0, 30))
    assert gridded(notes, (1, 0, PITCH_BEND, 3), (2, 0, 7, 100)) == []
