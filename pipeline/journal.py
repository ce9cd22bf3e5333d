"""What a worker is doing right now, readable from outside even after its death.

Three integers in a memory-mapped file beside the unfinished dataset: no call into the system a
file, and nothing is lost when the worker is killed.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

FORMAT = struct.Struct("<qqq")


@dataclass(frozen=True)
class Progress:
    """A worker's place in its slice.

    Attributes:
        place: of the file in hand; -1 before the first, the slice's length while publishing.
        kept, dropped: files finished.
    """

    place: int = -1
    kept: int = 0
    dropped: int = 0


def journal_path(folder: Path, number: int) -> Path:
    """Where the journal of a slice lies."""
    return folder / f"journal-{number:05d}"


def read_journal(folder: Path, number: int) -> Progress:
    """How far a slice has come; a journal that is not there yet reads as nothing done."""
    try:
        data = journal_path(folder, number).read_bytes()
    except FileNotFoundError:
        return Progress()
    return Progress(*FORMAT.unpack(data)) if len(data) == FORMAT.size else Progress()


class Journal:
    """The worker's side: a context in which each file is begun and ended."""

    def __init__(self, folder: Path, number: int) -> None:
        self._path = journal_path(folder, number)
        self._kept = self._dropped = 0

    def __enter__(self) -> "Journal":
        self._path.write_bytes(FORMAT.pack(-1, 0, 0))
        with self._path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), FORMAT.size)
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
        self._map[:] = FORMAT.pack(place, self._kept, self._dropped)

    def end(self, *, kept: bool) -> None:
        """Count the file in hand as done."""
        self._kept += kept
        self._dropped += not kept
