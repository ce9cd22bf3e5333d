"""The what-if table as text: thresholds, and the fraction of songs that they keep."""

import pyarrow as pa

from pipeline.report.compute.what_if import SHARES, kept_by_split
from pipeline.report.number_format import count, digits, hours, share, short, words
from pipeline.report.schema import Report, WhatIf


def what_if_text(report: Report) -> str:
    """The table of a dataset's report, for a terminal of 80 columns."""
    songs = report["totals"]["representative"]["songs"]
    head = ["to keep", "current", *(f"{100 * part:g} %" for part in SHARES)]
    lines = [head, *(_cells(row) for row in report["what_if"])]
    text = [f"{first:<24}" + "".join(f"{cell:>8}" for cell in rest) for first, *rest in lines]
    return "\n".join(
        [
            f"Of {count(songs)} different songs, each threshold by itself:",
            "",
            *(line.rstrip() for line in text),
            "",
            *_rejections(report["what_if"]),
        ]
    )


def _cells(row: WhatIf) -> list[str]:
    """One line of the table: its name, the current threshold, and that for each share."""
    name = row["setting"] or f"{row['expression']} {row['comparison']}"
    numbers = [row["current"], *(one["threshold"] for one in row["thresholds"])]
    return [name, *("" if number is None else digits(number) for number in numbers)]


def _rejections(rows: list[WhatIf]) -> list[str]:
    """How many files each rule rejected, and by how much."""
    lines = []
    for row in rows:
        rejected, setting, current = row["rejected"], row["setting"], row["current"]
        if rejected and rejected["files"] and current is not None:
            ends = (rejected["nearest"], rejected["furthest"])
            values = dict.fromkeys(digits(value) for value in ends if value is not None)
            lines.append(
                f"{setting} {digits(current)} rejects {count(rejected['files'])} as "
                f"{words(row['rule'] or '')}: {' to '.join(values)}"
            )
    return lines


def where_text(index: pa.Table, where: str) -> str:
    """What a condition in SQL keeps of each split, for a terminal of 80 columns."""
    lines = [f"{'':<16}{'songs':>10}{'kept':>10}{'tokens':>12}{'music':>12}"]
    for split, one in kept_by_split(index, where).items():
        lines.append(
            f"{split:<16}{count(one.kept):>10}{share(one.kept, one.songs):>10}"
            f"{short(one.tokens):>12}{hours(one.hours):>12}"
        )
    return "\n".join(lines)
