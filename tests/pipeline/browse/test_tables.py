"""Filters and histograms: what the page counts and shows is what `--where` finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.browse.boxes import COMPARISON, RANGE
from pipeline.browse.tables import files_table, number_bins, songs_table
from shards.where import matching_songs

BOXES = [
    ("song", "3"), ("notes", ">=2000"), ("notes", "1e3..2e3"), ("bpm", "100..<120"),
    ("representative", "no"), ("meter", "=4/4"), ("path", "Ballads"), ("path", "'; drop"),
    ("path", "Ü"), ("programs", "bass"), ("programs", "=Violin"), ("programs", "no such"),
    ("silences", ">0"), ("bar_similarity", ">0"), ("duplicate", "="), ("bar_similarity", "="),
    ("key", "="), ("tier", "= strict"),
]  # fmt: skip


def passing(table, where):
    rows, count = table.page(where, "", False, 0, 10_000)
    assert len(rows) == count
    return [row[table.number] for row in rows]


@pytest.mark.parametrize(("column", "box"), BOXES, ids=" ".join)
def test_the_condition_that_is_shown_finds_the_same_songs_in_training(dataset, column, box):
    songs = songs_table(dataset)
    for search in ("", "a", dataset.index["md5"][3].as_py()):
        where = songs.where(((column, box), ("notes", ">1")), search)
        assert (
            passing(songs, where) == np.flatnonzero(matching_songs(dataset.index, where)).tolist()
        )


def test_every_bin_counts_what_its_box_finds(dataset):
    for table in (songs_table(dataset), files_table(dataset)):
        whole = table.page("", "", False, 0, 1)[1]
        for name, column in table.columns.items():
            bins = table.histogram(name, "")
            for one in bins:
                assert len(passing(table, table.where(((name, one.box),), ""))) == one.rows, one
            if column.kind in ("number", "boolean", "map"):
                assert sum(one.rows for one in bins) == whole, name


def test_values_are_counted_in_what_other_filters_let_pass(dataset):
    songs = songs_table(dataset)
    strict = songs.where((("tier", "=strict"), ("meter", "=3/4")), "")
    expected = [row for row in dataset.index.to_pylist()
                if (row["tier"], row["meter"]) == ("strict", "3/4")]  # fmt: skip
    bins = {one.label: one.rows for one in songs.histogram("split", strict)}
    assert bins == {
        split: n
        for split in ("train", "valid", "test")
        if (n := sum(row["split"] == split for row in expected))
    }


NUMBERS = st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9))


def contains(box, value):
    """Whether a box means a value, read by the words of the page."""
    if both := RANGE.fullmatch(box):
        low, high = float(both[1]), float(both[3])
        return low <= value < high or (value == high and not both[2])
    sign, number = COMPARISON.fullmatch(box).groups()
    number = float(number)
    return {">=": value >= number, "<": value < number, "": value == number}[sign]


@given(st.lists(st.integers(-(10**9), 10**9), min_size=4, max_size=4).map(sorted), st.data())
def test_bins_hold_every_number_once(four, data):
    least, low, high, most = four
    bins = number_bins(least, most, low, high)
    assert len(bins) <= 30
    value = data.draw(st.integers(least, most))
    assert [contains(box, value) for box, _ in bins].count(True) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4).map(sorted), st.data())
def test_bins_hold_every_fraction_once(four, data):
    least, low, high, most = four
    bins = number_bins(least, most, low, high)
    value = data.draw(st.floats(least, most))
    assert [contains(box, value) for box, _ in bins].count(True) == 1


def test_only_files_that_were_not_kept_are_in_their_table(dataset):
    rows = files_table(dataset).page("", "", False, 0, 1000)[0]
    expected = [row for row in dataset.ledger().to_pylist() if row["song"] is None]
    assert [row["path"] for row in rows] == [row["path"] for row in expected]
    few = next(row for row in rows if row["rule"] == "too_few_notes")
    assert few["value"] < few["threshold"]
