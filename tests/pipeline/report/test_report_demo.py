"""The demo corpus' report: every number found again in ledger, index and shards, and its page
in a real browser.
"""

import re
import shutil
import statistics
from collections import Counter

import pytest
from click.testing import CliRunner
from markupsafe import escape

from pipeline.browse.originals import Originals
from pipeline.cli import cli
from pipeline.report.compute.compare import read_side
from pipeline.report.compute.histograms import MEASURES
from pipeline.report.compute.rolls import beginning
from pipeline.report.compute.timing import timings_page_path
from pipeline.report.html.compare_page import compare_html
from pipeline.report.html.report_page import report_html
from pipeline.report.html.roll_chart import roll_chart
from shards.layout import SPLITS
from shards.reader import decode_song, read_json
from shards.text import visible
from tests.pipeline.browse.browser import (
    NARROW,
    OUTSIDE,
    OVERLAPS,
    WIDE,
    barriers,
    chromium,
    console,
    needs_browser,
    set_screen,
)
from trainer.data.sampler import ContiguousBatchSampler


@pytest.fixture(scope="module")
def report(dataset):
    return read_json(dataset.path / "report.json")


@pytest.fixture(scope="module")
def rows(dataset):
    """The index, with values from the shards in place of its own."""
    rows = dataset.index.to_pylist()
    for number, row in enumerate(rows):
        encoded = dataset.song(number)
        song = dataset.codec.decode(encoded)
        programs = sorted({int(n) for n in song.notes["instrument"] if n < 128})
        row |= {
            "tokens": len(encoded),
            "notes": int(dataset.vocabulary.is_note(encoded.tokens).sum()),
            "bars": int(encoded.bars.max()) + 1,
            "seconds": float(song.seconds(song.end)),
            "programs": programs,
            "instruments": len(programs),
            "drums": int((song.notes["instrument"] >= 128).sum()),
        }
    return rows


@pytest.fixture(scope="module")
def songs(rows):
    return [row for row in rows if row["representative"]]


def test_the_funnel_is_the_ledgers_and_adds_up(report, dataset, rows, songs):
    ledger = dataset.ledger().to_pylist()
    stages = {stage["stage"]: stage for stage in report["funnel"]}
    readable = [row for row in ledger if row["outcome"] in ("kept", "rejected")]
    assert [stage["files"] for stage in report["funnel"]] == [
        len(ledger), len(readable), len(rows), len(songs),
    ]  # fmt: skip
    lost = Counter((row["outcome"], row["rule"]) for row in ledger if row["outcome"] != "kept")
    named = [why for stage in ("found", "readable") for why in stages[stage]["lost"]]
    assert {(why["outcome"], why["rule"]): why["files"] for why in named} == lost
    contents = len({row["md5"] for row in rows})
    duplicates = {why["rule"]: why["files"] for why in stages["kept"]["lost"]}
    assert duplicates == {
        "identical_file": len(rows) - contents,
        "near_duplicate": contents - len(songs),
    }
    by_split = Counter(row["split"] for row in songs)
    assert {split: report["totals"][split]["songs"] for split in SPLITS} == by_split


def test_totals_are_what_the_shards_hold(report, rows, songs):
    parts = {"kept": rows, "representative": songs}
    parts |= {split: [row for row in songs if row["split"] == split] for split in SPLITS}
    for name, part in parts.items():
        total = report["totals"][name]
        for column in ("tokens", "notes", "bars"):
            assert total[column] == sum(row[column] for row in part), (name, column)
        assert total["hours"] == pytest.approx(sum(row["seconds"] for row in part) / 3600, rel=1e-5)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_distributions_are_those_of_the_songs(measure, report, songs):
    spread = report["distributions"][measure.name]
    column = measure.column or measure.name
    values = [
        row[column] / (row[measure.per] if measure.per else 1)
        for row in songs
        if row[column] is not None
    ]
    values = [value for value in values if value > 0 or not measure.positive]
    assert spread["songs"] == len(values)
    assert sum(spread["counts"]) + spread["below"] + spread["above"] == len(values)
    if values:
        assert spread["median"] == pytest.approx(statistics.median(values), rel=1e-5)
        assert spread["mean"] == pytest.approx(statistics.fmean(values), rel=1e-5)


def test_programs_and_drums_are_those_of_the_shards(report, songs):
    found = report["programs"]
    programs = Counter(program for row in songs for program in row["programs"])
    assert list(found["songs"].values()) == [programs[n] for n in range(128)]
    families = Counter(f for row in songs for f in {program // 8 for program in row["programs"]})
    drums = sum(row["drums"] > 0 for row in songs)
    assert list(found["family_songs"].values()) == [*(families[n] for n in range(16)), drums]


def test_keys_and_controls_are_those_of_the_index(report, songs):
    assert report["keys"] == Counter(row["key"] for row in songs if row["key"])
    for name, tokens in (("bends", "bend_tokens"), ("modulations", "modulation_tokens")):
        assert report["controls"][name] == {
            "songs": sum(row[name] > 0 for row in songs),
            "occurrences": sum(row[name] for row in songs),
            "tokens": sum(row[tokens] for row in songs),
        }


def test_silence_that_was_cut_adds_up(report, songs):
    for row in songs:
        assert sum(bars for _, bars in row["silences"]) == row["silence_bars"]
    silent = [row["silence_seconds"] for row in songs if row["silences"]]
    assert report["silence"]["songs"] == len(silent)
    assert report["silence"]["hours"] == pytest.approx(sum(silent) / 3600)


@pytest.mark.parametrize("number", range(5))
def test_blocks_are_what_the_trainers_sampler_makes_of_the_songs(number, report, songs):
    use = report["blocks"][number]
    inputs = [row["tokens"] - 1 for row in songs if row["split"] == "train"]
    block, lanes = use["block_size"], 2
    assert use["inputs"] == sum(inputs)
    played, places = {}, {}
    for mode in ("crop", "pad", "join"):
        sampler = ContiguousBatchSampler(inputs, lanes, block_size=block, mode=mode, tail="drain")
        steps = [sampler.spans(0, step) for step in range(len(sampler))]
        filled = [lane for step in steps for lane in step if lane]
        played[mode] = sum(piece.stop - piece.start for lane in filled for piece in lane)
        places[mode] = block * len(filled)
    assert use["inputs"] - use["cropped"] == played["crop"] == places["crop"]
    assert use["songs_cropped"] == sum(n < block for n in inputs)
    assert played["pad"] == use["inputs"]
    assert use["padded"] == places["pad"] - played["pad"]
    assert played["join"] == use["inputs"]
    assert places["join"] - played["join"] < lanes * block  # each lane's last block


def test_the_rolls_are_the_beginnings_of_the_songs_with_the_smallest_checksums(
    report, dataset, songs
):
    paths = [row["path"] for row in sorted(songs, key=lambda row: row["md5"])[:6]]
    assert [roll["path"] for roll in report["rolls"]] == paths
    for roll in report["rolls"]:
        notes = decode_song(dataset, roll["song"]).notes[: len(roll["notes"])]
        assert dataset.index["path"][roll["song"]].as_py() == roll["path"]
        first = int(notes["start"][0])
        assert roll["notes"] == [
            [int(n["start"]) - first, int(n["duration"]), int(n["pitch"]), int(n["instrument"])]
            for n in notes
        ]
        drawn = str(roll_chart(roll))
        lines = len(range(0, max(n[0] + n[1] for n in roll["notes"]), 4 * roll["steps_per_beat"]))
        assert len(re.findall(r"M[\d.]+ ", drawn)) == len(roll["notes"]) + lines


def test_a_file_of_each_rule_is_drawn_as_its_source_begins(report, dataset, demo):
    ledger = dataset.ledger().to_pylist()
    rejected = [row for row in ledger if row["outcome"] == "rejected" and row["rule"] != "no_notes"]
    rules = {row["rule"] for row in rejected}
    assert {roll["rule"] for roll in report["rejected_rolls"]} == rules
    originals = Originals(dataset, [demo[0]])
    for roll in report["rejected_rolls"]:
        row = ledger[roll["file"]]
        assert row["md5"] == min(one["md5"] for one in rejected if one["rule"] == roll["rule"])
        assert [roll[name] for name in ("path", "rule", "value", "threshold")] == [
            row[name] for name in ("path", "rule", "value", "threshold")
        ]
        expected = beginning(originals.song(roll["file"]), row["path"])
        assert roll["notes"] == expected["notes"]
        assert roll["path"] in (dataset.path / "report.html").read_text()


def test_the_page_stays_small(dataset, report):
    assert sum(len(roll["notes"]) for roll in report["rolls"]) <= 6 * 250
    assert (dataset.path / "report.html").stat().st_size < 1_000_000
    assert (dataset.path / "report.json").stat().st_size < 1_000_000


def test_the_planted_faults_are_found_without_being_asked_for(report):
    found = {
        (one["code"], one["title"].partition(": ")[2].split(" ")[0])
        for one in report["findings"]
        if one["code"] in ("unread", "rule", "rejected")
    }
    assert {("unread", "not"), ("unread", "empty")} <= found
    assert {
        "rejected",
        "salvaged",
        "repaired",
        "silence",
        "copies",
        "near_duplicates",
    } <= {one["code"] for one in report["findings"]}


def test_the_command_prints_the_stored_report(dataset, report):
    result = CliRunner().invoke(cli, ["report", str(dataset.path)])
    assert result.exit_code == 0
    assert str(dataset.path / "report.html") in result.stdout
    assert (dataset.path / "report.html").read_text() == report_html(report)


def test_a_report_of_another_version_is_refused(dataset, tmp_path):
    copy = shutil.copytree(dataset.path, tmp_path / "lakh") / "report.json"
    copy.write_text(copy.read_text().replace('"report_version": ', '"report_version": 9'))
    result = CliRunner().invoke(cli, ["report", str(tmp_path)])
    assert result.exit_code == 1
    assert "make the dataset again" in result.stderr


def test_hostile_names_move_no_cursor_in_any_command(hostile):
    for number, path in enumerate(hostile.index["path"].to_pylist()):
        for words in (["show", hostile.path, number], ["show", hostile.path, path]):
            result = CliRunner().invoke(cli, [str(word) for word in words])
            assert result.exit_code == 0, result.output
            assert result.stdout.replace("\n", "").isprintable()
            shown = "".join(visible(path).split())
            assert shown in "".join(result.stdout.split())
    result = CliRunner().invoke(cli, ["show", str(hostile.path), ".mid"])
    assert result.exit_code == 1
    assert result.stderr.replace("\n", "").isprintable()


def test_hostile_names_are_text_in_the_pages(hostile):
    for page in ((hostile.path / "report.html"), timings_page_path(hostile.path)):
        source = page.read_text()
        assert source.replace("\n", "").isprintable()
        assert "<img" not in source
        assert "<b onmouseover" not in source
    shown = (hostile.path / "report.html").read_text()
    bad = [row["path"] for row in hostile.ledger().to_pylist() if row["outcome"] != "kept"]
    assert (
        sum(str(escape(visible(path))) in shown for path in bad) == 5
    )  # five examples of one reason


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (768, True), (NARROW, True)])
@pytest.mark.parametrize("which", ["dataset", "hostile"])
def test_pages_open_from_disk_whole_at_every_width(driver, request, which, width, dark, tmp_path):
    folder = request.getfixturevalue(which).path
    set_screen(driver, width, dark=dark)
    both = tmp_path / "both.html"
    sides = (read_side(request.getfixturevalue(name).path) for name in ("dataset", "hostile"))
    both.write_text(compare_html(*sides), encoding="utf-8")
    for path in (folder / "report.html", timings_page_path(folder), both):
        driver.get(path.as_uri())
        assert driver.execute_script("return document.querySelectorAll('svg, table').length") > 1
        driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert driver.execute_script("return document.documentElement.scrollWidth") == width
        assert driver.execute_script(OUTSIDE) == []
        assert driver.execute_script(OVERLAPS) == []
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert driver.execute_script("return window.hacked") is None
        assert console(driver) == []


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_keeps_people_from_using_the_pages(driver, dataset, dark, tmp_path):
    both = tmp_path / "both.html"
    both.write_text(compare_html(*[read_side(dataset.path)] * 2), encoding="utf-8")
    set_screen(driver, WIDE, dark=dark)
    for path in (dataset.path / "report.html", timings_page_path(dataset.path), both):
        driver.get(path.as_uri())
        driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert barriers(driver) == []


PRINTED = """
const style = getComputedStyle(document.documentElement);
return ["paper", "ink", "soft", "line", "accent", "quiet", "wash", "alert"]
  .map((name) => style.getPropertyValue("--" + name).trim())
  .concat(getComputedStyle(document.querySelector(".leakage")).backgroundColor);
"""


@needs_browser
def test_a_page_prints_in_the_same_colours_from_dark_mode(driver, dataset):
    printed = []
    for dark in (False, True):
        set_screen(driver, WIDE, dark=dark)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = {"media": "print", "features": [scheme]}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        driver.get((dataset.path / "report.html").as_uri())
        printed.append(driver.execute_script(PRINTED))
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert printed[0] == printed[1]


@needs_browser
def test_a_narrow_page_breaks_no_option_and_no_percentage(driver, dataset):
    set_screen(driver, NARROW)
    driver.get((dataset.path / "report.html").as_uri())
    script = """return [...document.querySelectorAll("code.word")]
      .filter((code) => code.getClientRects().length > 1).map((code) => code.textContent)"""
    assert driver.execute_script(script) == []
    titles = driver.execute_script(
        "return [...document.querySelectorAll('.findings')].map(list => list.textContent)"
    )
    assert any("\u00a0%" in text for text in titles)
    assert not any(" %" in text for text in titles)
