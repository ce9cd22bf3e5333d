"""Which songs other thresholds would keep, from what was measured already.

The index holds every song's figures, so trying a stricter threshold needs no new run; for a
rejected song the ledger stores only the value that failed, so a looser one is known only as far
as that goes. `trainer fit --where` applies any threshold of this table.

Conventions
    share   fraction of the representative songs that a threshold alone would keep
"""

import math
import operator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clean.rules import RULES, Limits, Rule
from pipeline.report.compute.songs import Songs
from pipeline.report.schema import RejectedFiles, Threshold, WhatIf
from shards.layout import SPLITS

SHARES = (0.999, 0.99, 0.95, 0.9, 0.75, 0.5)
"""Fractions of the songs to keep; a threshold keeps at least as many."""
DIGITS = 3
"""Significant digits of a threshold, rounded to the side that keeps more."""
AT_LEAST, AT_MOST = ">=", "<="

COLUMNS = {
    "instruments": AT_LEAST,
    "tokens": AT_LEAST,
    "key_fit": AT_LEAST,
    "pitch_class_entropy": AT_LEAST,
    "on_beat": AT_LEAST,
    "bar_similarity": AT_LEAST,
    "beat_alignment": AT_LEAST,
    "expressive": AT_LEAST,
    "polyphony": AT_MOST,
    "drum_share": AT_MOST,
    "onset_error_ms": AT_MOST,
    "silence_seconds": AT_MOST,
    "meters": AT_MOST,
    "tempos": AT_MOST,
    "repairs": AT_MOST,
}
"""Columns that no rule reads, but that a stricter selection may use."""


def what_if(index: pa.Table, ledger: pa.Table, limits: Limits) -> list[WhatIf]:
    """The table: one line per rule, then one per column that no rule reads.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        ledger: `shards.layout.LEDGER_SCHEMA`.
        limits: the current thresholds of the rules.
    """
    songs = _Values(Songs(index))
    of_rules = (
        (rule.measured, _comparison(rule), np.asarray(rule.value(songs)), rule) for rule in RULES
    )
    others = ((name, comparison, songs[name], None) for name, comparison in COLUMNS.items())
    return [
        {
            "expression": expression,
            "comparison": comparison,
            "rule": rule and rule.code,
            "setting": rule and rule.bound,
            "current": rule and float(getattr(limits, rule.bound)),
            "thresholds": _thresholds(values, comparison, unknown_pass=rule is not None),
            "rejected": rule and _rejected(ledger, rule.code, comparison),
        }
        for expression, comparison, values, rule in chain(of_rules, others)  # one at a time
    ]


def _comparison(rule: Rule) -> str:
    return AT_LEAST if rule.broken_by is operator.lt else AT_MOST


class _Values:
    """Columns of the songs as float64; NaN where a song has no value."""

    def __init__(self, songs: Songs) -> None:
        self._songs = songs

    def __getitem__(self, name: str) -> np.ndarray:
        return self._songs[name].cast(pa.float64()).to_numpy(zero_copy_only=False)


def _thresholds(values: np.ndarray, comparison: str, *, unknown_pass: bool) -> list[Threshold]:
    """For each share the tightest threshold, to three digits, that keeps it.

    Args:
        values: shape (songs,), float64; NaN where a song has no value.
        comparison: whether values must be at least or at most the threshold.
        unknown_pass: whether songs without a value are kept: rules keep them, --where does not.
    """
    sign = 1.0 if comparison == AT_LEAST else -1.0
    unknown = np.isnan(values)
    known = np.sort(sign * values[~unknown])
    passing = int(unknown.sum()) if unknown_pass else 0
    thresholds: list[Threshold] = []
    for share in SHARES:
        wanted = max(math.ceil(share * len(values)) - passing, 1)
        threshold = kept = None
        if wanted <= len(known):
            lowest = _floor(float(known[len(known) - wanted]))
            kept = passing + len(known) - int(np.searchsorted(known, lowest))
            threshold = sign * lowest + 0.0
        thresholds.append({"share": share, "threshold": threshold, "songs": kept})
    return thresholds


def _floor(value: float) -> float:
    """Round down to a few significant digits."""
    if value == 0:
        return 0.0
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    return round(math.floor(value * 10.0**places) / 10.0**places, places)


def _rejected(ledger: pa.Table, rule: str, comparison: str) -> RejectedFiles:
    found = ledger["value"].filter(pc.fill_null(pc.equal(ledger["rule"], rule), False))
    values = np.sort(found.drop_null().to_numpy())
    if comparison == AT_LEAST:
        values = values[::-1]
    nearest, furthest = (float(values[0]), float(values[-1])) if len(values) else (None, None)
    return {"files": len(found), "nearest": nearest, "furthest": furthest}


@dataclass(frozen=True)
class SplitKept:
    """What a condition keeps of one split's representative songs: `kept` of `songs`."""

    songs: int
    kept: int
    tokens: int
    hours: float


def kept_by_split(index: pa.Table, where: str) -> dict[str, SplitKept]:
    """What a condition in SQL keeps of each split.

    Raises:
        LakhxlError: it is no condition over the index.
    """
    from shards.where import matching_songs  # loads duckdb, which building a report does not need

    kept = pa.array(matching_songs(index, where))
    result = {}
    for split in SPLITS:
        in_split = pc.and_(index["representative"], pc.equal(index["split"], split))
        songs = index.filter(pc.and_(in_split, kept))
        result[split] = SplitKept(
            songs=pc.sum(in_split.cast(pa.int64()), min_count=0).as_py(),
            kept=songs.num_rows,
            tokens=pc.sum(songs["tokens"].cast(pa.int64()), min_count=0).as_py(),
            hours=pc.sum(songs["seconds"].cast(pa.float64()), min_count=0).as_py() / 3600,
        )
    return result
