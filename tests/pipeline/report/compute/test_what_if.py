"""The what-if table against the rules and queries whose effect it predicts."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.clean.rules import RULES, Limits, rejection
from pipeline.cli import cli
from pipeline.report.compute.what_if import SHARES, what_if
from shards.layout import INDEX_SCHEMA
from shards.where import matching_songs
from tests.pipeline.report.test_report import make_tables

OPEN = Limits(
    min_notes=1,
    min_onsets=1,
    min_pitches=1,
    min_seconds=0,
    max_notes_per_second=999,
    max_lengthened=9,
    max_same_pitch_share=99,
    max_same_duration_share=99,
    max_merged=9,
)
"""Thresholds that all songs of the synthetic index pass."""


@pytest.fixture(scope="module")
def tables():
    """An index of songs with figures drawn at random, some of them unknown, and a ledger."""
    index, ledger = make_tables(400, seed=3)
    random = np.random.default_rng(5)
    rows = index.to_pylist()
    for number, row in enumerate(rows):
        row |= {name: max(value, 1) for name, value in row.items() if type(value) is int}
        row["same_duration_share"] = None if number % 7 == 0 else float(random.random())
        row["key_fit"] = None if number % 7 == 0 else float(random.random())
        row["durations_lengthened"] = int(random.integers(0, row["notes"]))
        row["bpm"] = float(random.gamma(30, 4))
    return pa.Table.from_pylist(rows, INDEX_SCHEMA), ledger


@pytest.fixture(scope="module")
def table(tables):
    return what_if(*tables, OPEN)


def test_a_query_keeps_the_songs_that_the_table_predicts(tables, table):
    representative = tables[0]["representative"].to_numpy()
    for row in table:
        unknown = f" or {row['expression']} is null" if row["rule"] else ""
        for keep in row["thresholds"][::4]:
            where = f"{row['expression']} {row['comparison']} {keep['threshold']}{unknown}"
            if keep["threshold"] is not None:
                fits = matching_songs(tables[0], where)
                assert keep["songs"] == (fits & representative).sum(), where


def test_a_run_with_a_threshold_keeps_the_songs_that_the_table_predicts(tables, table):
    songs = [row for row in tables[0].to_pylist() if row["representative"]]
    assert [rejection(song, OPEN) for song in songs] == [None] * len(songs)
    for row in table[: len(RULES)]:
        kind = type(getattr(Limits(), row["setting"]))
        for keep in row["thresholds"]:
            limits = dataclasses.replace(OPEN, **{row["setting"]: kind(keep["threshold"])})
            kept = [song for song in songs if rejection(song, limits) is None]
            assert len(kept) == keep["songs"], (row["setting"], keep)


def test_a_threshold_keeps_its_share_and_the_next_tighter_one_does_not(tables, table):
    songs = tables[0].filter(tables[0]["representative"])
    for row in (row for row in table if row["expression"] in INDEX_SCHEMA.names):
        sign = 1 if row["comparison"] == ">=" else -1
        values = sign * np.array(songs[row["expression"]].to_pylist(), np.float64)
        passing = int(np.isnan(values).sum()) if row["rule"] else 0
        for keep in row["thresholds"]:
            wanted = keep["share"] * len(values)
            if keep["threshold"] is None:
                assert (~np.isnan(values)).sum() + passing < wanted
                continue
            digit = 10.0 ** (np.floor(np.log10(abs(keep["threshold"]) or 1e-9)) - 2)
            tighter = sign * keep["threshold"] + digit - 1e-9 * digit
            assert keep["songs"] >= wanted > (values >= tighter).sum() + passing


def test_files_that_a_rule_rejected_are_shown_with_their_values(tables, table):
    ledger = tables[1].to_pylist()
    for row in table[: len(RULES)]:
        values = [one["value"] for one in ledger if one["rule"] == row["rule"]]
        rejected = row["rejected"]
        assert rejected["files"] == len(values)
        if values:
            ends = (max, min) if row["comparison"] == ">=" else (min, max)
            assert [rejected["nearest"], rejected["furthest"]] == [end(values) for end in ends]
    assert sum(row["rejected"]["files"] for row in table[: len(RULES)]) > 0


def test_an_empty_index_has_no_thresholds():
    index, ledger = (table.slice(0, 0) for table in make_tables(3))
    keeps = [keep for row in what_if(index, ledger, Limits()) for keep in row["thresholds"]]
    assert {(keep["threshold"], keep["songs"]) for keep in keeps} == {(None, None)}


def test_the_command_prints_thresholds_and_what_a_condition_keeps(dataset):
    result = CliRunner().invoke(cli, ["what-if", str(dataset.path)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert {"min_notes", "instruments"} <= {line.split()[0] for line in lines if line}
    where = "notes >= 1000"
    result = CliRunner().invoke(cli, ["what-if", str(dataset.path), "--where", where])
    rows = [line.split() for line in result.stdout.splitlines()]
    found = {row[0]: int(row[1]) for row in rows if row[0] in ("train", "valid", "test")}
    index = dataset.index
    fits = matching_songs(index, where) & index["representative"].to_numpy()
    split = np.array(index["split"].to_pylist())
    assert found == {name: int((fits & (split == name)).sum()) for name in found}
    assert 0 < sum(found.values()) < sum(index["representative"].to_pylist())
    result = CliRunner().invoke(cli, ["what-if", str(dataset.path), "--where", "instrument > 2"])
    assert result.exit_code == 1
    assert "instrument" in result.stderr


def test_shares_fall_from_all_to_half():
    assert sorted(SHARES, reverse=True) == [*SHARES]
