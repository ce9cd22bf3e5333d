"""Folders of MIDI files -> one sorted list, the same on every machine, cut into slices.

A source is a folder, searched to any depth, or a single file. Links are not followed: what they
point to may lie outside the source, or be the folder itself.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shards.errors import LakhxlError

SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
ARCHIVES = (".tar", ".gz", ".tgz", ".xz", ".zip", ".7z")


class SourceError(LakhxlError):
    """A source is not there, or holds nothing to read."""


@dataclass(frozen=True, order=True)
class SourceFile:
    """One input file.

    Attributes:
        name: what the ledger calls it: the path within its source, behind the source's own
            name where there are several; bytes that are not UTF-8 are escaped.
        path: where to open it.
    """

    name: str
    path: str


def list_files(sources: Sequence[Path]) -> list[SourceFile]:
    """Every file with a MIDI suffix in the sources, sorted by name.

    Raises:
        SourceError: a source is missing, cannot be searched, or there is no such file in any.
    """
    files = []
    for source in sources:
        _check(source)
        prefix = f"{source.name}/" if len(sources) > 1 else ""
        files += [_source_file(source, path, prefix) for path in _midi_paths(source)]
    if not files:
        places = ", ".join(map(str, sources))
        raise SourceError(f"{places}: no files named {', '.join(SUFFIXES)} in there")
    return sorted(set(files))


def _check(source: Path) -> None:
    if not source.exists():
        raise SourceError(f"{source}: no such file or folder")
    if source.is_file() and source.suffix.lower() in ARCHIVES:
        raise SourceError(f"{source} is an archive: unpack it and name the folder")
    if source.is_file() and source.suffix.lower() not in SUFFIXES:
        raise SourceError(f"{source} is not named {', '.join(SUFFIXES)}")


def _midi_paths(source: Path) -> Iterator[str]:
    if source.is_file():
        yield str(source)
        return

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be searched: {error.strerror}") from error

    for folder, _, names in os.walk(source, onerror=refuse):
        for name in names:
            if name.lower().endswith(SUFFIXES):
                yield f"{folder}{os.sep}{name}"  # 180,000 Path objects would take seconds


def _source_file(source: Path, path: str, prefix: str) -> SourceFile:
    inside = source.name if source.is_file() else os.path.relpath(path, source)
    name = prefix + inside.replace(os.sep, "/")
    readable = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return SourceFile(readable, path)


def listing_hash(files: Iterable[SourceFile]) -> str:
    """sha256 over the names, in order: whether a resumed run still has the same files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0")
    return digest.hexdigest()


def cut(files: Sequence[SourceFile], length: int) -> list[Sequence[SourceFile]]:
    """Consecutive slices of `length` files; the last may be shorter."""
    return [files[at : at + length] for at in range(0, len(files), length)]


class Refused(Exception):
    """A file that is not to be opened, or cannot be; a row of the ledger, not the user's error.

    Attributes:
        rule: the code for the ledger.
        value, threshold: what was measured against what, where it was a number.
    """

    def __init__(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(detail)
        self.rule, self.value, self.threshold = rule, value, threshold


def read_bytes(path: str, most: int) -> bytes:
    """The contents of a plain file of at most `most` bytes.

    Raises:
        Refused: it is a link, not a plain file, too large, or the system will not let us.
    """
    try:
        # A pipe or device would block on opening; a link may lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        link = Path(path).is_symlink()
        rule = "link" if link else "cannot_open"
        detail = "a link is not followed" if link else error.strerror or str(error)
        raise Refused(rule, detail) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("not_a_file", "neither a plain file nor a folder")
        if status.st_size > most:
            raise Refused("too_large", "larger than max_file_size", status.st_size, most)
        try:
            return file.read(most)
        except OSError as error:
            raise Refused("cannot_read", error.strerror or str(error)) from None
