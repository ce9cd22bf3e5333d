"""Two datasets side by side: what was set otherwise, and what came of it.

Both sides come from the datasets' own report.json and dataset.json; nothing is measured again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.report.build.file import read_report
from pipeline.report.build.histograms import MEASURES
from pipeline.report.html.page import page, section, table
from pipeline.report.html.svg import bars, histogram, text
from pipeline.report.number_format import count, digits, hours, share, short, words
from shards.console import visible
from shards.layout import SPLITS
from shards.reader import find_dataset, read_manifest

LABEL, COLUMN = 43, 13
"""Characters of the terminal's columns."""
FAMILIES_SHOWN = 8


@dataclass(frozen=True)
class Side:
    """One of the two: its name, its settings, and its report."""

    name: str
    settings: dict[str, Any]
    report: dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One figure of both; the numbers where a change can be told in per cent."""

    label: str
    a: str
    b: str
    numbers: tuple[float, float] | None = None

    @property
    def change(self) -> str:
        """How much more B has, in per cent of A; nothing where they are equal."""
        if self.numbers is None or self.numbers[0] == self.numbers[1]:
            return ""
        a, b = self.numbers
        return f"{100 * (b - a) / a:+.1f} %" if a else "new"


def read_side(path: Path) -> Side:
    """A dataset, or the only one in a folder, as one side of a comparison."""
    folder = find_dataset(path)
    settings = read_manifest(folder)["settings"]
    flat = {
        f"{stage}.{name}": value for stage, of in settings.items() for name, value in of.items()
    }
    return Side(folder.resolve().name, flat, read_report(folder))


def tables(a: Side, b: Side) -> list[tuple[str, list[Row]]]:
    """Everything there is to compare, in parts, each with a title."""
    parts = (
        ("settings that differ", _settings(a, b)),
        ("files", _files(a.report, b.report)),
        ("different songs", _totals(a.report, b.report)),
        ("median of a song", _medians(a.report, b.report)),
        ("share of songs with", _families(a.report, b.report)),
        ("tokens and grid", _fidelity(a.report, b.report)),
    )
    return [(title, list(rows)) for title, rows in parts]


def _settings(a: Side, b: Side) -> Iterator[Row]:
    for name in {**a.settings, **b.settings}:
        mine, other = (side.settings.get(name, "-") for side in (a, b))
        if mine != other:
            yield Row(name, str(mine), str(other))


def _counts(label: str, a: int, b: int, write: Any = count) -> Row:
    return Row(label, write(a), write(b), (a, b))


def _files(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    for mine, other in zip(a["funnel"], b["funnel"], strict=True):
        yield _counts(words(mine["stage"]), mine["files"], other["files"])
        lost = [
            {why["rule"] or why["outcome"]: why["files"] for why in stage["lost"]}
            for stage in (mine, other)
        ]
        for why in sorted({**lost[0], **lost[1]}, key=lambda w: (-lost[0].get(w, 0), w)):
            yield _counts(f"  less {words(why)}", *(of.get(why, 0) for of in lost))


def _totals(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    for name in ("representative", *SPLITS):
        mine, other = a["totals"][name], b["totals"][name]
        label = "" if name == "representative" else f"{name}: "
        yield _counts(f"{label}songs", mine["songs"], other["songs"])
        yield _counts(f"{label}tokens", mine["tokens"], other["tokens"], short)
        yield _counts(f"{label}music", mine["hours"], other["hours"], hours)


def _medians(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    for measure in MEASURES:
        values = [side["distributions"][measure.name]["median"] for side in (a, b)]
        written = ["-" if value is None else digits(value) for value in values]
        numbers = None if None in values else (values[0], values[1])
        yield Row(measure.title[0].lower() + measure.title[1:], *written, numbers)


def _families(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    played = [
        {"Drums": side["programs"]["drum_songs"], **side["programs"]["family_songs"]}
        for side in (a, b)
    ]
    songs = [side["totals"]["representative"]["songs"] for side in (a, b)]
    common = sorted(played[0], key=lambda family: -played[0][family])[:FAMILIES_SHOWN]
    for family in common:
        yield Row(family, *(share(of[family], n) for of, n in zip(played, songs, strict=True)))


def _fidelity(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    sides = (a, b)
    yield _counts("tokens in the vocabulary", *(side["vocabulary"]["tokens"] for side in sides))
    used = [sum(k["used"] for k in side["counts"]["tokens"]["kinds"]) for side in sides]
    yield _counts("of them in use", *used)
    for name in a["losses"]:
        yield _counts(words(name), *(side["losses"][name]["times"] for side in sides))
    yield _counts("silence removed", *(side["silence"]["hours"] for side in sides), hours)
    leaks = [
        side["duplicates"]["clusters_in_two_splits"] + side["duplicates"]["files_in_two_splits"]
        for side in sides
    ]
    yield _counts("copies across splits", *leaks)


def compare_text(a: Side, b: Side) -> str:
    """The comparison for a terminal: parts of lines, each with both figures and the change."""
    blocks = [_line("", _short_name(a.name), _short_name(b.name), "B to A").rstrip()]
    for title, rows in tables(a, b):
        lines = [_line("  " + row.label, row.a, row.b, row.change).rstrip() for row in rows]
        blocks.append("\n".join([title, *(lines or ["  none"])]))
    return "\n\n".join(blocks)


def _short_name(name: str) -> str:
    shown = visible(name)
    return shown if len(shown) < COLUMN else shown[: COLUMN - 2] + "…"


def _line(label: str, a: str, b: str, change: str) -> str:
    return f"{visible(label):<{LABEL}}{visible(a):>{COLUMN}}{visible(b):>{COLUMN}}{change:>11}"


def compare_html(a: Side, b: Side) -> str:
    """The comparison as a page of its own: the tables, and every distribution of both."""
    columns = ("", text(a.name), text(b.name), "B to A")
    parts = [
        "<header><h1>Two datasets side by side</h1>"
        f'<p class="lead">{text(a.name)} and {text(b.name)}</p></header>'
    ]
    for title, rows in tables(a, b):
        cells = [(text(row.label), text(row.a), text(row.b), row.change) for row in rows]
        body = table(columns, cells) if cells else '<p class="none">None.</p>'
        parts.append(section(title[0].upper() + title[1:], "", body))
    pairs = "".join(
        f"<div><p class='note'>{text(side.name)}</p>"
        f"{histogram(measure, side.report['distributions'][measure.name])}</div>"
        for measure in MEASURES
        for side in (a, b)
    )
    parts.append(
        section("Distributions", "The same measure of both in one row.",
                f'<div class="charts pairs">{pairs}</div>')
    )  # fmt: skip
    parts.append(section("Instruments", "Songs that each family is heard in.", _instruments(a, b)))
    return page(f"{a.name} and {b.name}", "\n".join(parts))


def _instruments(a: Side, b: Side) -> str:
    blocks = ""
    for side in (a, b):
        programs, songs = side.report["programs"], side.report["totals"]["representative"]["songs"]
        played = {"Drums": programs["drum_songs"], **programs["family_songs"]}
        rows = [(family, number, "") for family, number in played.items()]
        blocks += f"<div><h3>{text(side.name)}</h3>{bars(rows, songs)}</div>"
    return f'<div class="families pairs">{blocks}</div>'
