"""List and read archives without unpacking them to disk: .zip, .tar, and .tar in four packings.

A listing holds the location of each MIDI file. Members that must not be read are refused, with a
row each: names that lead out of the archive, links, devices, members that are too large, and
decompression bombs. Nothing is ever written under a name taken from an archive. Members of .tar
and .zip can be read in place by any process; a compressed .tar has to be read from front to back
(see `pipeline.running.feed`).

A damaged archive is listed up to the damage and gets a row of its own in the ledger. Archives in
archives, and formats that are not read, get a row each.
"""

import os
import re
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.sources.members import (
    LISTING_SCHEMA,
    PASSED_OVER,
    Damaged,
    Member,
    is_midi,
    unread_rule,
)
from pipeline.sources.plain_file import open_plain
from pipeline.sources.tars import PACKINGS, open_tar, tar_members
from pipeline.sources.zips import exactly, unzipped, zip_members
from shards.text import escape_bytes

TAR = (".tar",)
COMPRESSED_TAR = tuple(suffix for packing in PACKINGS for suffix in packing.suffixes)
ZIP = (".zip",)
ARCHIVES = TAR + COMPRESSED_TAR + ZIP
ROW_BYTES = 128
"""Memory that a row takes beside its name."""
MAX_NAMES = 64 << 20
"""Bytes of memory for the rows of one archive; more only if the archive is larger itself."""


def is_archive(name: str) -> bool:
    """Whether a file name has the suffix of a supported archive."""
    return name.lower().endswith(ARCHIVES)


def is_streamed(name: str) -> bool:
    """Whether an archive of this name can only be read from front to back."""
    return name.lower().endswith(COMPRESSED_TAR)


class Rows:
    """A listing under construction: a few machine words per file instead of an object.

    Args:
        max_size: bytes; larger members are refused.
        memory: bytes that the rows may take.
    """

    def __init__(self, max_size: int, memory: int) -> None:
        self._max_size, self._memory = max_size, memory
        self._taken = 0
        self._names: list[str] = []
        self._numbers = {name: array("q") for name in ("offset", "size", "packed", "method", "crc")}
        self._refused: dict[int, tuple[str, str, float | None, float | None]] = {}

    def add(self, name: str, kind: str, member: Member) -> None:
        """Add a member; `kind` is `file`, or the reason it is refused.

        Raises:
            Damaged: the rows take more memory than they may.
        """
        inside = inner_name(name)
        self._taken += len(name) + ROW_BYTES
        if self._taken > self._memory:
            detail = "the names of its files take too much memory"
            raise Damaged("bomb", detail, self._taken, self._memory)
        for column in self._numbers:
            value = getattr(member, column)
            self._numbers[column].append(-1 if value is None else value)
        if inside is None:
            self._refuse("outside", "its name leads out of the archive")
        elif kind != "file":
            self._refuse(kind, KINDS[kind])
        elif max(member.size, member.packed or 0) > self._max_size:
            size = max(member.size, member.packed or 0)
            self._refuse("too_large", "larger than max_file_size", size, self._max_size)
        self._names.append(escape_bytes(inside or name).replace("\0", "\\0"))

    def _refuse(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        self._refused[len(self._names)] = rule, detail, value, threshold

    def end(self, archive: Path, damaged: Damaged) -> None:
        """Add a row for the damaged archive itself; nothing after the damage is known."""
        for column in self._numbers.values():
            column.append(-1)
        self._refuse(damaged.rule, str(damaged), damaged.value, damaged.threshold)
        self._names.append(escape_bytes(archive.name))

    def refuse_overlaps(self) -> None:
        """Refuse members that share bytes with another one, as zip bombs do."""
        offset, packed = (np.array(self._numbers[name], np.int64) for name in ("offset", "packed"))
        packed = np.maximum(packed, 0)  # members of a tar cannot overlap
        order = np.argsort(offset, kind="stable")
        ends = np.maximum.accumulate((offset + packed)[order])
        for row in order[1:][offset[order][1:] < ends[:-1]].tolist():
            why = "its bytes overlap another member's"
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
    "not_a_file": "neither a plain file nor a folder",
    "sparse": "a sparse file, stored with holes",
    "encrypted": "needs a password",
    "unknown_method": "compressed by a method other than deflate",
    "damaged_member": "its size or place is stated to lie outside the archive",
    **{rule: detail for rule, (_, detail) in PASSED_OVER.items()},
}
"""Reasons to refuse a member, whatever its size."""


def inner_name(name: str) -> str | None:
    """A member's name without `./`, or None if it would lead out of its folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    absolute = name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name) is not None
    return None if absolute or ".." in parts else "/".join(parts)


def list_archive(path: Path, max_size: int, watch: Callable[[int, int], None]) -> pa.Table:
    """List the MIDI files of an archive, in archive order.

    Args:
        path: the archive.
        max_size: bytes; larger members are refused.
        watch: called from time to time with bytes read and bytes in total.

    Returns:
        `LISTING_SCHEMA`: MIDI files, and what may hold music but is not read.
    """
    rows = Rows(max_size, max(path.stat().st_size, MAX_NAMES))
    list_ = _list_zip if path.name.lower().endswith(ZIP) else _list_tar
    try:
        for name, kind, member in list_(path, watch):
            if kind == "folder":
                continue
            if is_midi(name):
                rows.add(name, kind, member)
            elif rule := "archive_in_archive" if is_archive(name) else unread_rule(name):
                rows.add(name, rule, member)
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


def _list_zip(path: Path, watch: Callable[[int, int], None]) -> Members:
    with path.open("rb") as file:
        yield from zip_members(file)


def read_member(path: str, member: Member, max_size: int) -> bytes:
    """Read a member of a .tar, a .zip or a spool file.

    Raises:
        Refused: it has more than `max_size` bytes, or differs from what the archive states; or the
            archive cannot be opened or read any more.
        OSError: a system error that is not the archive's fault; see plain_file.MACHINE.
    """
    with open_plain(os.path.realpath(path)) as file:  # it may be a link that was followed
        if member.method is None:
            file.seek(member.offset)
            return exactly(file, member.size)
        return unzipped(file, member, max_size)
