"""What a worker is doing right now, readable from outside even after its death.

A few numbers and names in a memory-mapped file beside the unfinished dataset: no call into the
system a file, and nothing is lost when the worker is killed.
"""

import mmap
import os
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

HEAD = struct.Struct("<qqq")
"""The worker's process, the place of the file in hand, files kept."""
REASON = struct.Struct("<40sq")
"""Why files were dropped, and how many; a name stands before its first count does."""
REASONS = 48
SIZE = HEAD.size + REASONS * REASON.size
OTHER = "other"
"""Counts what there are no more places for."""


@dataclass(frozen=True)
class Progress:
    """A worker's place in its slice.

    Attributes:
        process: of the worker; 0 before it has begun.
        place: of the file in hand; -1 before the first, the slice's length while publishing.
        kept: files finished that became songs.
        dropped: files finished that did not, by rule or outcome.
    """

    process: int = 0
    place: int = -1
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def journal_path(folder: Path, number: int) -> Path:
    """Where the journal of a slice lies."""
    return folder / f"journal-{number:05d}"


def read_journal(folder: Path, number: int) -> Progress:
    """How far a slice has come; a journal that is not there yet reads as nothing done."""
    try:
        data = journal_path(folder, number).read_bytes()
    except FileNotFoundError:
        return Progress()
    if len(data) != SIZE:
        return Progress()
    process, place, kept = HEAD.unpack_from(data)
    rows = (REASON.unpack_from(data, HEAD.size + n * REASON.size) for n in range(REASONS))
    dropped = {name.rstrip(b"\0").decode(errors="replace"): count for name, count in rows if count}
    return Progress(process, place, kept, Counter(dropped))


class Journal:
    """The worker's side: a context in which each file is begun and ended."""

    def __init__(self, folder: Path, number: int) -> None:
        self._path = journal_path(folder, number)
        self._kept = 0
        self._dropped: Counter[str] = Counter()
        self._places: dict[str, int] = {}

    def __enter__(self) -> "Journal":
        head = HEAD.pack(os.getpid(), -1, 0)
        self._path.write_bytes(head.ljust(SIZE, b"\0"))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._map.close()

    def begin(self, place: int) -> None:
        """Note which file is in hand."""
        HEAD.pack_into(self._map, 0, os.getpid(), place, self._kept)

    def kept(self) -> None:
        """Count the file in hand as a song."""
        self._kept += 1

    def dropped(self, reason: str) -> None:
        """Count the file in hand as none."""
        if reason not in self._places and len(self._places) == REASONS - 1:
            reason = OTHER
        place = self._places.setdefault(reason, len(self._places))
        self._dropped[reason] += 1
        name = reason.encode()[: REASON.size - 8]
        REASON.pack_into(self._map, HEAD.size + place * REASON.size, name, self._dropped[reason])

    @property
    def progress(self) -> Progress:
        """The counts so far, as a reader would see them."""
        return Progress(os.getpid(), -1, self._kept, Counter(self._dropped))
