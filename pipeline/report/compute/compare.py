"""Compare two datasets, A and B, from their report.json and dataset.json; nothing is measured."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.report.compute.histograms import MEASURES
from pipeline.report.number_format import STAGES, count, digits, hours, share, short, words
from pipeline.report.read_report import read_report
from pipeline.report.schema import Report, leaks
from shards.layout import SPLITS
from shards.reader import find_dataset, read_manifest

FAMILIES_SHOWN = 8
MANY_TIMES = 10


@dataclass(frozen=True)
class Side:
    """One of the two datasets: its name, its settings, and its report."""

    name: str
    settings: dict[str, Any]
    report: Report


@dataclass(frozen=True)
class Row:
    """One figure of both; `numbers` where there is a change to tell, `is_share` if of per cents."""

    label: str
    a: str
    b: str
    numbers: tuple[float, float] | None = None
    is_share: bool = False

    @property
    def change(self) -> str:
        """How much larger B is: in per cent of A, or times A; empty where they are equal.

        Of shares, in percentage points.
        """
        if self.numbers is None or self.numbers[0] == self.numbers[1]:
            return ""
        a, b = self.numbers
        if self.is_share:
            return f"{100 * (b - a):+.1f} pp"
        if a and b / a >= MANY_TIMES:
            return f"{digits(b / a)} times"
        return f"{100 * (b - a) / a:+.1f} %" if a else "new"


def read_side(path: Path) -> Side:
    """A dataset, or the only one in a folder, as one side of a comparison."""
    folder = find_dataset(path)
    settings = read_manifest(folder)["settings"]
    flat = {
        f"{stage}.{name}": value for stage, of in settings.items() for name, value in of.items()
    }
    return Side(folder.resolve().name, flat, read_report(folder))


def compare(a: Side, b: Side) -> dict[str, list[Row]]:
    """Everything there is to compare, by the title of its table."""
    reports = a.report, b.report
    return {
        "settings that differ": [*_settings(a, b)],
        "files": [*_files(*reports)],
        "different songs": [*_totals(*reports)],
        "median per song": [*_medians(*reports)],
        "share of songs with": [*_families(*reports)],
        "tokens and grid": [*_fidelity(*reports)],
    }


def _settings(a: Side, b: Side) -> Iterator[Row]:
    for name in {**a.settings, **b.settings}:
        in_a, in_b = (side.settings.get(name, "-") for side in (a, b))
        if in_a != in_b:
            yield Row(name, str(in_a), str(in_b))


def _row(label: str, a: float, b: float, write: Callable[[Any], str] = count) -> Row:
    return Row(label, write(a), write(b), (a, b))


def _files(a: Report, b: Report) -> Iterator[Row]:
    for in_a, in_b in zip(a["funnel"], b["funnel"], strict=True):
        yield _row(STAGES[in_a["stage"]], in_a["files"], in_b["files"])
        lost_a, lost_b = (
            {reason["rule"] or reason["outcome"]: reason["files"] for reason in stage["lost"]}
            for stage in (in_a, in_b)
        )
        for code in sorted({**lost_a, **lost_b}, key=lambda code: (-lost_a.get(code, 0), code)):
            yield _row(f"  less {words(code)}", lost_a.get(code, 0), lost_b.get(code, 0))


def _totals(a: Report, b: Report) -> Iterator[Row]:
    for name in ("representative", *SPLITS):
        in_a, in_b = a["totals"][name], b["totals"][name]
        label = "" if name == "representative" else f"{name}: "
        yield _row(f"{label}songs", in_a["songs"], in_b["songs"])
        yield _row(f"{label}tokens", in_a["tokens"], in_b["tokens"], short)
        yield _row(f"{label}music", in_a["hours"], in_b["hours"], hours)


def _medians(a: Report, b: Report) -> Iterator[Row]:
    for measure in MEASURES:
        in_a, in_b = (side["distributions"][measure.name]["median"] for side in (a, b))
        left, right = ("-" if value is None else digits(value) for value in (in_a, in_b))
        numbers = None if in_a is None or in_b is None else (in_a, in_b)
        title = measure.title[0].lower() + measure.title[1:]
        units = {*measure.unit.split("/")} - {"", *re.findall(r"\w+", title)}
        yield Row(f"{title}, {measure.unit}" if units else title, left, right, numbers)


def _families(a: Report, b: Report) -> Iterator[Row]:
    songs_a, songs_b = (side["totals"]["representative"]["songs"] for side in (a, b))
    in_a, in_b = (side["programs"]["family_songs"] for side in (a, b))
    for family in sorted(in_a, key=lambda family: -in_a[family])[:FAMILIES_SHOWN]:
        shares = in_a[family] / (songs_a or 1), in_b[family] / (songs_b or 1)
        yield Row(
            family,
            share(in_a[family], songs_a),
            share(in_b[family], songs_b),
            shares,
            is_share=True,
        )


def _fidelity(a: Report, b: Report) -> Iterator[Row]:
    in_a, in_b = (side["vocabulary"]["tokens"] for side in (a, b))
    yield _row("tokens in the vocabulary", in_a, in_b)
    kinds = (side["note_counts"]["tokens"]["kinds"] for side in (a, b))
    in_a, in_b = (sum(kind["used"] for kind in of_side) for of_side in kinds)
    yield _row("of them used", in_a, in_b)
    for name, loss in a["losses"].items():
        yield _row(words(name), loss["occurrences"], b["losses"][name]["occurrences"])
    yield _row("silence removed", a["silence"]["hours"], b["silence"]["hours"], hours)
    yield _row("duplicates across splits", leaks(a["duplicates"]), leaks(b["duplicates"]))
