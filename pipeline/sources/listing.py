"""List the files of all sources, in the same order on every machine, and cut them into slices.

A source is a folder (searched to any depth), a single file, or an archive (see `archives`), which
is read without unpacking it. Loose files come first, sorted by name; then the files of each
archive, in archive order, because a compressed archive can only be read from front to back.
Links are not followed: their target may lie outside the source, or be the folder itself.

A listing of 178,561 files takes 25 MB: it is a few Arrow columns, and a file becomes an object
only when its slice is processed.
"""

import errno
import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

import pyarrow as pa

from pipeline.sources.archives import ARCHIVES, is_archive, is_streamed, list_archive, read_member
from pipeline.sources.members import (
    LISTING_SCHEMA,
    NAMES,
    Member,
    Refused,
    is_midi,
    unread_kind,
)
from shards.errors import LakhxlError
from shards.reader import read_table
from shards.text import escape_bytes
from shards.writer import write_table

LOST = ("cannot_open", "cannot_read")
"""Rules that reject every file of a source that has disappeared."""
MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN)
"""System errors that no file is to blame for: they end the run."""


class SourceError(LakhxlError):
    """A source is missing or holds nothing to read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file.

    Attributes:
        name: its name in the ledger: the path within its source, prefixed by the source's name
            if there are several sources; bytes that are not UTF-8 are escaped.
        path: the file to open: the file itself, or its archive.
        member: location in the archive; None for a loose file.
        refused: the reason not to read it, if the archive's listing already has one.
    """

    name: str
    path: str
    member: Member | None = None
    refused: Refused | None = None


@dataclass(frozen=True)
class Part:
    """The files of one archive, or all loose files.

    Attributes:
        table: `LISTING_SCHEMA`, one row per file.
        archive: the archive; None for loose files, whose paths are in the table.
        streamed: whether the archive can only be read from front to back.
    """

    table: pa.Table
    archive: Path | None = None
    streamed: bool = False


@dataclass(frozen=True)
class Slice:
    """A fixed run of consecutive files: one task, one shard, one unit of resuming."""

    number: int
    part: Part
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def streamed(self) -> bool:
        """Whether its files can only be read in archive order."""
        return self.part.streamed

    def files(self) -> list[SourceFile]:
        """Its files; those of a streamed archive can be read once they are spooled to disk."""
        rows = self.part.table.slice(self.start, len(self)).to_pylist()
        return [_source_file(row, self.part.archive) for row in rows]


def _source_file(row: dict, archive: Path | None) -> SourceFile:
    if row["rule"] is not None:
        refused = Refused(row["rule"], row["detail"], row["value"], row["threshold"])
        return SourceFile(row["name"], str(archive), refused=refused)
    if archive is None:
        return SourceFile(row["name"], os.fsdecode(row["path"]))
    location = (row["offset"], row["size"], row["packed"], row["method"], row["crc"])
    return SourceFile(row["name"], str(archive), Member(*location))


@dataclass(frozen=True)
class Listing:
    """Every input file of a run.

    Attributes:
        parts: the loose files, then the archives.
        roots: the resolved paths of the sources.
        notes: sentences for the user about what was found but not read.
    """

    parts: Sequence[Part]
    roots: Sequence[Path] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    def __len__(self) -> int:
        return sum(part.table.num_rows for part in self.parts)

    def __iter__(self) -> Iterator[SourceFile]:
        for slice_ in self.cut(1024):
            yield from slice_.files()

    def hash(self) -> str:
        """sha256 over the names, in order: tells whether a resumed run still has the same files."""
        digest = hashlib.sha256()
        for part in self.parts:
            for batch in part.table.select(["name"]).to_batches(max_chunksize=4096):
                digest.update("".join(f"{name}\0" for name in batch[0].to_pylist()).encode())
        return digest.hexdigest()

    def cut(self, length: int) -> list[Slice]:
        """Slices of `length` files; the last of each part may be shorter."""
        slices: list[Slice] = []
        for part in self.parts:
            rows = part.table.num_rows
            for start in range(0, rows, length):
                slices.append(Slice(len(slices), part, start, min(start + length, rows)))
        return slices


def list_files(
    sources: Sequence[Path],
    max_size: int,
    *,
    cache: Path | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Listing:
    """List every file with a MIDI suffix in the sources.

    Args:
        sources: folders, files or archives. A folder that holds archives and no loose MIDI
            file stands for its archives.
        max_size: bytes; larger members of archives are refused here, larger loose files when read.
        cache: a folder that may hold listings of compressed archives, from `save_listings`.
        watch: called with bytes read and bytes in total while a compressed archive is listed.

    Raises:
        SourceError: a source is missing or cannot be searched, or no source holds a MIDI file.
    """
    roots, notes = _expand(_roots(sources))
    unread: Counter[str] = Counter()
    labels = _labels(roots)
    loose: dict[str, str] = {}
    for root, label in zip(roots, labels, strict=True):
        if not is_archive(root):
            for path in _midi_paths(root, unread):
                inside = os.path.relpath(path, root) if path != str(root) else ""
                name = "/".join(filter(None, (label, inside.replace(os.sep, "/")))) or root.name
                loose.setdefault(path, escape_bytes(name))
    parts = [_loose(loose)] if loose else []
    for root, label in zip(roots, labels, strict=True):
        if is_archive(root):
            key = _identity(root, max_size, label)
            table = _cached(root, key, cache)
            if table is None:
                table = _labelled(list_archive(root, max_size, watch), label)
            metadata = {**(table.schema.metadata or {}), b"key": key.encode()}
            unread.update(json.loads(metadata.get(b"unread", "{}")))
            parts.append(Part(table.replace_schema_metadata(metadata), root, is_streamed(root)))
    listing = Listing(parts, roots, [*notes, *_unread_notes(unread)])
    if not len(listing):
        names = ", ".join(map(str, sources))
        raise SourceError(f"{names}: no files named {NAMES} found")
    return listing


def _roots(sources: Sequence[Path]) -> list[Path]:
    """The resolved paths of the sources, each once."""
    for source in sources:
        if not source.exists():
            raise SourceError(f"{source}: no such file or folder")
        if not source.is_dir() and not is_archive(source) and not is_midi(source.name):
            raise SourceError(
                f"{source} is neither a folder, nor an archive (.tar, .tar.gz, .tar.xz, .zip), "
                f"nor named {NAMES}"
            )
    return list(dict.fromkeys(source.resolve() for source in sources))


def _expand(roots: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Replace a folder by its archives if it holds archives and no loose MIDI files."""
    expanded: list[Path] = []
    notes: list[str] = []
    for root in roots:
        inside = (
            sorted(path for path in root.iterdir() if is_archive(path)) if root.is_dir() else []
        )
        if inside and next(_midi_paths(root, Counter()), None) is None:
            expanded += inside
        else:
            expanded.append(root)
            notes += [f"{path} is not read: name it as a source to read it too" for path in inside]
    expanded = list(dict.fromkeys(expanded))
    return expanded, [note for note in notes if not any(note.startswith(f"{p} ") for p in expanded)]


def _labels(roots: Sequence[Path]) -> list[str]:
    """Prefixes that tell sources apart in the ledger: as much of each path's end as needed."""
    if len(roots) == 1:
        return [""]
    for length in range(1, max(len(root.parts) for root in roots) + 1):
        labels = ["/".join(root.parts[-length:]).lstrip("/") for root in roots]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("two sources have the same path")


def _unread_notes(unread: Counter[str]) -> list[str]:
    """One sentence about everything that may hold music but is not read; none if there is none."""
    found = ", ".join(f"{count:,} {kind}" for kind, count in sorted(unread.items()))
    return [f"not read: {found}; unpack or convert them, or name them as sources"] if found else []


def _midi_paths(root: Path, unread: Counter[str]) -> Iterator[str]:
    """The paths of a folder's MIDI files; counts what may hold music but is not read."""
    if root.is_file():
        yield str(root)
        return

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be searched: {error.strerror}") from error

    top = str(root)
    for folder, folders, names in os.walk(root, onerror=refuse):
        for name in folders:
            if os.path.islink(f"{folder}{os.sep}{name}"):  # noqa: PTH114 - Path objects are slow
                unread["links to folders"] += 1
        for name in names:
            if is_midi(name):
                yield f"{folder}{os.sep}{name}"  # 180,000 Path objects would take seconds
            elif kind := unread_kind(name, () if folder == top else ARCHIVES):
                unread[kind] += 1


def _loose(names: dict[str, str]) -> Part:
    """Loose files as a table, sorted by name."""
    rows = sorted((name, path) for path, name in names.items())
    columns = {
        "name": pa.array([name for name, _ in rows], pa.string()),
        "path": pa.array([os.fsencode(path) for _, path in rows], pa.binary()),
    }
    empty = {
        column.name: pa.nulls(len(rows), column.type)
        for column in LISTING_SCHEMA
        if column.name not in columns
    }
    table = pa.table({**columns, **empty}).select(LISTING_SCHEMA.names)
    return Part(table.cast(LISTING_SCHEMA))


def _labelled(table: pa.Table, label: str) -> pa.Table:
    if not label:
        return table
    names = pa.array([f"{label}/{name}" for name in table["name"].to_pylist()], pa.string())
    return pa.table([names, *table.columns[1:]], LISTING_SCHEMA)


def save_listings(listing: Listing, folder: Path) -> None:
    """Save the listings of compressed archives: making one means reading the whole archive."""
    for part in listing.parts:
        if part.archive is not None and part.streamed:
            write_table(_listing_file(folder, part.archive), part.table)


def _cached(archive: Path, key: str, folder: Path | None) -> pa.Table | None:
    path = folder and _listing_file(folder, archive)
    if not path or not path.exists():
        return None
    table = read_table(path, LISTING_SCHEMA)
    return table if (table.schema.metadata or {}).get(b"key") == key.encode() else None


def _listing_file(folder: Path, archive: Path) -> Path:
    return folder / f"listing-{hashlib.md5(os.fsencode(archive)).hexdigest()[:12]}.arrow"


def _identity(archive: Path, max_size: int, label: str) -> str:
    """A key that changes whenever the archive's listing would."""
    status = archive.stat()
    return f"{status.st_size} {status.st_mtime_ns} {max_size} {label}"


def read_source(file: SourceFile, max_size: int) -> bytes:
    """Read an input file of at most `max_size` bytes, loose or in an archive.

    Raises:
        Refused: it must not be read, or cannot be.
        OSError: a system error that is not the file's fault; see MACHINE.
    """
    if file.refused is not None:
        raise file.refused
    if file.member is not None:
        return read_member(file.path, file.member, max_size)
    return read_bytes(file.path, max_size)


def read_bytes(path: str, max_size: int) -> bytes:
    """Read a plain file of at most `max_size` bytes.

    Raises:
        Refused: it is a link, not a plain file, too large, or access is denied.
        OSError: a system error that is not the file's fault; see MACHINE.
    """
    try:
        # A pipe or device would block on opening; a link may lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in MACHINE:
            raise
        link = Path(path).is_symlink()
        rule = "link" if link else "cannot_open"
        detail = "a link is not followed" if link else error.strerror or str(error)
        raise Refused(rule, detail) from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Refused("not_a_file", "neither a plain file nor a folder")
        if status.st_size > max_size:
            raise Refused("too_large", "larger than max_file_size", status.st_size, max_size)
        try:
            return _whole(file, min(status.st_size, max_size))
        except OSError as error:
            if error.errno in MACHINE:
                raise
            raise Refused("cannot_read", error.strerror or str(error)) from None


def _whole(file: FileIO, size: int) -> bytes:
    """Read a file that had `size` bytes when it was opened; one unbuffered read may give fewer."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
