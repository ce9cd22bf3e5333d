"""One song of a dataset, found by number, checksum or path, and everything known about it."""

import textwrap
from typing import Any

import pyarrow.compute as pc

from shards import Dataset
from shards.console import visible
from shards.errors import LakhxlError
from shards.layout import LEDGER_SCHEMA

MOST_LISTED = 5
OPENING = 40
"""Tokens shown of a song."""
LABEL = 20
"""Columns of a terminal for the names of facts."""


def find_song(dataset: Dataset, wanted: str) -> int:
    """The number of the song that `wanted` means: its row, the start of its md5, or its path.

    A whole path wins over a part of one.

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
    listed = ", ".join(f"{number} ({paths[number]})" for number in found[:MOST_LISTED])
    raise LakhxlError(f"{wanted!r} means {len(found)} songs of {dataset.path}: {listed} …")


def facts(dataset: Dataset, number: int) -> dict[str, str]:
    """All columns of the song's rows in the index and the ledger, and its first tokens, as text.

    What is empty is left out. Nothing in the text moves a cursor or turns the direction of
    writing; see `shards.console.visible`.
    """
    row = {"song": number, **dataset.index.slice(number, 1).to_pylist()[0]}
    ledger = dataset.ledger()
    of_file = ledger.slice(pc.index(ledger["song"], number).as_py(), 1).to_pylist()[0]
    row |= {name: of_file[name] for name in LEDGER_SCHEMA.names if name not in row}
    row |= {
        "programs": ", ".join(
            dataset.vocabulary.instrument_names[program] for program in row["programs"]
        ),
        "repairs": ", ".join(f"{code} {count}" for code, count in of_file["repairs"] or []),
        "silences": ", ".join(
            f"{bars} before bar {bar + 1}" for bar, bars in row["silences"] or []
        ),
    }
    names = dataset.vocabulary.names
    row["opening"] = (
        " ".join(names[token] for token in dataset.song(number).tokens[:OPENING]) + " …"
    )
    return {name: _written(value) for name, value in row.items() if value not in (None, "", [])}


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(", ".join(map(str, value)) if isinstance(value, list) else value)


def describe(dataset: Dataset, number: int) -> str:
    """The facts of a song as lines for a terminal."""
    return "\n".join(
        textwrap.fill(f"{name:<{LABEL}}{value}", 100, subsequent_indent=" " * LABEL)
        for name, value in facts(dataset, number).items()
    )


def cuts(dataset: Dataset, number: int) -> list[tuple[int, int]]:
    """Where silence was taken out of a song: the bar, from 0, before it, and how many bars."""
    return dataset.index["silences"][number].as_py() or []
