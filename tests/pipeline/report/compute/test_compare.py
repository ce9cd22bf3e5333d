"""A comparison of two datasets: each figure is its own dataset's, and differences are shown."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.clean.rules import Limits
from pipeline.cli import cli
from pipeline.config import DataSettings, IngestSettings
from pipeline.report.compute.compare import Row, compare, read_side
from pipeline.report.compute.histograms import MEASURES, distribution
from pipeline.report.html.compare_page import compare_html
from pipeline.report.html.svg import distribution_chart, overlaid_chart
from pipeline.report.terminal.compare import compare_text
from shards.reader import read_json
from shards.text import visible
from shards.vocabulary import CodecSettings, Vocabulary

OTHER = DataSettings(
    ingest=IngestSettings(slice_files=16, round_trip_check=1.0),
    codec=CodecSettings(steps_per_beat=12),
    limits=Limits(min_notes=800),
)


@pytest.fixture(scope="module")
def sides(demo, dataset, build):
    return read_side(dataset.path), read_side(build(demo[0], OTHER).path)


def rows_of(sides, title):
    return {row.label.strip(): row for row in compare(*sides)[title]}


def test_the_settings_that_differ_are_named_and_no_other(sides):
    rows = rows_of(sides, "settings that differ")
    assert {name: (row.a, row.b) for name, row in rows.items()} == {
        "codec.steps_per_beat": ("24", "12"),
        "limits.min_notes": ("50", "800"),
    }


def test_every_stage_of_both_funnels_adds_up(sides):
    rows = list(compare(*sides)["files"])
    for side in (0, 1):
        left = None
        for row in rows:
            number = row.numbers[side]
            if row.label.startswith("  less"):
                left -= number
            else:
                assert left in (None, number)
                left = number


def test_figures_and_changes_are_those_of_the_reports(sides, dataset):
    a, b = (side.report for side in sides)
    assert a == read_json(dataset.path / "report.json")
    songs = rows_of(sides, "different songs")["songs"]
    assert songs.numbers == tuple(report["totals"]["representative"]["songs"] for report in (a, b))
    assert songs.numbers[1] < songs.numbers[0]
    assert songs.change == f"{100 * (songs.numbers[1] / songs.numbers[0] - 1):+.1f} %"
    tokens = rows_of(sides, "tokens and grid")["tokens in the vocabulary"]
    assert tokens.numbers == tuple(report["vocabulary"]["tokens"] for report in (a, b))


def test_a_dataset_compared_with_itself_has_no_change(sides):
    tables = compare(sides[0], sides[0])
    assert tables["settings that differ"] == []
    assert all(row.a == row.b and row.change == "" for rows in tables.values() for row in rows)


OUTLINE = r'<path class="outline" d="M6 124([^"]*)V124"/>'


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_dataset_laid_over_itself_has_its_columns_for_an_outline(sides, measure):
    spread = sides[0].report["distributions"][measure.name]
    alone, both = distribution_chart(measure, spread), overlaid_chart(measure, spread, spread)
    tops, alone_tops = (
        [float(y) for y in re.findall(r'<rect [^>]* y="([\d.]+)"', str(chart.drawing))]
        for chart in (both, alone)
    )
    assert tops == pytest.approx(alone_tops, abs=0.11)
    outline = re.findall(OUTLINE, str(both.drawing))[0]
    heights = [y for y in re.findall(r"V([\d.]+)H", outline) if y != "124.0"]
    assert [float(y) for y in heights] == pytest.approx(tops, abs=1)
    assert both.summary.endswith("0.0 % of songs lie in other columns")


def test_datasets_without_a_common_value_lie_apart_in_one_frame():
    measure = next(one for one in MEASURES if one.name == "bpm")
    slow, fast = (distribution(np.full(9, bpm), measure.edges) for bpm in (50.0, 200.0))
    chart = overlaid_chart(measure, slow, fast)
    assert chart.summary.endswith("; 100.0 % of songs lie in other columns")
    assert chart.summary.startswith("Median 50 and 200 beats/min")
    hints = re.findall("<title>([^<]*)", str(chart.drawing))
    assert hints == ["49.4 to 53.8: A 100.0 %, B 0.0 % of songs"]


def test_the_bins_of_tempos_hold_two_tokens_each():
    tempos = 60e6 / Vocabulary().tempos
    edges = next(one for one in MEASURES if one.name == "bpm").edges
    inside = tempos[(tempos >= edges[0]) & (tempos < edges[-1])]
    assert (np.histogram(inside, edges)[0] == 2).all()


def test_the_text_fits_a_terminal_and_the_page_is_whole(sides):
    lines = compare_text(*sides).splitlines()
    assert max(map(len, lines)) <= 80
    page = compare_html(*sides)
    assert page.count("<figure>") == page.count("</figure>")
    assert not re.search(r"<script|https?:", page)


def test_medians_have_their_unit_unless_the_name_says_it(sides):
    labels = {*rows_of(sides, "median per song")}
    assert {"tempo, beats/min", "length in time, s", "length in bars", "tokens per note"} <= labels
    assert all(row.label.strip() != "representative" for row in compare(*sides)["files"])


def test_shares_differ_in_percentage_points():
    assert Row("Piano", "50 %", "37.5 %", (0.5, 0.375), is_share=True).change == "-12.5 pp"
    assert Row("Piano", "50 %", "50 %", (0.5, 0.5), is_share=True).change == ""


def test_a_hostile_folder_name_stays_text(dataset, tmp_path):
    evil = tmp_path / "\x1b[31m<img src=x onerror=alert(1)>\u202e"
    evil.symlink_to(dataset.path)
    side = read_side(evil)
    hostile = type(side)(evil.name, side.settings, side.report)
    assert "<img" not in compare_html(side, hostile).replace("&lt;img", "")
    assert compare_text(side, hostile).replace("\n", "").isprintable()
    result = CliRunner().invoke(cli, ["compare", str(evil), str(tmp_path / "none\x1b[2J")])
    assert result.exit_code == 1
    assert visible("\x1b[2J") in result.stderr
    assert "\x1b" not in result.stderr


def test_the_command_writes_text_and_page(dataset, tmp_path):
    words = ["compare", str(dataset.path), str(dataset.path), "-o", str(tmp_path / "both.html")]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "median per song" in result.stdout
    assert "Two datasets" in (tmp_path / "both.html").read_text()
