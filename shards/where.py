"""Select songs by an SQL condition over the index, such as `instruments >= 3 and meter = '4/4'`.

A condition may come with somebody's run. DuckDB can be kept from files, but not from making a text
of 4 GB or a list of as many numbers while it plans, which neither its bound of memory nor an
interrupt stops. So a condition is parsed first, and may consist only of columns, constants,
comparisons and functions whose results are no larger than what they are given, which do not depend
on chance or time either: a run's songs stay the same.
"""

import re
import threading
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from shards.errors import LakhxlError
from shards.plain_file import parse_json
from shards.settings import nearest

SONG = "song"
"""What a condition calls the number of a song."""
MAX_SECONDS = 10
"""For a condition; a million songs take a tenth of one."""
MAX_LENGTH = 2**17
"""Letters of a condition: what Linux allows one word of a command line."""
MAX_DEPTH = 400
"""Of a parsed condition, which has two to three levels for each operator inside another."""
PARTS = {
    "COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "BETWEEN", "CASE", "CAST",
    "TYPE", "FUNCTION",
}  # fmt: skip
"""What a condition may consist of, in DuckDB's words: no queries, windows or lambdas."""
FUNCTIONS = {
    "+", "-", "*", "/", "//", "%", "**", "^", "&", "|", "~~", "!~~", "~~*", "!~~*", "~~~", "||",
    "nullif", "abs", "round", "floor", "ceil", "trunc", "sign", "sqrt", "cbrt", "ln", "log", "log2",
    "log10", "exp", "pow", "power", "mod", "least", "greatest", "isnan", "isfinite", "isinf",
    "lower", "upper", "length", "len", "strlen", "contains", "prefix", "suffix", "starts_with",
    "ends_with", "instr", "strpos", "position", "left", "right", "substring", "substr", "trim",
    "ltrim", "rtrim", "concat", "hash", "md5", "regexp_matches", "regexp_full_match",
    "regexp_extract", "row", "list_value", "list_contains", "list_has", "list_has_any",
    "list_has_all", "list_position", "list_extract", "list_sum", "list_min", "list_max", "list_avg",
    "list_distinct", "list_unique", "list_sort", "array_contains", "array_extract", "array_length",
    "cardinality", "map_contains", "map_keys", "map_values", "map_extract", "element_at",
}  # fmt: skip
"""Operators are functions too."""


def matching_songs(index: pa.Table, where: str) -> np.ndarray:
    """Find the songs for which a condition over the index's columns is true.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        where: one condition, as it would follow WHERE, of PARTS and FUNCTIONS. It cannot read
            anything but the index and, as `song`, the numbers of the songs.

    Returns:
        shape (songs,), bool; False where the condition is null.

    Raises:
        LakhxlError: the condition is not valid SQL, holds something else, or has an unknown column
            (with the nearest known one).
    """
    numbered = index.append_column(SONG, pa.array(np.arange(index.num_rows)))
    with duckdb.connect() as connection:
        connection.execute("set enable_external_access = false; set memory_limit = '1GB'")
        if fault := _part_fault(connection, where):
            raise LakhxlError(f"--where {where!r}: {fault}")
        alarm = threading.Timer(MAX_SECONDS, connection.interrupt)
        alarm.start()
        try:
            songs = connection.from_arrow(numbered)
            rows = songs.filter(where).project(SONG).fetchnumpy()[SONG]
        except duckdb.InterruptException as error:
            fault = f"it takes more than {MAX_SECONDS} s; choose by the index's columns alone"
            raise LakhxlError(f"--where {where!r}: {fault}") from error
        except duckdb.Error as error:
            fault = _fault(str(error), where, numbered.column_names)
            raise LakhxlError(f"--where {where!r}: {fault}") from error
        finally:
            alarm.cancel()
    matching = np.zeros(index.num_rows, bool)
    matching[rows.astype(np.int64)] = True
    return matching


def _part_fault(connection: duckdb.DuckDBPyConnection, where: str) -> str | None:
    """What a condition holds that none may; it is parsed, not planned."""
    if len(where) > MAX_LENGTH:
        return f"it has {len(where):,} letters; expected at most {MAX_LENGTH:,}"
    try:
        # the line break ends a comment
        query = "select json_serialize_sql('select ' || chr(10) || $1)"
        ((text,),) = connection.execute(query, [where]).fetchall()
        parsed = parse_json(text, MAX_DEPTH)
    except (duckdb.Error, ValueError) as error:
        return str(error).splitlines()[0]
    if parsed["error"]:
        return parsed["error_message"].splitlines()[0]
    return next(filter(None, map(_unknown_part, _expressions(parsed["statements"]))), None)


def _expressions(tree: Any) -> Iterator[dict[str, Any]]:
    """The expressions of a parsed statement."""
    if isinstance(tree, dict) and "class" in tree:
        yield tree
    if isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _expressions(child)


def _unknown_part(part: dict[str, Any]) -> str | None:
    """What is wrong with one expression, the others inside it aside."""
    name = part.get("function_name", "")
    if part["class"] not in PARTS:
        return f"a condition cannot hold a {part['class'].lower()}; choose by the index's columns"
    if name and name.lower() not in FUNCTIONS:
        known = ", ".join(sorted(filter(str.isidentifier, FUNCTIONS)))
        return f"a condition cannot use {name!r}; it may use {known}"
    return None


def _fault(error: str, where: str, columns: list[str]) -> str:
    """DuckDB's error in one line; of an unknown column, what may have been meant."""
    unknown = re.match(r'Binder Error: Referenced column "(.*?)" not found', error)
    if unknown is None:
        return error.splitlines()[0]
    name, hint = unknown[1], nearest(unknown[1], columns)
    if "did you mean" not in hint and f'"{name}"' in where:
        hint = f"; text is quoted like this: '{name}'"
    return f"there is no column {name!r}{hint}"
