"""The songs, or the files that were not kept, as a table to filter, sort and page.

DuckDB reads the memory-mapped Arrow table, and of it only the columns that a query names, so a
million rows take neither memory nor, but for the first look at a column, time.
"""

import itertools
import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.browse.boxes import (
    ALL_DIFFERENT,
    Column,
    QueryError,
    columns_of,
    condition,
    search_condition,
)
from shards import Dataset
from shards.layout import INDEX_COLUMNS, LEDGER_COLUMNS
from shards.text import visible
from shards.where import SONG

FILE = "row"
"""Column of the number of a file: its row in the ledger."""
BINS = 20
OUTLIERS = 0.005
"""Share of the values at either end that have one bin together."""
MOST_VALUES = 12
LONGEST = 40
"""Texts shown of a column, and their length."""

Boxes = tuple[tuple[str, str], ...]


class Bin(NamedTuple):
    """Rows with one value, or a range of values, of a column; `box` filters for them."""

    box: str
    label: str
    rows: int


class Table:
    """One table. Its methods may be called from several threads.

    Args:
        table: memory-mapped.
        number: name of the column to add before the others, with the number of each row.
        columns: what the page shows of it.
        instrument_names: of the vocabulary.
        base: an SQL condition that all rows meet.

    Attributes:
        number: as given.
        columns: with the added one.
    """

    def __init__(
        self,
        table: pa.Table,
        number: str,
        columns: Mapping[str, Column],
        instrument_names: Sequence[str],
        base: str = "true",
    ) -> None:
        self.number = number
        self.columns = {number: Column(number, "number", "The number of the row."), **columns}
        self._table, self._names, self._base = table, instrument_names, base
        self._lock = threading.Lock()
        self._connection = duckdb.connect()
        self._connection.execute("set enable_external_access = false")
        numbers = pa.array(np.arange(table.num_rows))
        self._connection.register("rows", table.add_column(0, number, numbers))

    def where(self, boxes: Boxes, search: str) -> str:
        """The filter as one condition over the columns; empty if it lets everything pass.

        Args:
            boxes: column and what is typed above it; all must hold.
            search: part of a path or of an md5; empty for all.

        Raises:
            QueryError: an unknown column, or a box that cannot be parsed.
        """
        conditions = [condition(self._column(name), box, self._names) for name, box in boxes]
        return self._filter([*conditions, search_condition(search) if search else ""])

    def page(
        self, where: str, sort: str, descending: bool, start: int, count: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Some rows of those that pass, in order, and how many pass.

        Args:
            where: of `where`.
            sort: a column; empty for the order of the dataset. Empty values come last.
            descending: the greatest first.
            start, count: of the rows that pass.

        Returns:
            Plain data, text made visible.
        """
        value = self._column(sort or self.number).value
        order = "desc" if descending else "asc"
        found = self._fetch(
            f"with found as materialized "
            f"(select {self.number}, {value} as v from rows where {self._all(where)}) "
            f"select {self.number}, (select count(*) from found) from found "
            f"order by v {order} nulls last, {self.number} limit {count} offset {start}"
        )
        shown = [self._row(number) for number, _ in found]
        return shown, found[0][1] if found else self._count(where)

    def _count(self, where: str) -> int:
        return self._fetch(f"select count(*) from rows where {self._all(where)}")[0][0]

    def _row(self, number: int) -> dict[str, Any]:
        (row,) = self._table.slice(number, 1).to_pylist()
        return {self.number: number, **{name: self._shown(row[name]) for name in row}}

    def _shown(self, value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.4g}") if math.isfinite(value) else None
        if isinstance(value, list):
            names = [self._names[one] if isinstance(one, int) else _entry(one) for one in value]
            value = ", ".join(names)
        return visible(value) if isinstance(value, str) else value

    def histogram(self, name: str, where: str) -> list[Bin]:
        """How the values of a column are spread over the rows that pass.

        Numbers in bins of equal width, with what is far out in the first and the last; of texts
        and programs the most frequent, the first first; nothing of paths and checksums, which all
        differ.

        Raises:
            QueryError: an unknown column.
        """
        column = self._column(name)
        if name in ALL_DIFFERENT:
            return []
        values = self._number_bins if column.kind in ("number", "map") else self._value_bins
        bins = values(column, f"{self._all(where)} and {column.value} is not null")
        empty = Bin("=", "none", self._count(self._filter([where, f"{column.value} is null"])))
        return bins + ([empty] if empty.rows else [])

    def _number_bins(self, column: Column, where: str) -> list[Bin]:
        extent = (
            f"select min({column.value}), max({column.value}), "
            f"quantile_disc({column.value}, [{OUTLIERS}, {1 - OUTLIERS}]) from rows where {where}"
        )
        least, most, inner = self._fetch(extent)[0]
        if least is None:
            return []
        names = number_bins(least, most, *inner)
        of_bin = [condition(column, box, self._names) for box, _ in names]
        counts = ", ".join(f"count(*) filter (where {one})" for one in of_bin)
        rows = self._fetch(f"select {counts} from rows where {where}")[0]
        return [Bin(*name, count) for name, count in zip(names, rows, strict=True)]

    def _value_bins(self, column: Column, where: str) -> list[Bin]:
        value = f"unnest({column.name})" if column.kind == "programs" else column.name
        found = self._fetch(
            f"select {value}, count(*) from rows where {where} "
            f"group by 1 order by 2 desc, 1 limit {MOST_VALUES}"
        )
        if column.kind == "boolean":
            words = [("yes" if value else "no", rows) for value, rows in found]
            return [Bin(word, word, rows) for word, rows in words]
        if column.kind == "programs":
            found = [(self._names[program], rows) for program, rows in found]
        return [Bin(f"={text}", visible(text, LONGEST), rows) for text, rows in found]

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise QueryError(f"there is no column {name}")
        return self.columns[name]

    def _all(self, where: str) -> str:
        return self._filter([self._base, where])

    def _filter(self, conditions: Sequence[str]) -> str:
        return " and ".join(filter(None, conditions))

    def _fetch(self, query: str) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query).fetchall()


def _entry(of_map: tuple[Any, Any]) -> str:
    return f"{of_map[0]}: {of_map[1]}"


def songs_table(dataset: Dataset) -> Table:
    """The songs of a dataset."""
    columns = columns_of(INDEX_COLUMNS)
    return Table(dataset.index, SONG, columns, dataset.vocabulary.instrument_names)


def files_table(dataset: Dataset) -> Table:
    """The files of a dataset that were not kept."""
    columns = columns_of(LEDGER_COLUMNS)
    del columns[SONG]
    names = dataset.vocabulary.instrument_names
    return Table(dataset.ledger(), FILE, columns, names, base=f"{SONG} is null")


def number_bins(least: float, most: float, low: float, high: float) -> list[tuple[str, str]]:
    """Bins for numbers from `least` to `most`, as boxes and labels, without a gap.

    The bins are of equal width from `low` to `high`; what is beyond is in the first and the last.
    """
    is_whole = isinstance(least, int)
    width = _round_width((high - low) / BINS, is_whole)
    first, last = math.floor(low / width), math.floor(high / width)
    edges = [f"{number * width:.12g}" for number in range(first, last + 2)]
    bins = [(f"{a}..<{b}", a) for a, b in itertools.pairwise(edges)]
    if is_whole and width == 1:
        bins = [(a, a) for a in edges[:-1]]
    if most >= float(edges[-1]):
        bins[-1] = (f">={edges[-2]}", f"{edges[-2]} and more")
    if least < float(edges[0]):
        bins[0] = (f"<{edges[1]}", f"below {edges[1]}")
    if len(bins) == 1 and least < float(edges[0]) and most >= float(edges[-1]):
        bins = [(f"{least}..{most}", "all")]
    return bins


def _round_width(least: float, is_whole: bool) -> float:
    """The smallest of 1, 2, 5, 10, 20 … and, unless whole, 0.5, 0.2 … that is not below `least`."""
    if least <= 1 and is_whole:
        return 1
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)
