"""A worker's journal: what it is doing right now, readable even after the worker has died.

A small memory-mapped file next to the unfinished dataset's shards. Writing to it needs no system
call, and nothing is lost when the worker is killed.
"""

import mmap
import os
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.running.status import FileCounts

HEAD = struct.Struct("<qqq")
"""Process id of the worker, index of the current file, number of files kept."""
REASON = struct.Struct("<40sq")
"""Why files were dropped, and how many; a reason's name is written before its first count."""
MAX_REASONS = 48
SIZE = HEAD.size + MAX_REASONS * REASON.size
OTHER = "other"
"""Counts all reasons beyond MAX_REASONS."""


@dataclass(frozen=True)
class JournalEntry:
    """The state of a slice, as its journal shows it.

    Attributes:
        process: id of the worker; 0 before it has started.
        file_index: of the current file in its slice; -1 before the first, the slice's length
            while publishing.
        counts: files finished.
    """

    process: int = 0
    file_index: int = -1
    counts: FileCounts = field(default_factory=FileCounts)


def journal_path(folder: Path, number: int) -> Path:
    """Path of the journal of a slice."""
    return folder / f"journal-{number:05d}"


def read_journal(folder: Path, number: int) -> JournalEntry:
    """Read how far a slice is; a missing or unfinished journal means nothing is done."""
    try:
        data = journal_path(folder, number).read_bytes()
    except FileNotFoundError:
        return JournalEntry()
    if len(data) != SIZE:
        return JournalEntry()
    process, file_index, kept = HEAD.unpack_from(data)
    rows = REASON.iter_unpack(data[HEAD.size :])
    dropped = {name.rstrip(b"\0").decode(errors="replace"): count for name, count in rows if count}
    return JournalEntry(process, file_index, FileCounts(kept, Counter(dropped)))


class Journal:
    """The worker's side: a context in which files are started and counted.

    Attributes:
        counts: files finished, as a reader of the journal sees them.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._path = journal_path(folder, number)
        self._rows: dict[str, int] = {}
        self.counts = FileCounts()

    def __enter__(self) -> "Journal":
        head = HEAD.pack(os.getpid(), -1, 0)
        self._path.write_bytes(head.ljust(SIZE, b"\0"))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        return self

    def __exit__(self, *error: object) -> None:
        self._map.close()

    def start_file(self, file_index: int) -> None:
        """Record which file is the current one."""
        HEAD.pack_into(self._map, 0, os.getpid(), file_index, self.counts.kept)

    def count_kept(self) -> None:
        """Count the current file as kept; visible once the next file starts."""
        self.counts.kept += 1

    def count_dropped(self, reason: str) -> None:
        """Count the current file as dropped."""
        if reason not in self._rows and len(self._rows) == MAX_REASONS - 1:
            reason = OTHER
        row = self._rows.setdefault(reason, len(self._rows))
        self.counts.dropped[reason] += 1
        name, count = reason.encode()[: REASON.size - 8], self.counts.dropped[reason]
        REASON.pack_into(self._map, HEAD.size + row * REASON.size, name, count)
