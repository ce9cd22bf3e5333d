"""What another bound would keep: thresholds and shares of songs, from what was measured already.

The rows of the index know every song's figures, so a tighter bound needs no run to be tried; a
looser one is told by the ledger, as far as it goes: of a song that was turned down it has the
figure that did it. `trainer fit --where` puts any bound of this table to use.

Conventions
    share   of the different songs of the dataset, those that a bound alone would still keep
"""

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clean.rules import RULES, Limits
from pipeline.report.number_format import count, digits, hours, share, short, words
from shards.layout import SPLITS

SHARES = (0.999, 0.99, 0.95, 0.9, 0.75, 0.5)
"""Of the songs that a bound is to keep; those it does keep are at least as many."""
DIGITS = 3
"""Of a bound, rounded to the side that keeps more."""
AT_LEAST, AT_MOST = ">=", "<="


@dataclass(frozen=True)
class Bound:
    """One line of the table.

    Attributes:
        measured: the figure, in SQL over the columns of the index.
        sense: whether songs have to reach the bound or stay under it.
        values: shape (songs,), float64; NaN where a song has no such figure.
        unknown_pass: whether those songs are kept: by rules they are, by --where not.
        code: of the rule; None where there is none.
        setting: the rule's setting.
        now: its value.
    """

    measured: str
    sense: str
    values: np.ndarray
    unknown_pass: bool
    code: str | None = None
    setting: str | None = None
    now: float | None = None


COLUMNS = {
    "instruments": AT_LEAST,
    "tokens": AT_LEAST,
    "key_fit": AT_LEAST,
    "pitch_class_entropy": AT_LEAST,
    "on_beat": AT_LEAST,
    "groove": AT_LEAST,
    "beat_alignment": AT_LEAST,
    "expressive": AT_LEAST,
    "polyphony": AT_MOST,
    "drum_share": AT_MOST,
    "onset_error_ms": AT_MOST,
    "onset_error_ms_95": AT_MOST,
    "silence_seconds": AT_MOST,
    "meters": AT_MOST,
    "tempos": AT_MOST,
    "repairs": AT_MOST,
}
"""Columns that no rule looks at and a stricter corpus may."""


def what_if(index: pa.Table, ledger: pa.Table, limits: Limits) -> list[dict[str, Any]]:
    """The table, one row a rule, then one a column that no rule looks at.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        ledger: `shards.layout.LEDGER_SCHEMA`.
        limits: that the rules were held to.

    Returns:
        Plain data; of each line `measured`, `sense`, `rule`, `setting`, `now`; `keeps`: for each
        of SHARES the `threshold` that keeps it and the `songs` it keeps; and `turned_down`: the
        files that the rule did, and the `nearest` and `furthest` of their figures from its bound.
    """
    songs = index.filter(index["representative"])
    bounds = [*_of_rules(songs, limits), *_of_columns(songs)]
    return [
        {
            "measured": bound.measured,
            "sense": bound.sense,
            "rule": bound.code,
            "setting": bound.setting,
            "now": bound.now,
            "keeps": _keeps(bound),
            "turned_down": _turned_down(ledger, bound),
        }
        for bound in bounds
    ]


def _of_rules(songs: pa.Table, limits: Limits) -> list[Bound]:
    needed = {"notes", "notes_merged", "durations_lengthened", *(rule.measured for rule in RULES)}
    columns = {name: _values(songs, name) for name in needed & {*songs.column_names}}
    return [
        Bound(
            measured=rule.measured,
            sense=AT_LEAST if rule.broken_by is operator.lt else AT_MOST,
            values=np.asarray(rule.value(columns)),
            unknown_pass=True,
            code=rule.code,
            setting=rule.bound,
            now=float(getattr(limits, rule.bound)),
        )
        for rule in RULES
    ]


def _of_columns(songs: pa.Table) -> list[Bound]:
    return [Bound(name, sense, _values(songs, name), False) for name, sense in COLUMNS.items()]


def _values(songs: pa.Table, name: str) -> np.ndarray:
    return songs[name].cast(pa.float64()).to_numpy(zero_copy_only=False)


def _keeps(bound: Bound) -> list[dict[str, Any]]:
    """For each share the tightest bound, to three digits, that keeps it."""
    sign = 1.0 if bound.sense == AT_LEAST else -1.0
    unknown = np.isnan(bound.values)
    values = np.sort(sign * bound.values[~unknown])
    passing = int(unknown.sum()) if bound.unknown_pass else 0
    keeps = []
    for part in SHARES:
        wanted = max(math.ceil(part * len(bound.values)) - passing, 1)
        threshold = kept = None
        if wanted <= len(values):
            lowest = _floor(float(values[len(values) - wanted]))
            kept = passing + len(values) - int(np.searchsorted(values, lowest))
            threshold = sign * lowest + 0.0
        keeps.append({"share": part, "threshold": threshold, "songs": kept})
    return keeps


def _floor(value: float) -> float:
    """The largest number of a few digits that is not greater."""
    if value == 0:
        return 0.0
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    return round(math.floor(value * 10.0**places) / 10.0**places, places)


def _turned_down(ledger: pa.Table, bound: Bound) -> dict[str, Any] | None:
    if bound.code is None:
        return None
    found = ledger.filter(pc.fill_null(pc.equal(ledger["rule"], bound.code), False))
    values = np.sort(found["value"].drop_null().to_numpy())
    if bound.sense == AT_LEAST:
        values = values[::-1]
    ends = (float(values[0]), float(values[-1])) if len(values) else (None, None)
    return {"files": found.num_rows, "nearest": ends[0], "furthest": ends[1]}


def cells(row: dict[str, Any]) -> list[str]:
    """One line of the table in words: its name, the bound now, and the bound for each share."""
    name = row["setting"] or f"{row['measured']} {row['sense']}"
    figures = [row["now"], *(keep["threshold"] for keep in row["keeps"])]
    return [name, *("" if figure is None else digits(figure) for figure in figures)]


def what_if_text(report: dict[str, Any]) -> str:
    """The table of a dataset's report, for a terminal of 80 columns."""
    songs = report["totals"]["representative"]["songs"]
    head = ["to keep", "now", *(f"{100 * part:g} %" for part in SHARES)]
    lines = [head, *(cells(row) for row in report["what_if"])]
    text = [f"{first:<24}" + "".join(f"{cell:>8}" for cell in rest) for first, *rest in lines]
    return "\n".join(
        [
            f"Of {count(songs)} different songs, each bound by itself:",
            "",
            *(line.rstrip() for line in text),
            "",
            *_looser(report["what_if"]),
        ]
    )


def _looser(rows: list[dict[str, Any]]) -> list[str]:
    """What rules turned down, and by how much."""
    lines = []
    for row in rows:
        if row["turned_down"] and row["turned_down"]["files"]:
            down = row["turned_down"]
            ends = dict.fromkeys(digits(down[end]) for end in ("nearest", "furthest"))
            lines.append(
                f"{row['setting']} {digits(row['now'])} turns down {count(down['files'])} as "
                f"{words(row['rule'])}: {' to '.join(ends)}"
            )
    return lines


def where_text(index: pa.Table, where: str) -> str:
    """What a condition in SQL keeps of the songs that are trained on and held out.

    Raises:
        LakhxlError: it is no condition.
    """
    from shards.where import holds  # loads duckdb, which a run does without

    kept = pa.array(holds(index, where))
    lines = [f"{'':<16}{'songs':>10}{'kept':>10}{'tokens':>12}{'music':>12}"]
    for split in SPLITS:
        mine = pc.and_(index["representative"], pc.equal(index["split"], split))
        songs = index.filter(pc.and_(mine, kept))
        seconds = pc.sum(songs["seconds"].cast(pa.float64()), min_count=0).as_py()
        tokens = pc.sum(songs["tokens"].cast(pa.int64()), min_count=0).as_py()
        whole = pc.sum(mine.cast(pa.int64()), min_count=0).as_py()
        lines.append(
            f"{split:<16}{count(songs.num_rows):>10}{share(songs.num_rows, whole):>10}"
            f"{short(tokens):>12}{hours(seconds / 3600):>12}"
        )
    return "\n".join(lines)
