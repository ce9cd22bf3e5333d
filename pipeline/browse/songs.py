"""The index as a table to filter, sort and page.

Conventions
    box   what a person types above a column. Of numbers: `3`, `>=3`, `<3`, `3..5`; of booleans:
          `yes`, `no`; of text: a part of it, ignoring case, or `=4/4` for the whole of it

A box is parsed here and becomes an SQL condition that `shards.where` answers; no part of it
reaches DuckDB but as a number or a quoted text.
"""

import math
import re
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from shards import Dataset
from shards.text import visible
from shards.where import matching_songs

NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
COMPARISON = re.compile(rf"(>=|<=|>|<|=|)\s*({NUMBER})")
RANGE = re.compile(rf"({NUMBER})\s*\.\.\s*({NUMBER})")
SEARCHED = ("path", "md5")
REMEMBERED = 16
"""Results kept, so that turning a page does not filter again."""


class QueryError(ValueError):
    """A box that cannot be parsed; the message says what can."""


class Songs:
    """The index of a dataset as a table of what a page can show, filter and sort."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.rows = lru_cache(REMEMBERED)(self._rows)

    @cached_property
    def _table(self) -> pa.Table:
        """The index with the number of each song, and its lists as text."""
        index, names = self._dataset.index, self._dataset.vocabulary.instrument_names
        table = index.add_column(0, "song", pa.array(np.arange(len(index))))
        for field in index.schema:
            if pa.types.is_nested(field.type):
                write = names.__getitem__ if field.name == "programs" else _item_text
                texts = [", ".join(map(write, row or [])) for row in index[field.name].to_pylist()]
                place = table.schema.get_field_index(field.name)
                table = table.set_column(place, field.name, pa.array(texts, pa.string()))
        return table

    @cached_property
    def columns(self) -> dict[str, str]:
        """Name of each column -> number, boolean or text."""
        return {field.name: _kind(field.type) for field in self._table.schema}

    def _rows(
        self, boxes: tuple[tuple[str, str], ...], search: str, sort: str, descending: bool
    ) -> np.ndarray:
        """The numbers of the songs that pass, in order.

        Args:
            boxes: column and what is typed above it; all must hold.
            search: part of a path or of an md5; empty for all.
            sort: a column; empty for the order of the dataset.
            descending: the greatest first. Empty values come last either way.

        Returns:
            shape (songs,), int64.

        Raises:
            QueryError: an unknown column, or a box that cannot be parsed.
        """
        conditions = [self._condition(name, box.strip()) for name, box in boxes]
        if search:
            conditions.append(" or ".join(_contains(_quoted(name), search) for name in SEARCHED))
        rows = np.arange(self._table.num_rows)
        if conditions:
            where = " and ".join(f"({condition})" for condition in conditions)
            rows = rows[matching_songs(self._table, where)]
        if not sort:
            return rows
        self._check(sort)
        values = pa.table({"value": self._table[sort].take(pa.array(rows)), "row": rows})
        order = [("value", "descending" if descending else "ascending"), ("row", "ascending")]
        return values.sort_by(order)["row"].to_numpy()

    def _check(self, name: str) -> None:
        if name not in self.columns:
            raise QueryError(f"there is no column {name}")

    def _condition(self, name: str, box: str) -> str:
        """What a box means, in SQL."""
        self._check(name)
        kind, column = self.columns[name], _quoted(name)
        if kind == "boolean":
            return f"{column} = {_boolean(name, box)}"
        if kind == "number":
            # DuckDB holds NaN for greater than all numbers; a song without a value passes nothing.
            return _comparison(name, f"nullif({column}::double, 'nan'::double)", box)
        if box.startswith("="):
            return f"{column} = {_literal(box[1:].strip())}"
        return _contains(column, box)

    def page(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """What a table shows of these songs: plain data, text made visible."""
        return [
            {name: _shown(value) for name, value in row.items()}
            for row in self._table.take(pa.array(rows)).to_pylist()
        ]


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"


def _item_text(item: Any) -> str:
    return ": ".join(map(str, item)) if isinstance(item, tuple) else str(item)


def _shown(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return visible(value) if isinstance(value, str) else value


def _boolean(name: str, box: str) -> str:
    value = {"yes": "true", "true": "true", "no": "false", "false": "false"}.get(box.lower())
    if value is None:
        raise QueryError(f"{name}: {box!r} is neither yes nor no")
    return value


def _comparison(name: str, number: str, box: str) -> str:
    if both := RANGE.fullmatch(box):
        low, high = map(_number, both.groups())
        return f"{number} between {low} and {high}"
    if one := COMPARISON.fullmatch(box):
        return f"{number} {one[1] or '='} {_number(one[2])}"
    raise QueryError(f"{name}: {box!r} is no number; try 3, >=3, <3 or 3..5")


def _number(text: str) -> str:
    return f"'{float(text)!r}'::double"


def _contains(column: str, text: str) -> str:
    return f"contains(lower({column}), lower({_literal(text)}))"


def _literal(text: str) -> str:
    """A text as an SQL literal, in which only the quote has a meaning."""
    if "\0" in text:
        raise QueryError("a text with a NUL character cannot be searched for")
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def boxes_of(query: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """The boxes of a parsed query string: parameters that start with `f.`, without empty ones."""
    pairs = ((name[2:], values[-1]) for name, values in query.items() if name.startswith("f."))
    return tuple((name, box) for name, box in pairs if box.strip())
