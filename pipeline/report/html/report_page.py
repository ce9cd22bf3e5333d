"""report.html: the report as one page. The text is in templates/report.html."""

from collections.abc import Sequence
from typing import Any

from pipeline.midi.events import REPAIRS
from pipeline.report.compute.histograms import MEASURES
from pipeline.report.compute.timing import TIMINGS_PAGE
from pipeline.report.compute.what_if import SHARES
from pipeline.report.html.note_charts import (
    duration_chart,
    pitch_heat_map,
    pitch_range_chart,
    sounding_chart,
    velocity_chart,
)
from pipeline.report.html.roll_chart import roll_chart
from pipeline.report.html.svg import Chart, distribution_chart
from pipeline.report.html.templating import render
from pipeline.report.number_format import STAGES, count, reason_name, words
from pipeline.report.schema import LOSSES, Example, Report
from shards.gm import FAMILIES
from shards.layout import OUTCOMES, SPLITS
from shards.text import visible
from shards.vocabulary import PROGRAMS

CONTENTS = {
    "funnel": "From files to songs",
    "folders": "Folders of the source",
    "splits": "Train, valid and test",
    "not-kept": "Files not kept",
    "what-if": "What other thresholds would keep",
    "songs": "A few songs",
    "length": "Length of songs",
    "tempo": "Tempo and meter",
    "instruments": "Instruments and notes",
    "tokens": "What tokens keep and lose",
    "vocabulary": "Use of the vocabulary",
    "reading": "How files were read",
    "duplicates": "Duplicates",
    "time": "Time taken",
}
"""Title of each section, by its anchor; findings lead to them."""
FINDINGS_SHOWN, REPAIRS_SHOWN = 8, 6
"""Rows that are not folded."""
FOLDERS_NAMED, SETTINGS_SHOWN = 5, 8
"""At the top."""
LONGEST_NAME = 40
MAX_METERS = 10
MAX_SIZES = 8
FIFTHS = ("F#", "C#", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B")
TIERS = {
    "strict": "read as they are",
    "tolerant": "read despite an error that loses nothing",
    "salvage": "read up to the damage",
}
REPAIR_NAMES = {code: description for code, _, description in REPAIRS}
GRID_ERRORS_MS = (2, 5, 10, 20)
"""The fractions of onsets under each are drawn."""

EXAMPLE_COLUMNS = {
    "path": ("file", "file"),
    "bytes": ("bytes", "n"),
    "value": ("measured", "n"),
    "threshold": ("threshold", "n"),
    "detail": ("detail", "what"),
}
"""Title and class of each column of the examples."""

BarRow = tuple[str, int, str]
"""Label, number, and a class: main, lost, part or other."""


def report_html(report: Report, *, name: str = "", made: str = "") -> str:
    """The report as a page of its own.

    Args:
        report: the figures.
        name, made: of the dataset, and the day on which it was made: of a page that `pipeline
            browse` serves, which links to its songs. The page inside the dataset has none of it:
            it is the same for the same files and settings, in whatever folder.
    """
    counts = report["note_counts"]
    group_charts = _distribution_charts(report)
    group_charts["sound"] += (
        pitch_range_chart(report["pitch"]),
        velocity_chart(counts["velocities"]),
        sounding_chart(counts["sounding"]),
        duration_chart(counts["durations"], report["vocabulary"]["steps_per_beat"]),
    )
    families = sorted(report["programs"]["family_songs"].items(), key=lambda pair: -pair[1])
    return render(
        "report.html",
        report=report,
        name=name,
        made=made,
        contents=CONTENTS,
        findings_shown=FINDINGS_SHOWN,
        repairs_shown=REPAIRS_SHOWN,
        settings_shown=SETTINGS_SHOWN,
        folders=sum(row["folders"] for row in report["folders"]),
        folders_named=[
            visible(row["folder"], LONGEST_NAME)
            for row in report["folders"][:FOLDERS_NAMED]
            if row["folder"] not in (None, ".")
        ],
        charts=group_charts,
        rolls=[(roll, roll_chart(roll)) for roll in report["rolls"]],
        rejected_rolls=[(roll, roll_chart(roll)) for roll in report["rejected_rolls"]],
        heat_map=pitch_heat_map(counts["pitches"]),
        funnel=_funnel(report),
        reasons=[(reason, _columns(reason["examples"])) for reason in report["reasons"]],
        meters=_most_frequent([*report["meters"].items()], MAX_METERS, "others: {}"),
        meters_by_split=[
            (meter, [report["split_meters"][split].get(meter, 0) for split in SPLITS])
            for meter in [*report["meters"]][:MAX_METERS]
        ],
        keys=_keys(report["keys"]),
        families=[(name, songs, "") for name, songs in families],
        instruments=_instruments(report),
        grids=_grids(report),
        grid_labels=["on a step", *(f"under {ms} ms" for ms in GRID_ERRORS_MS), "further off"],
        tiers=[(f"{tier}: {TIERS[tier]}", n, "") for tier, n in report["reading"]["tiers"].items()],
        repairs=[
            (REPAIR_NAMES.get(code, words(code)), repair["files"], "other")
            for code, repair in report["reading"]["repairs"].items()
        ],
        clusters=_cluster_sizes(report["duplicates"]["sizes"]),
        losses=LOSSES,
        outcomes=OUTCOMES,
        shares=SHARES,
        splits=SPLITS,
        timings_page=TIMINGS_PAGE,
    )


def _distribution_charts(report: Report) -> dict[str, list[Chart]]:
    """The charts of all distributions, by group."""
    charts: dict[str, list[Chart]] = {measure.group: [] for measure in MEASURES}
    for measure in MEASURES:
        spread = report["distributions"][measure.name]
        charts[measure.group].append(distribution_chart(measure, spread))
    return charts


def _funnel(report: Report) -> list[BarRow]:
    rows = []
    for stage in report["funnel"]:
        rows.append((STAGES[stage["stage"]].capitalize(), stage["files"], "main"))
        rows += [(reason_name(reason), reason["files"], "lost") for reason in stage["lost"]]
    return [*rows, *((split, report["totals"][split]["songs"], "part") for split in SPLITS)]


def _columns(examples: Sequence[Example]) -> dict[str, tuple[str, str]]:
    """The columns in which any example has a value."""
    return {
        key: column
        for key, column in EXAMPLE_COLUMNS.items()
        if any(example[key] is not None for example in examples)
    }


def _most_frequent(pairs: Sequence[tuple[str, int]], limit: int, others: str) -> list[BarRow]:
    """The first rows, and the sum of the others under a name that may say how many they are."""
    rows = [(name, number, "") for name, number in pairs[:limit]]
    rest = sum(number for _, number in pairs[limit:])
    return [*rows, (others.format(len(pairs) - limit), rest, "other")] if rest else rows


def _keys(keys: dict[str, int]) -> list[tuple[str, list[BarRow], str]]:
    """Songs by key: major keys, and minor keys, each in the order of fifths."""
    return [
        (mode, [(tonic + suffix, keys.get(tonic + suffix, 0), "") for tonic in FIFTHS], "")
        for mode, suffix in (("Major", ""), ("Minor", "m"))
    ]


def _instruments(report: Report) -> list[tuple[str, list[BarRow], str]]:
    """Songs that each instrument class plays in: sixteen families, then drums by key."""
    rows = [(one["name"], one["songs"], "") for one in report["note_counts"]["instruments"]]
    groups, start = [], 0
    for family, members in FAMILIES:
        groups.append((family, rows[start : start + len(members)], ""))
        start += len(members)
    return [*groups, ("Drums, by sound", rows[PROGRAMS:], "drums")]


def _grids(report: Report) -> list[dict[str, Any]]:
    """For each grid the cumulative fractions of onsets within each error, as stacked bars."""
    rows = []
    for grid in report["note_counts"]["grids"]:
        onsets = grid["onsets"]
        within = [grid["exact"], *(sum(grid["errors"][:ms]) for ms in GRID_ERRORS_MS), onsets]
        parts = [part - before for before, part in zip([0, *within], within, strict=False)]
        is_own = grid["steps_per_beat"] == report["vocabulary"]["steps_per_beat"]
        rows.append({**grid, "parts": parts, "is_own": is_own})
    return rows


def _cluster_sizes(sizes: list[list[int]]) -> list[BarRow]:
    names = ["once" if size == 1 else f"{count(size)} files" for size, _ in sizes]
    pairs = [(name, clusters) for name, (_, clusters) in zip(names, sizes, strict=True)]
    return _most_frequent(pairs, MAX_SIZES, f"more, up to {names[-1]}" if names else "")
