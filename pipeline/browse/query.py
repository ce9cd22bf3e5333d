"""Which songs a filter means, in which order: the index, asked column by column.

Conventions
    filter   what stands in the box above a column. Of numbers: `3`, `>=3`, `<3`, `3..5`; of
             yes and no: `yes`, `no`; of text: a part of it, upper and lower case alike; `=4/4`
             for the whole of it
"""

import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import Dataset
from shards.console import visible

COMPARISONS = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
    "=": pc.equal,
    "": pc.equal,
}
NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
COMPARED = re.compile(rf"(>=|<=|>|<|=|)\s*({NUMBER})")
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})")
SEARCHED = ("path", "md5")
REMEMBERED = 16
"""Answers kept, so that turning a page does not filter again."""


class WrongQuery(ValueError):
    """A filter that says nothing; the message says what would."""


class Songs:
    """The index of a dataset as a table of what a page can show, filter and sort."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._index = dataset.index
        self.rows = lru_cache(REMEMBERED)(self._rows)

    @cached_property
    def columns(self) -> dict[str, str]:
        """Name of each column -> number, truth or text."""
        kinds = {"song": "number"}
        return kinds | {column.name: _kind(column.type) for column in self._index.schema}

    def _column(self, name: str) -> pa.ChunkedArray | pa.Array:
        if name == "song":
            return pa.array(np.arange(len(self._dataset)))
        kind = self._index.schema.field(name).type
        return self._as_text(name) if pa.types.is_nested(kind) else self._index[name]

    @lru_cache(4)  # noqa: B019 (one of these lives as long as the server)
    def _as_text(self, name: str) -> pa.Array:
        """A column of lists as text: programs by name, others as they are."""
        values = self._index[name].to_pylist()
        names = self._dataset.vocabulary.instrument_names
        if name == "programs":
            return pa.array([", ".join(names[one] for one in row or []) for row in values])
        return pa.array([", ".join(_item(one) for one in row or []) for row in values])

    def _rows(
        self, filters: tuple[tuple[str, str], ...], search: str, sort: str, descending: bool
    ) -> np.ndarray:
        """The numbers of the songs that pass, in order.

        Args:
            filters: column and what stands in its box; all must hold.
            search: part of a path or of an md5; empty for all.
            sort: a column; empty for the order of the dataset.
            descending: the greatest first. Empty values come last either way.

        Returns:
            shape (songs,), int64.

        Raises:
            WrongQuery: an unknown column, or a filter that says nothing.
        """
        keep = pa.array(np.ones(len(self._dataset), bool))
        for name, wanted in filters:
            keep = pc.and_(keep, self._passes(name, wanted.strip()))
        if search:
            found = [_contains(self._index[name], search) for name in SEARCHED]
            keep = pc.and_(keep, pc.or_(*found))
        rows = np.flatnonzero(pc.fill_null(keep, False).to_numpy(zero_copy_only=False))
        if not sort:
            return rows
        self._check(sort)
        order = "descending" if descending else "ascending"
        values = pa.table({"value": self._column(sort).take(pa.array(rows)), "row": rows})
        keys = [("value", order), ("row", "ascending")]
        return rows[pc.sort_indices(values, sort_keys=keys).to_numpy()]

    def _check(self, name: str) -> None:
        if name not in self.columns:
            raise WrongQuery(f"there is no column {name}")

    def _passes(self, name: str, wanted: str) -> pa.Array:
        self._check(name)
        column, kind = self._column(name), self.columns[name]
        column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        if kind == "truth":
            return pc.equal(column, _truth(name, wanted))
        if kind == "number":
            return _compare(name, column, wanted)
        if wanted.startswith("="):
            return pc.equal(column, wanted[1:].strip())
        return _contains(column, wanted)

    def page(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """What a table shows of these songs: plain data, text made visible."""
        taken = pa.array(rows)
        columns = {name: self._column(name).take(taken).to_pylist() for name in self.columns}
        return [
            {name: _shown(values[n]) for name, values in columns.items()} for n in range(len(rows))
        ]


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "truth"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"


def _item(one: Any) -> str:
    return ": ".join(map(str, one)) if isinstance(one, tuple) else str(one)


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if np.isfinite(value) else None
    return visible(value) if isinstance(value, str) else value


def _contains(column: pa.Array | pa.ChunkedArray, wanted: str) -> pa.Array:
    found = pc.match_substring(column, wanted, ignore_case=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _truth(name: str, wanted: str) -> bool:
    truth = {"yes": True, "true": True, "no": False, "false": False}.get(wanted.lower())
    if truth is None:
        raise WrongQuery(f"{name}: {wanted!r} is neither yes nor no")
    return truth


def _compare(name: str, column: pa.Array, wanted: str) -> pa.Array:
    numbers = column.cast(pa.float64())
    if both := RANGE.fullmatch(wanted):
        low, high = map(float, both.groups())
        return pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    if one := COMPARED.fullmatch(wanted):
        return COMPARISONS[one[1]](numbers, float(one[2]))
    raise WrongQuery(f"{name}: {wanted!r} is no number; try 3, >=3, <3 or 3..5")


def filters_of(query: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """The filters of a parsed query string: parameters that start with `f.`, empty ones not."""
    pairs = ((name[2:], values[-1]) for name, values in query.items() if name.startswith("f."))
    return tuple((name, wanted) for name, wanted in pairs if wanted.strip())
