"""The report against its tables, each number counted again by hand."""

import json
import re
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import DataSettings
from pipeline.report.compute.histograms import MEASURES, even, octaves
from pipeline.report.compute.note_counts import NoteCounts
from pipeline.report.compute.report import build_report
from pipeline.report.html.report_page import report_html
from pipeline.report.number_format import digits, hours, share, short
from pipeline.report.terminal.summary import report_text
from shards.gm import FAMILY_NAMES, PROGRAM_NAMES
from shards.layout import INDEX_SCHEMA, LEDGER_SCHEMA, OUTCOMES, SPLITS
from shards.vocabulary import Vocabulary

VOCABULARY = Vocabulary()
SIZE = len(NoteCounts(VOCABULARY).vector)
COUNTS = NoteCounts(VOCABULARY, np.random.default_rng(0).integers(0, 9, SIZE))
HOSTILE = (
    '<script>alert("&amp;")</script>.mid',
    "'\"><img src=x onerror=alert(1)>.mid",
    "x" * 300 + ".mid",
    "bell\a null\0 newline\n escape\x1b[31m.mid",
    "\u202egnp.dim",
    "モーツァルト/شوپن/Шопен \U0001f3b9.mid",
    "</td></table></body>.mid",
)
RULES = {
    "rejected": (
        "too_few_notes",
        "too_short",
        "no_notes",
        "too_dense",
        "too_long",
        "too_many_bars",
    ),
    "unreadable": ("not_midi", "empty", "no_tracks"),
    "refused": ("too_large", "link"),
}


def song_row(random, number, path):
    """A row of the index with everything drawn at random but its cluster's needs."""
    programs = sorted(random.choice(128, random.integers(0, 6), replace=False).tolist())
    notes = int(random.integers(50, 20_000))
    return {
        **{name: int(random.integers(0, 40)) for name in INDEX_SCHEMA.names},
        **{name: float(random.gamma(2, 4)) for name in ("onset_error_ms", "onset_error_ms_95")},
        "path": path,
        "md5": f"{number:032x}",
        "notes": notes,
        "tokens": int(notes * random.uniform(2, 4)),
        "seconds": float(random.gamma(3, 80)),
        "bars": int(random.integers(4, 500)),
        "key": "C",
        "duplicate": None,
        "beat_repair": "none",
        "meter_stated": bool(number % 5),
        "unaligned": bool(number % 3 == 0),
        "meter": str(random.choice(["4/4", "3/4", "6/8", "7/8"])),
        "bpm": float(random.uniform(20, 300)),
        "programs": programs,
        "instruments": len(programs),
        "drum_share": float(random.choice([0.0, 0.3, 1.0])),
        "pitch_low": int(random.integers(0, 60)) if programs else None,
        "pitch_high": int(random.integers(60, 128)) if programs else None,
        "pitch_class_entropy": float(random.uniform(0, 3.585)),
        "notes_per_second": float(random.gamma(2, 10)),
        "polyphony": float(random.gamma(2, 3)),
        "silence_seconds": float(random.choice([0.0, random.gamma(1, 20)])),
        "silences": [],
        "tier": "strict",
    }


def ledger_row(random, path, md5, outcome):
    rules = RULES.get(outcome)
    was_read = outcome in ("kept", "rejected")
    codes = ["unended_note", "data_byte", "track_length"][: random.integers(0, 4)]
    return {
        "path": path,
        "bytes": int(random.integers(0, 100_000)),
        "md5": md5,
        "outcome": outcome,
        "rule": str(random.choice(rules)) if rules else None,
        "value": float(random.integers(0, 50)) if outcome == "rejected" else None,
        "threshold": 50.0 if outcome == "rejected" else None,
        "detail": None if was_read else "what went wrong",
        "tier": str(random.choice(["strict", "tolerant", "salvage"])) if was_read else None,
        "repairs": [(code, int(random.integers(1, 9))) for code in codes] if was_read else None,
        "song": None,
    }


def make_tables(files, seed=0, paths=(), outcomes=tuple(OUTCOMES)):
    """An index and a ledger that agree with each other."""
    random = np.random.default_rng(seed)
    index, ledger = [], []
    for number in range(files):
        path = paths[number] if number < len(paths) else f"folder/{number}.mid"
        outcome = str(random.choice(outcomes)) if random.random() < 0.5 else outcomes[0]
        row = ledger_row(random, path, f"{number:032x}", outcome)
        if outcome == "kept":
            row["song"] = len(index)
            index.append(song_row(random, number, path))
        ledger.append(row)
    _cluster(random, index)
    return pa.Table.from_pylist(index, INDEX_SCHEMA), pa.Table.from_pylist(ledger, LEDGER_SCHEMA)


def _cluster(random, index):
    """Make a third of the songs duplicates of earlier ones: some the same bytes, some covers."""
    for number, row in enumerate(index):
        copied = index[random.integers(0, number)] if number and random.random() < 0.3 else None
        row["representative"] = copied is None
        row["cluster"] = copied["cluster"] if copied else number
        row["split"] = copied["split"] if copied else str(random.choice(SPLITS))
        if copied and random.random() < 0.5:
            row["md5"] = copied["md5"]
        elif copied:
            row["representative"] = bool(random.random() < 0.2)  # a cover


@pytest.fixture(scope="module", params=[(400, 1), (3, 2), (1, 3)], ids=["many", "few", "one"])
def tables(request):
    return make_tables(*request.param)


@pytest.fixture(scope="module")
def report(tables):
    return build_report(*tables, COUNTS, DataSettings())


@pytest.fixture(scope="module")
def index_rows(tables):
    return tables[0].to_pylist()


@pytest.fixture(scope="module")
def ledger_rows(tables):
    return tables[1].to_pylist()


@pytest.fixture(scope="module")
def songs(index_rows):
    return [row for row in index_rows if row["representative"]]


def test_each_stage_of_the_funnel_is_the_one_before_less_its_losses(report):
    stages = report["funnel"]
    for stage, after in pairwise(stages):
        assert stage["files"] - sum(lost["files"] for lost in stage["lost"]) == after["files"]
    splits = sum(report["totals"][split]["songs"] for split in SPLITS)
    assert stages[-1]["files"] == splits


def test_the_funnel_counts_what_the_tables_hold(report, index_rows, ledger_rows, songs):
    outcomes = Counter(row["outcome"] for row in ledger_rows)
    counted = {stage["stage"]: stage["files"] for stage in report["funnel"]}
    assert counted == {
        "found": len(ledger_rows),
        "readable": outcomes["kept"] + outcomes["rejected"],
        "kept": outcomes["kept"],
        "representative": len(songs),
    }
    reasons = {(r["outcome"], r["rule"]): r["files"] for r in report["reasons"]}
    by_hand = Counter((r["outcome"], r["rule"]) for r in ledger_rows if r["outcome"] != "kept")
    assert reasons == by_hand
    duplicates = {lost["rule"]: lost["files"] for lost in report["funnel"][2]["lost"]}
    same_bytes = len(index_rows) - len({row["md5"] for row in index_rows})
    assert duplicates.get("identical_file", 0) == same_bytes
    assert duplicates.get("near_duplicate", 0) == len(index_rows) - len(songs) - same_bytes


def test_examples_are_files_of_their_reason_and_differ(report, ledger_rows):
    rows = {row["path"]: row for row in ledger_rows}
    for reason in report["reasons"]:
        assert len(reason["examples"]) == min(reason["files"], 5)
        assert len({example["path"] for example in reason["examples"]}) == len(reason["examples"])
        for example in reason["examples"]:
            row = rows[example["path"]]
            assert (row["outcome"], row["rule"]) == (reason["outcome"], reason["rule"])
            assert all(row[name] == value for name, value in example.items())


def test_totals_are_sums_over_the_songs(report, index_rows, songs):
    parts = {"kept": index_rows, "representative": songs}
    parts |= {split: [row for row in songs if row["split"] == split] for split in SPLITS}
    for name, rows in parts.items():
        total = report["totals"][name]
        assert total["songs"] == len(rows)
        for column in ("tokens", "notes", "bars"):
            assert total[column] == sum(row[column] for row in rows)
        hours_by_hand = sum(row["seconds"] for row in rows) / 3600
        assert total["hours"] == pytest.approx(hours_by_hand, rel=1e-5)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_distribution_counts_every_song_once(measure, report, songs):
    spread = report["distributions"][measure.name]
    column = measure.column or measure.name
    values = [row[column] / (row[measure.per] if measure.per else 1) for row in songs]
    values = [value for value in values if value > 0 or not measure.positive]
    edges = spread["edges"]
    assert spread["songs"] == len(values)
    assert spread["below"] + sum(spread["counts"]) + spread["above"] == len(values)
    for low, high, found in zip(edges, edges[1:], spread["counts"], strict=False):
        assert found == sum(low <= value < high for value in values)
    if values:
        assert spread["above"] == sum(value >= measure.edges[-1] for value in values)
        assert spread["median"] == pytest.approx(statistics.median(values), rel=1e-5)
        assert spread["mean"] == pytest.approx(statistics.fmean(values), rel=1e-5)
        assert spread["min"] == pytest.approx(min(values), rel=1e-5)
        assert spread["max"] == pytest.approx(max(values), rel=1e-5)
        assert spread["p5"] <= spread["median"] <= spread["p95"]


def test_meters_pitches_programs_and_losses_are_counted_over_the_songs(report, songs):
    assert report["meters"] == Counter(row["meter"] for row in songs)
    for name in ("pitch_low", "pitch_high"):
        by_hand = Counter(row[name] for row in songs)
        assert report["pitch"][name] == [by_hand[pitch] for pitch in range(128)]
    programs = Counter(program for row in songs for program in row["programs"])
    families = Counter(family for row in songs for family in {p // 8 for p in row["programs"]})
    found = report["programs"]
    assert found["songs"] == {name: programs[n] for n, name in enumerate(PROGRAM_NAMES)}
    assert found["family_songs"] == {
        **{name: families[n] for n, name in enumerate(FAMILY_NAMES)},
        "Drums": sum(row["drum_share"] > 0 for row in songs),
    }
    for name, loss in report["losses"].items():
        assert loss["occurrences"] == sum(row[name] for row in songs)
        assert loss["songs"] == sum(row[name] > 0 for row in songs)
    assert report["unaligned_songs"] == sum(row["unaligned"] for row in songs)
    silent = [row["silence_seconds"] for row in songs]
    assert report["silence"]["songs"] == sum(seconds > 0 for seconds in silent)
    assert report["silence"]["hours"] == pytest.approx(sum(silent) / 3600)


def test_tiers_and_repairs_are_counted_over_the_ledger(report, ledger_rows):
    tiers = Counter(row["tier"] for row in ledger_rows if row["tier"])
    assert report["reading"]["tiers"] == {t: tiers[t] for t in ("strict", "tolerant", "salvage")}
    files, times = Counter(), Counter()
    for row in ledger_rows:
        for code, often in row["repairs"] or []:
            files[code] += 1
            times[code] += often
    by_hand = {code: {"files": files[code], "occurrences": times[code]} for code in files}
    assert report["reading"]["repairs"] == by_hand


def test_clusters_are_counted_over_the_index(report, index_rows):
    clusters = defaultdict(list)
    for number, row in enumerate(index_rows):
        clusters[row["cluster"]].append((number, row))
    found = report["duplicates"]
    sizes = Counter(len(members) for members in clusters.values())
    assert dict(found["sizes"]) == sizes
    assert found["clusters"] == len(clusters)
    assert found["covers"] == sum(row["representative"] for row in index_rows) - len(clusters)
    assert [one["songs"] for one in found["largest"]] == sorted(
        (len(members) for members in clusters.values()), reverse=True
    )[:10]
    for one in found["largest"]:
        members = clusters[index_rows[one["song"]]["cluster"]]
        representative = next(number for number, row in members if row["representative"])
        assert one["song"] == representative
        assert one["path"] == index_rows[representative]["path"]
        assert one["distinct_files"] == len({row["md5"] for _, row in members})
    assert (found["clusters_in_two_splits"], found["files_in_two_splits"]) == (0, 0)


def test_a_duplicate_in_another_split_is_reported_as_leakage():
    index, ledger = make_tables(60, seed=4)
    rows = index.to_pylist()
    copy = next(row for row in rows if not row["representative"])
    copy["split"] = next(split for split in SPLITS if split != copy["split"])
    report = build_report(pa.Table.from_pylist(rows, INDEX_SCHEMA), ledger, COUNTS, DataSettings())
    assert report["duplicates"]["clusters_in_two_splits"] == 1
    assert "Leakage" in report_html(report)
    assert "duplicates across splits" in report_text(report)


def test_the_same_tables_give_the_same_bytes_however_they_are_chunked():
    index, ledger = make_tables(90, seed=5)
    pieces = [pa.concat_tables([table.slice(0, 31), table.slice(31)]) for table in (index, ledger)]
    whole, cut = (build_report(*pair, COUNTS, DataSettings()) for pair in ((index, ledger), pieces))
    assert json.dumps(whole) == json.dumps(cut)
    assert report_html(whole) == report_html(cut)
    assert report_text(whole) == report_text(cut)


def test_a_slice_of_a_table_is_reported_as_itself():
    index, ledger = make_tables(90, seed=6)
    part = ledger.slice(40)
    report = build_report(index, part, COUNTS, DataSettings())
    files = sum(bool(row["repairs"]) for row in part.to_pylist())
    assert max(repair["files"] for repair in report["reading"]["repairs"].values()) <= files


def test_report_json_is_plain_json_and_holds_all_that_the_page_needs(report):
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again == report
    assert report_html(again) == report_html(report)
    assert report_text(again) == report_text(report)


@pytest.mark.parametrize("kept", [False, True])
def test_a_dataset_of_nothing_is_reported(kept):
    index, ledger = make_tables(4 if not kept else 0, outcomes=("unreadable",))
    report = build_report(index, ledger, COUNTS, DataSettings())
    assert report["totals"]["representative"]["songs"] == 0
    assert "No song to measure." in report_html(report)
    assert report_text(report)


@pytest.mark.parametrize("files", [0, 1, 400, 3000])
def test_the_terminal_summary_fits_one_screen(files):
    lines = report_text(
        build_report(*make_tables(files, seed=7), COUNTS, DataSettings())
    ).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 37  # the command adds two lines, the shell its prompt
    assert all(line == line.rstrip() and line.isprintable() for line in lines)


def test_the_terminal_summary_shows_alignment_controls_and_grid_errors():
    report = build_report(*make_tables(400, seed=9), COUNTS, DataSettings())
    songs = report["totals"]["representative"]["songs"]
    remarks = {line[:17].rstrip(): line[17:] for line in report_text(report).splitlines()}
    assert remarks["unaligned"].split(",")[0] == f"{report['unaligned_songs']} songs"
    bends = report["controls"]["bends"]
    assert share(bends["songs"], songs) in remarks["controls"]
    assert (
        share(bends["tokens"], report["totals"]["representative"]["tokens"]) in remarks["controls"]
    )
    own = next(grid for grid in report["note_counts"]["grids"] if grid["steps_per_beat"] == 24)
    assert f"[24: {own['mean_ms']:.1f}]" in remarks["grid error, ms"]


def test_what_was_passed_over_is_in_the_report_and_on_the_terminal_with_its_number():
    index, ledger = make_tables(400, seed=9)
    rows = [row for row in ledger.to_pylist() if row["outcome"] != "refused"]
    refused = next(row for row in ledger.to_pylist() if row["outcome"] == "refused")
    rules = ("link_to_folder", "archive_in_archive", "unread_7z", "unread_rar", "unread_midi2")
    for number, rule in enumerate(rules, 11):
        rows += [{**refused, "rule": rule}] * number
    report = build_report(index, pa.Table.from_pylist(rows, LEDGER_SCHEMA), COUNTS, DataSettings())
    lost = {reason["rule"]: reason["files"] for reason in report["funnel"][0]["lost"]}
    assert [lost[rule] for rule in rules] == [11, 12, 13, 14, 15]
    text = " ".join(report_text(report).split())
    phrases = "11 links to folders, 12 archives in archives, 13 .7z, 14 .rar, 15 .midi2"
    assert f"not read {phrases}" in text
    assert len(report_text(report).splitlines()) <= 37


def test_the_terminal_summary_loses_no_file():
    index, ledger = make_tables(3000, seed=8)
    text = report_text(build_report(index, ledger, COUNTS, DataSettings()))
    lost = [int(number.replace(",", "")) for number in re.findall(r" - ([\d,]+) ", text)]
    assert sum(lost) == ledger.num_rows - sum(index["representative"].to_pylist())


class Page(HTMLParser):
    """Tags, attributes and shown text of a page."""

    VOID = frozenset({"meta", "rect", "line"})

    def __init__(self, source):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = Counter(), [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def hostile_page():
    index, ledger = make_tables(40, seed=9, paths=HOSTILE)
    rows = ledger.to_pylist()
    for row, path in zip(rows, HOSTILE, strict=False):
        row |= {"outcome": "unreadable", "rule": "<b>", "detail": path, "song": None}
    for row in rows[len(HOSTILE) :]:
        row["rule"] = row["rule"] or "other"
    ledger = pa.Table.from_pylist(rows, LEDGER_SCHEMA)
    pages = []
    for shown in (HOSTILE[:4], HOSTILE[4:]):
        others = [row for row in rows if row["path"] not in HOSTILE or row["path"] in shown]
        table = pa.Table.from_pylist(others, LEDGER_SCHEMA)
        pages.append(report_html(build_report(index, table, COUNTS, DataSettings())))
    return pages


def test_hostile_names_are_shown_as_text(hostile_page):
    shown = "\n".join(piece for page in hostile_page for piece in Page(page).text)
    for path in HOSTILE:
        visible = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in path
        )
        assert shown.count(visible) >= 2, path  # as a name, and in the detail


def test_hostile_names_add_no_tag_and_no_control_character(hostile_page):
    for source in hostile_page:
        page = Page(source)
        assert not page.open
        assert not {"script", "img", "b>"} & set(page.tags)
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert all(letter.isprintable() or letter == "\n" for letter in source)


def test_the_page_fetches_nothing_and_runs_nothing(report):
    source = report_html(report)
    page = Page(source)
    assert not re.search(r"https?:|//|url\(|@import", source.replace("</", ""))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "src" not in {name for name, _ in page.attributes}
    anchors = {f"#{value}" for name, value in page.attributes if name == "id"}
    assert {value for name, value in page.attributes if name == "href"} <= anchors
    assert "default-src 'none'" in source


def test_every_chart_has_a_sentence_and_a_description(report):
    source = report_html(report)
    page = Page(source)
    assert page.tags["figure"] == page.tags["figcaption"] == len(MEASURES) + 5
    assert source.count("<svg ") == source.count('role="img" aria-label=')


def test_the_page_shows_the_headline_figures():
    index, ledger = make_tables(3000, seed=10)
    report = build_report(index, ledger, COUNTS, DataSettings())
    text = " ".join(Page(report_html(report)).text)
    representative = report["totals"]["representative"]
    for figure in (
        f"{representative['songs']:,}",
        short(representative["tokens"]),
        hours(representative["hours"]),
    ):
        assert figure in text
    for split in SPLITS:
        assert f"{report['totals'][split]['tokens']:,}" in text


def test_computing_a_report_loads_no_code_that_draws_it():
    code = (
        "import sys, pipeline.report.compute.report, pipeline.report.compute.compare\n"
        "drawing = ('jinja2', 'pipeline.report.html', 'pipeline.report.terminal')\n"
        "print([name for name in sys.modules if name.startswith(drawing)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_are_written_as_people_read_them():
    assert [digits(number) for number in (0, 0.01234, 1.5, 12.345, 60, 1234.5)] == [
        "0", "0.0123", "1.5", "12.3", "60", "1,234",
    ]  # fmt: skip
    assert [short(number) for number in (999, 1234, 999_999, 2.5e9)] == [
        "999", "1.23 k", "1 M", "2.5 G",
    ]  # fmt: skip
    assert [share(*pair) for pair in ((1, 3), (1, 10_000), (9_999, 10_000), (0, 0), (2, 2))] == [
        "33.3 %", "< 0.1 %", "> 99.9 %", "-", "100.0 %",
    ]  # fmt: skip
    assert (hours(0.5), hours(26.04)) == ("30 min", "26 h")


def test_bins_double_by_octaves_or_are_even():
    assert octaves(16, 64, 2) == (16, 23, 32, 46, 64)
    assert even(0, 1, 0.25) == (0, 0.25, 0.5, 0.75, 1)
    assert all(np.all(np.diff(measure.edges) > 0) for measure in MEASURES)


def test_a_report_holds_no_copy_of_the_index():
    index, ledger = (pa.concat_tables([table] * 500) for table in make_tables(400))
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        build_report(index, ledger, COUNTS, DataSettings())
    finally:
        pa.set_memory_pool(before)
    assert pool.max_memory() < index.nbytes / 4
