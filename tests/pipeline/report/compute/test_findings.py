"""A finding appears where its fact does, and a sound dataset has none."""

import copy

import pyarrow as pa
import pytest

from pipeline.config import DataSettings
from pipeline.duplicates.splits import SplitSettings
from pipeline.report.compute.findings import LOSES, MISLEADS, NOTE, findings
from pipeline.report.compute.folders import MAX_FOLDERS
from pipeline.report.compute.note_counts import NoteCounts
from pipeline.report.compute.report import build_report
from pipeline.report.html.report_page import CONTENTS
from pipeline.report.schema import Report
from shards.layout import INDEX_SCHEMA, LEDGER_SCHEMA
from shards.vocabulary import CodecSettings, Vocabulary

SONGS = 400
COUNTS = NoteCounts(Vocabulary())
METERS = ("4/4", "3/4", "6/8")


def song(number, **other):
    """A row of the index; of every ten, one is held out for valid and one for test."""
    return {
        **dict.fromkeys(INDEX_SCHEMA.names, 1),
        "path": f"music/{'abcd'[number % 4]}/{number}.mid",
        "md5": f"{number:032x}",
        "cluster": number,
        "representative": True,
        "split": {8: "valid", 9: "test"}.get(number % 10, "train"),
        "duplicate": None,
        "notes": 1000,
        "tokens": 2000,
        "seconds": 200.0,
        "bpm": 60.0 + number % 100,
        "meter": METERS[number // 10 % 3],
        "programs": [0, 1],
        "velocities": 10,
        "notes_merged": 0,
        "notes_outside_map": 0,
        "key": "C",
        "tier": "strict",
        "beat_repair": "none",
        "meter_stated": True,
        "unaligned": False,
        "silences": [],
        "silence_seconds": 0.0,
        **other,
    }


def file(row, **other):
    """The row of the ledger of a kept song, or of another file."""
    kept = {name: row.get(name) for name in ("path", "md5", "tier")}
    ledger = dict.fromkeys(LEDGER_SCHEMA.names)
    return {**ledger, **kept, "outcome": "kept", "bytes": 1, "repairs": [], **other}


def report_of(songs, others=()) -> Report:
    ledger = [file(row, song=number) for number, row in enumerate(songs)] + list(others)
    return build_report(
        pa.Table.from_pylist(songs, INDEX_SCHEMA),
        pa.Table.from_pylist(ledger, LEDGER_SCHEMA),
        COUNTS,
        DataSettings(),
    )


@pytest.fixture(scope="module")
def sound():
    return report_of([song(number) for number in range(SONGS)])


def changed(sound, *keys, to):
    """The report with one value replaced; `findings` reads nothing but the report."""
    report = copy.deepcopy(sound)
    *way, last = keys
    part = report
    for key in way:
        part = part[key]
    part[last] = to
    return report


def codes(report):
    return [one["code"] for one in findings(report, SplitSettings())]


def test_a_sound_dataset_has_no_finding(sound):
    assert sound["findings"] == []


def lost(outcome, rule, files):
    reason = {"outcome": outcome, "rule": rule, "files": files, "examples": []}
    return ("reasons",), [reason]


FACTS = [
    ("small_split", ("totals", "test", "songs"), 15, 16),
    ("leakage", ("duplicates", "clusters_in_two_splits"), 1, 0),
    ("missing_meter", ("split_meters", "valid"), {"4/4": 1, "3/4": 1},
     {"4/4": 1, "3/4": 1, "6/8": 1}),
    ("rule", *lost("rejected", "too_few_notes", 20), lost("rejected", "too_few_notes", 19)[1]),
    ("rejected", *lost("rejected", "too_few_notes", 19), []),
    ("unread", *lost("unreadable", "not_midi", 2), lost("unreadable", "not_midi", 1)[1]),
    ("unread", *lost("timeout", None, 1), []),
    ("salvaged", ("reading", "tiers", "salvage"), 3, 2),
    ("repaired", ("reading", "tiers", "tolerant"), 5, 4),
    ("silence", ("silence", "hours"), 1.2, 1.1),
    ("copies", ("funnel", 2, "lost"), [{"outcome": "kept", "rule": "identical_file", "files": 3}],
     [{"outcome": "kept", "rule": "identical_file", "files": 2}]),
    ("near_duplicates", ("funnel", 2, "lost"),
     [{"outcome": "kept", "rule": "near_duplicate", "files": 5}],
     [{"outcome": "kept", "rule": "near_duplicate", "files": 4}]),
    ("large_cluster", ("duplicates", "largest", 0, "songs"), 21, 20),
    ("folder", ("folders", 0, "files"), 201, 200),
    ("losing_folder", ("folders", 0, "kept"), 90, 91),
    ("off_grid_folder", ("folders", 0, "onset_error_ms"), 5.0, 4.9),
    ("common_tempo", ("tempo", "songs"), 61, 60),
    ("one_meter", ("meters",), {"4/4": 381, "3/4": 19}, {"4/4": 380, "3/4": 20}),
    ("unaligned", ("unaligned_songs",), 41, 40),
    ("flat_velocities", ("distributions", "velocities", "counts"), [0, 60, 61, 279],
     [0, 60, 60, 280]),
    ("merged", ("losses", "notes_merged", "occurrences"), 24_001, 24_000),
    ("unmapped", ("losses", "notes_outside_map", "occurrences"), 4_001, 4_000),
]  # fmt: skip
"""Code, place in the report, a value that is a fact, and the nearest that is none."""


@pytest.mark.parametrize(("code", "keys", "fact", "none"), FACTS)
def test_a_finding_appears_with_its_fact_and_not_just_below(sound, code, keys, fact, none):
    if code == "flat_velocities":
        sound = changed(sound, "distributions", "velocities", "edges", to=[0, 1, 2, 3, 33])
    if code == "losing_folder":  # the files not kept are not kept elsewhere either
        assert sound["folders"][0]["files"] == 100
    assert code in codes(changed(sound, *keys, to=fact))
    assert code not in codes(changed(sound, *keys, to=none))


@pytest.mark.parametrize(("code", "keys", "fact", "none"), FACTS)
def test_a_finding_leads_to_a_section_and_says_what_to_do(sound, code, keys, fact, none):
    for one in findings(changed(sound, *keys, to=fact), SplitSettings()):
        assert one["anchor"] in CONTENTS
        assert one["advice"].endswith(".")
        assert one["advice"].count("`") % 2 == 0
        assert int(one["weight"]) in (MISLEADS, LOSES, NOTE)


def test_the_heaviest_finding_comes_first(sound):
    report = changed(sound, "unaligned_songs", to=300)
    report["totals"]["test"]["songs"] = 4
    report["reading"]["tiers"]["tolerant"] = 399
    report["losses"]["notes_outside_map"]["occurrences"] = 8_000
    assert codes(report) == ["small_split", "unaligned", "unmapped", "repaired"]


def test_a_split_that_was_not_asked_for_may_be_empty(sound):
    report = changed(sound, "totals", "test", "songs", to=0)
    assert [one["title"] for one in findings(report, SplitSettings())] == ["test holds 0 songs"]
    assert findings(report, SplitSettings(test=0.0)) == []


def test_facts_are_counted_from_the_tables():
    songs = [song(n, **({"bpm": 120.2} if n < 90 else {})) for n in range(SONGS)]
    for row in songs:
        if row["path"].startswith("music/d/"):
            row["onset_error_ms"] = 8.0
        if row["split"] == "test":
            row["meter"] = "4/4"
    bad = [
        file({"path": f"music/e/{n}"}, outcome="rejected", rule="too_short", value=1.0)
        for n in range(55)
    ]
    report = report_of(songs, bad)
    titles = [one["title"] for one in report["findings"]]
    assert titles == [
        "test has no song in 3/4, 6/8 (58.5 % of all songs)",
        "onsets of d lie 8 ms off the grid",
        "23.2 % of songs share a tempo of 120",
        "12.1 % of files rejected by one rule: too short",
        "100.0 % of e was not kept, 0.0 % of the rest",
    ]
    assert "--min-seconds" in report["findings"][3]["advice"]


def test_one_folder_that_holds_most_is_named_and_its_rows_add_up():
    songs = [song(n, path=f"x/y/{'big' if n % 5 else 'small'}/{n}.mid") for n in range(SONGS)]
    report = report_of(songs)
    assert [one["title"] for one in report["findings"]] == ["one folder holds 80.0 % of files: big"]
    assert [(row["folder"], row["files"], row["kept"]) for row in report["folders"]] == [
        ("big", 320, 320),
        ("small", 80, 80),
    ]


def test_many_folders_are_added_up_in_the_last_row():
    songs = [song(n, path=f"{n % 50:02}/{n}.mid") for n in range(SONGS)] + [song(SONGS, path="z")]
    rows = report_of(songs)["folders"]
    assert len(rows) == MAX_FOLDERS
    assert [row["folder"] for row in rows[:3]] == ["00", "01", "02"]
    assert rows[-1]["folder"] is None
    assert sum(row["folders"] for row in rows) == 51
    assert sum(row["files"] for row in rows) == SONGS + 1
    assert sum(sum(row["split_songs"].values()) for row in rows) == SONGS + 1


def test_the_folder_that_holds_everything_is_not_a_row():
    for paths in (["all/a/1", "all/b/2"], ["a-b/1", "a/2"], ["a/1", "a/2"], ["1", "a/2"]):
        songs = [song(number, path=path) for number, path in enumerate(paths)]
        found = [row["folder"] for row in report_of(songs)["folders"]]
        assert (
            found
            == {
                "all/a/1": ["a", "b"],
                "a-b/1": ["a", "a-b"],
                "a/1": ["."],
                "1": [".", "a"],
            }[paths[0]]
        )


def test_settings_that_differ_from_the_defaults_are_named_and_no_other():
    index, ledger = (pa.Table.from_pylist([], schema) for schema in (INDEX_SCHEMA, LEDGER_SCHEMA))
    other = DataSettings(codec=CodecSettings(steps_per_beat=12), split=SplitSettings(test=0.1))
    assert build_report(index, ledger, COUNTS, other)["settings"] == [
        {"name": "codec.steps_per_beat", "value": "12", "default": "24"},
        {"name": "split.test", "value": "0.1", "default": "0.05"},
    ]
