"""What a person types above a column, parsed into a condition as `trainer fit --where` takes it.

Conventions
    box   of numbers: `3`, `>=3`, `<3`, `3..5` or `3..<5`; of booleans: `yes`, `no`; of text: a
          part of it, ignoring case, or `=4/4` for the whole of it; of programs: the same, of the
          name of any; of maps: numbers, for how many entries; `=` of any column: no value

No part of a box reaches DuckDB but as a number or a quoted text, and only known columns are named.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from shards.vocabulary import PROGRAMS

NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
COMPARISON = re.compile(rf"(>=|<=|>|<|=|)\s*({NUMBER})")
RANGE = re.compile(rf"({NUMBER})\s*\.\.(<?)\s*({NUMBER})")
WORDS = {"yes": True, "true": True, "no": False, "false": False}
CHECKSUM = re.compile("[0-9a-f]{6,32}")
ALL_DIFFERENT = ("path", "md5")


class QueryError(ValueError):
    """A box that cannot be parsed; the message says what can."""


class Column(NamedTuple):
    """A column that a page shows.

    Attributes:
        kind: number, boolean, text, programs or map.
        help: what it means.
    """

    name: str
    kind: str
    help: str

    @property
    def value(self) -> str:
        """What is compared and sorted by, in SQL; never NaN, which SQL holds for the greatest."""
        if self.kind == "map":
            return f"cardinality({self.name})"
        return f"nullif({self.name}, 'nan')" if "NaN" in self.help else self.name


def columns_of(described: Mapping[str, tuple[pa.DataType, str]]) -> dict[str, Column]:
    """The columns of one of the tables in `shards.layout`."""
    return {name: Column(name, _kind(kind), help) for name, (kind, help) in described.items()}


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "map"
    if pa.types.is_list(kind):
        return "programs"
    if pa.types.is_boolean(kind):
        return "boolean"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"


def boxes_of(query: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    """The boxes of a parsed query string: parameters that start with `f.`, without empty ones."""
    pairs = ((name[2:], values[-1].strip()) for name, values in query.items() if name[:2] == "f.")
    return tuple((name, box) for name, box in pairs if box)


def search_condition(text: str) -> str:
    """A part of a path, or the start of an md5, as a condition."""
    in_path = _contains("path", text)
    if not CHECKSUM.fullmatch(text):
        return in_path
    return f"({in_path} or starts_with(md5, {_literal(text)}))"


def condition(column: Column, box: str, instrument_names: Sequence[str]) -> str:
    """What a box means, in SQL.

    Raises:
        QueryError: it cannot be parsed.
    """
    if box == "=":
        return f"{column.value} is null"
    if column.kind == "boolean":
        if box.lower() not in WORDS:
            raise QueryError(f"{column.name}: {box!r} is neither yes nor no")
        return column.name if WORDS[box.lower()] else f"not {column.name}"
    if column.kind in ("number", "map"):
        return _comparison(column, box)
    whole = box[1:].strip() if box.startswith("=") else None
    if column.kind == "programs":
        names = [name.lower() for name in instrument_names[:PROGRAMS]]
        wanted = box.lower() if whole is None else whole.lower()
        found = [n for n, name in enumerate(names) if (name == wanted if whole else wanted in name)]
        return f"({' or '.join(f'list_contains({column.name}, {n})' for n in found) or 'false'})"
    return _contains(column.name, box) if whole is None else f"{column.name} = {_literal(whole)}"


def _comparison(column: Column, box: str) -> str:
    if both := RANGE.fullmatch(box):
        low, high = _number(column, both[1]), _number(column, both[3])
        if not both[2]:
            return f"{column.value} between {low} and {high}"
        return f"{column.value} >= {low} and {column.value} < {high}"
    if one := COMPARISON.fullmatch(box):
        return f"{column.value} {one[1] or '='} {_number(column, one[2])}"
    raise QueryError(f"{column.name}: {box!r} is no number; try 3, >=3, <3, 3..5 or 3..<5")


def _number(column: Column, text: str) -> str:
    value = float(text)
    if not math.isfinite(value):
        raise QueryError(f"{column.name}: {text} is too large")
    return f"{value:.0f}" if value.is_integer() and abs(value) < 2**53 else repr(value)


def _contains(name: str, text: str) -> str:
    lowered = _literal(text.lower() if text.isascii() else text)
    return f"contains(lower({name}), {lowered if text.isascii() else f'lower({lowered})'})"


def _literal(text: str) -> str:
    """A text as an SQL literal, in which only the quote has a meaning."""
    if "\0" in text:
        raise QueryError("a text with a NUL character cannot be searched for")
    return "'" + text.replace("'", "''") + "'"
