"""Archives, read without unpacking them: .tar, .tar.gz, .tar.xz and .zip.

A listing says where each MIDI file lies, and refuses, with a row for each, what must not be
read: names that lead out of the archive, links, devices, members too large, too many bytes out
of too few. Nothing is ever written under a name that an archive gives. Members of .tar and .zip
are then read where they lie, by any process; a compressed .tar has to be read from front to
back, see `pipeline.running.feed`.

An archive that is damaged is listed up to the damage, and is itself a row of the ledger.
"""

import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.sources.members import LISTING_SCHEMA, Damaged, Member, Refused, is_midi, readable
from pipeline.sources.tars import open_tar, tar_members
from pipeline.sources.zips import exactly, unzipped, zip_members

TAR = (".tar",)
COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
ZIP = (".zip",)


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive we read."""
    return path.name.lower().endswith(TAR + COMPRESSED_TAR + ZIP)


def is_streamed(path: Path) -> bool:
    """Whether an archive can only be read from front to back."""
    return path.name.lower().endswith(COMPRESSED_TAR)


class Rows:
    """A listing under construction: a few machine words a file, not an object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: list[str] = []
        self._numbers = {name: array("q") for name in ("offset", "size", "packed", "method", "crc")}
        self._refused: dict[int, tuple[str, str, float | None, float | None]] = {}

    def add(self, name: str, kind: str, member: Member) -> None:
        """One member with a MIDI name; `kind` is `file`, or why it is not to be read."""
        inside = inner_name(name)
        for column in self._numbers:
            value = getattr(member, column)
            self._numbers[column].append(-1 if value is None else value)
        if inside is None:
            self._refuse("outside", "its name leads out of the archive")
        elif kind != "file":
            self._refuse(kind, KINDS[kind])
        elif max(member.size, member.packed or 0) > self._most:
            size = max(member.size, member.packed or 0)
            self._refuse("too_large", "larger than max_file_size", size, self._most)
        self._names.append(readable(inside or name).replace("\0", "\\0"))

    def _refuse(self, *why: Any) -> None:
        self._refused[len(self._names)] = (*why, *[None] * (4 - len(why)))

    def end(self, archive: Path, damaged: Damaged) -> None:
        """The archive itself, as the last row: nothing is known of what comes after."""
        for column in self._numbers.values():
            column.append(-1)
        self._refuse(damaged.rule, str(damaged), damaged.value, damaged.threshold)
        self._names.append(readable(archive.name))

    def refuse_overlaps(self) -> None:
        """Refuse members that share bytes with another: the trick of the best zip bombs."""
        offset, packed = (np.array(self._numbers[name], np.int64) for name in ("offset", "packed"))
        packed = np.maximum(packed, 0)  # a tar's members cannot
        order = np.argsort(offset, kind="stable")
        ends = np.maximum.accumulate((offset + packed)[order])
        for row in order[1:][offset[order][1:] < ends[:-1]].tolist():
            why = "its bytes are another member's too"
            self._refused.setdefault(row, ("bomb", why, None, None))

    def table(self) -> pa.Table:
        """`LISTING_SCHEMA`, in the order of the archive."""
        rows = len(self._names)
        numbers = {}
        for name, values in self._numbers.items():
            column = np.frombuffer(values, np.int64) if rows else np.zeros(0, np.int64)
            numbers[name] = pa.array(column, LISTING_SCHEMA.field(name).type, mask=column < 0)
        refused = [self._refused.get(row, (None,) * 4) for row in range(rows)]
        names = ("rule", "detail", "value", "threshold")
        reasons = {name: [why[n] for why in refused] for n, name in enumerate(names)}
        columns = {"name": self._names, "path": pa.nulls(rows, pa.binary()), **numbers, **reasons}
        return pa.table(
            [pa.array(columns[field.name], field.type) for field in LISTING_SCHEMA], LISTING_SCHEMA
        )


KINDS = {
    "link": "a link is not followed",
    "not_a_file": "neither a plain file nor a folder",
    "sparse": "a sparse file, stored with holes",
    "encrypted": "needs a password",
    "unknown_method": "packed by a method other than deflate",
}
"""Why a member is refused whatever its size."""


def inner_name(name: str) -> str | None:
    """A member's name without `./`, or None where it would lead out of its folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    absolute = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None
    return None if absolute or ".." in parts else "/".join(parts)


def list_archive(path: Path, most: int, watch: Callable[[int, int], None]) -> pa.Table:
    """Where the MIDI files of an archive lie, in the order in which they do.

    Args:
        path: the archive.
        most: bytes; larger members are refused.
        watch: called now and then with bytes read and in all.
    """
    rows, list_ = Rows(most), _list_zip if path.name.lower().endswith(ZIP) else _list_tar
    try:
        for name, kind, member in list_(path, watch):
            if kind != "folder" and is_midi(name):
                rows.add(name, kind, member)
    except Damaged as damaged:
        rows.end(path, damaged)
    rows.refuse_overlaps()
    return rows.table()


Members = Iterator[tuple[str, str, Member]]


def _list_tar(path: Path, watch: Callable[[int, int], None]) -> Members:
    with open_tar(path) as stream:
        for count, member in enumerate(tar_members(stream)):
            if count % 64 == 0:
                watch(stream.read_so_far, stream.size)
            yield member
        stream.drain()  # the checksum of what was compressed comes last


def _list_zip(path: Path, watch: Callable[[int, int], None]) -> Members:
    with path.open("rb") as file:
        yield from zip_members(file)


def read_member(path: str, member: Member, most: int) -> bytes:
    """The contents of a member of a .tar, a .zip or a spool, read where it lies.

    Raises:
        Refused: it has more than `most` bytes, or not those that the archive states.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            if member.method is None:
                file.seek(member.offset)
                return exactly(file, member.size)
            return unzipped(file, member, most)
    except OSError as error:
        raise Refused("cannot_read", error.strerror or str(error)) from None
