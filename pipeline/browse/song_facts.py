"""One file of a dataset, found by number, checksum or path, and everything recorded about it."""

import textwrap
from typing import Any

import numpy as np
import pyarrow as pa

from shards import Dataset
from shards.errors import LakhxlError
from shards.text import visible

MAX_LISTED = 5
FIRST_TOKENS = 40
"""Tokens shown of a song."""
LABEL_WIDTH = 23


def find_song(dataset: Dataset, wanted: str) -> int:
    """The number of a song by its number, the start of its md5, or its path.

    A whole path takes precedence over a part of one.

    Raises:
        LakhxlError: no song, or several.
    """
    number = _number_below(len(dataset), wanted)
    if number is not None:
        return number
    return _only(_matching(dataset.index, wanted), wanted, dataset, dataset.index, "songs")


def find_row(dataset: Dataset, wanted: str) -> int:
    """The row in the ledger of a song, as in `find_song`; where no song matches, of another file.

    Raises:
        LakhxlError: no file, or several.
    """
    ledger = dataset.ledger()
    if _number_below(len(dataset), wanted) is None:
        found = _matching(ledger, wanted)
        if found and all(ledger["song"][row].as_py() is None for row in found):
            return _only(found, wanted, dataset, ledger, "files that were not kept (--ledger)")
    return ledger_row(dataset, find_song(dataset, wanted))


def find_ledger_row(dataset: Dataset, wanted: str) -> int:
    """The row in the ledger by its number; what is no number is found as in `find_row`.

    Raises:
        LakhxlError: no file, or several.
    """
    if not wanted.isdecimal():
        return find_row(dataset, wanted)
    rows = dataset.ledger().num_rows
    number = _number_below(rows, wanted)
    if number is None:
        raise LakhxlError(f"{dataset.path} has no row {wanted} in its ledger; it has {rows:,} rows")
    return number


def _number_below(count: int, wanted: str) -> int | None:
    is_number = wanted.isdecimal() and len(wanted) < 20  # int() refuses thousands of digits
    return int(wanted) if is_number and int(wanted) < count else None


def _matching(table: pa.Table, wanted: str) -> list[int]:
    """Rows whose path is `wanted`; else those whose path has it, or whose md5 begins with it."""
    paths, md5s = table["path"].to_pylist(), table["md5"].to_pylist()
    if exact := [row for row, path in enumerate(paths) if path == wanted]:
        return exact
    is_checksum = len(wanted) >= 6 and all(digit in "0123456789abcdef" for digit in wanted)
    return [
        row
        for row, (path, md5) in enumerate(zip(paths, md5s, strict=True))
        if wanted in path or (is_checksum and (md5 or "").startswith(wanted))
    ]


def _only(found: list[int], wanted: str, dataset: Dataset, table: pa.Table, what: str) -> int:
    if len(found) == 1:
        return found[0]
    if not found:
        raise LakhxlError(
            f"{dataset.path} has no song {wanted!r}; expected 0 to {table.num_rows - 1}, the start "
            "of an md5, or part of a path"
        )
    paths = [(row, table["path"][row].as_py()) for row in found[:MAX_LISTED]]
    listed = ", ".join(f"{row} ({path})" for row, path in paths)
    more = " …" if len(found) > MAX_LISTED else ""
    raise LakhxlError(f"{wanted!r} matches {len(found)} {what} of {dataset.path}: {listed}{more}")


def ledger_row(dataset: Dataset, song: int) -> int:
    """The row of a song's file in the ledger."""
    return int(np.flatnonzero(dataset.ledger()["song"].to_numpy() == song)[0])


def record(dataset: Dataset, row: int) -> dict[str, Any]:
    """Everything known of one file, by its row in the ledger, as plain data.

    All columns of its row in the ledger, whose number is `ledger_row`. Where it was kept, also
    those of the index, the `program_names` and the `first_tokens`; `repairs` are those of the
    ledger.
    """
    file = dataset.ledger().slice(row, 1).to_pylist()[0]
    file = {"ledger_row": row, **file, "repairs": dict(file["repairs"] or [])}
    number = file["song"]
    if number is None:
        return file
    index = dataset.index.slice(number, 1).to_pylist()[0]
    names, instruments = dataset.vocabulary.names, dataset.vocabulary.instrument_names
    return {
        "song": number,
        **index,
        **file,
        "program_names": [instruments[program] for program in index["programs"]],
        "first_tokens": [names[token] for token in dataset.song(number).tokens[:FIRST_TOKENS]],
    }


def facts(dataset: Dataset, row: int) -> dict[str, str]:
    """The record of a file as text, without empty values and control characters."""
    shown = record(dataset, row)
    shown["ledger row"] = shown.pop("ledger_row")
    shown["repairs"] = [f"{code} {count}" for code, count in shown["repairs"].items()]
    if shown["song"] is not None:
        shown["programs"] = shown.pop("program_names")
        silences = shown["silences"] or []
        shown["silences"] = [f"{bars} before bar {bar + 1}" for bar, bars in silences]
        shown["first tokens"] = " ".join(shown.pop("first_tokens")) + " …"
    return {name: _text(value) for name, value in shown.items() if value not in (None, "", [])}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(", ".join(map(str, value)) if isinstance(value, list) else value)


def facts_text(facts: dict[str, str]) -> str:
    """Facts as lines for a terminal."""
    return "\n".join(
        textwrap.fill(f"{name:<{LABEL_WIDTH}}{value}", 100, subsequent_indent=" " * LABEL_WIDTH)
        for name, value in facts.items()
    )


def removed_silences(dataset: Dataset, number: int) -> list[tuple[int, int]]:
    """Where silence was removed from a song: the bar, from 0, that follows it, and its bars."""
    return dataset.index["silences"][number].as_py() or []
