"""One song of a dataset, found by number, checksum or path, and everything recorded about it."""

import textwrap
from typing import Any

import numpy as np

from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import LEDGER_SCHEMA
from shards.text import visible

MAX_LISTED = 5
FIRST_TOKENS = 40
"""Tokens shown of a song."""
LABEL_WIDTH = 20


def find_song(dataset: Dataset, wanted: str) -> int:
    """The number of a song by its number, the start of its md5, or its path.

    A whole path takes precedence over a part of one.

    Raises:
        LakhxlError: no song, or several.
    """
    if wanted.isdecimal() and int(wanted) < len(dataset):
        return int(wanted)
    paths, md5s = dataset.index["path"].to_pylist(), dataset.index["md5"].to_pylist()
    if wanted in paths:
        return paths.index(wanted)
    is_checksum = len(wanted) >= 6 and all(digit in "0123456789abcdef" for digit in wanted)
    found = [
        number
        for number, (path, md5) in enumerate(zip(paths, md5s, strict=True))
        if wanted in path or (is_checksum and md5.startswith(wanted))
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise LakhxlError(
            f"{dataset.path} has no song {wanted!r}; expected 0 to {len(dataset) - 1}, the start "
            "of an md5, or part of a path"
        )
    listed = ", ".join(f"{number} ({paths[number]})" for number in found[:MAX_LISTED])
    raise LakhxlError(f"{wanted!r} matches {len(found)} songs of {dataset.path}: {listed} …")


def facts(dataset: Dataset, number: int) -> dict[str, str]:
    """All columns of the song's rows in index and ledger, and its first tokens, as text.

    Empty values are left out. The text contains no control characters: see
    `shards.console.visible`.
    """
    row = {"song": number, **dataset.index.slice(number, 1).to_pylist()[0]}
    ledger = dataset.ledger()
    place = int(np.flatnonzero(ledger["song"].to_numpy() == number)[0])
    ledger_row = ledger.slice(place, 1).to_pylist()[0]
    row |= {name: ledger_row[name] for name in LEDGER_SCHEMA.names if name not in row}
    names, instruments = dataset.vocabulary.names, dataset.vocabulary.instrument_names
    first = dataset.song(number).tokens[:FIRST_TOKENS]
    row |= {
        "programs": [instruments[program] for program in row["programs"]],
        "repairs": [f"{code} {count}" for code, count in ledger_row["repairs"] or []],
        "silences": [f"{bars} before bar {bar + 1}" for bar, bars in row["silences"] or []],
        "first tokens": " ".join(names[token] for token in first) + " …",
    }
    return {name: _text(value) for name, value in row.items() if value not in (None, "", [])}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(", ".join(map(str, value)) if isinstance(value, list) else value)


def facts_text(dataset: Dataset, number: int) -> str:
    """The facts of a song as lines for a terminal."""
    return "\n".join(
        textwrap.fill(f"{name:<{LABEL_WIDTH}}{value}", 100, subsequent_indent=" " * LABEL_WIDTH)
        for name, value in facts(dataset, number).items()
    )


def removed_silences(dataset: Dataset, number: int) -> list[tuple[int, int]]:
    """Where silence was removed from a song: the bar, from 0, that follows it, and its bars."""
    return dataset.index["silences"][number].as_py() or []
