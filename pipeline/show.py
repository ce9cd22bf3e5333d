"""One song of a dataset, found by number, checksum or path, and everything known about it."""

import textwrap
from typing import Any

from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import LEDGER_SCHEMA

MOST_LISTED = 5


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


def describe(dataset: Dataset, number: int) -> str:
    """All columns of the song's rows in the index and the ledger, and its first tokens."""
    row = {"song": number, **dataset.index.slice(number, 1).to_pylist()[0]}
    ledger = dataset.ledger()
    place = ledger["song"].to_pylist().index(number)
    of_file = ledger.slice(place, 1).to_pylist()[0]
    row |= {name: of_file[name] for name in LEDGER_SCHEMA.names if name not in row}
    row["programs"] = ", ".join(
        dataset.vocabulary.instrument_names[program] for program in row["programs"]
    )
    row["repairs"] = ", ".join(f"{code} {count}" for code, count in of_file["repairs"] or [])
    names = dataset.vocabulary.names
    opening = " ".join(names[token] for token in dataset.song(number).tokens[:40])
    lines = [_line(name, value) for name, value in row.items() if value not in (None, "")]
    return "\n".join([*lines, _line("opening", opening + " …")])


def _line(name: str, value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return textwrap.fill(f"{name:<20}{printable}", 100, subsequent_indent=" " * 20)
