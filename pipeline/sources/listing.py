"""Folders, files and archives -> one listing, the same on every machine, cut into slices.

A source is a folder, searched to any depth, a single file, or an archive (see `archives`), which
is read without unpacking it. Loose files come first, sorted by name; then each archive's, in the
order in which they lie in it: a compressed archive can only be read from front to back.
Links are not followed: what they point to may lie outside the source, or be the folder itself.

A listing of 178,561 files takes 25 MB: it is a few Arrow columns, and a file becomes an object
when its slice is begun.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from pipeline.sources.archives import is_archive, is_streamed, list_archive, read_member
from pipeline.sources.members import LISTING_SCHEMA, Member, Refused, is_midi, readable
from shards.errors import LakhxlError
from shards.reader import read_table
from shards.writer import write_table

LOST = ("cannot_open", "cannot_read")
"""Codes of what happens to every file of a source that has gone."""
MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN)
"""Refusals by the system that no file is to blame for: they end the run."""


class SourceError(LakhxlError):
    """A source is not there, or holds nothing to read."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file.

    Attributes:
        name: what the ledger calls it: the path within its source, behind the source's own
            name where there are several; bytes that are not UTF-8 are escaped.
        path: the file to open: itself, or the archive it lies in.
        member: where in the archive; None for a file by itself.
        refused: why it is not to be read, where the archive's listing says so already.
    """

    name: str
    path: str
    member: Member | None = None
    refused: Refused | None = None


@dataclass(frozen=True)
class Part:
    """The files of one archive, or all the files that lie loose.

    Attributes:
        table: `LISTING_SCHEMA`, a row a file.
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
        """Whether its files have to be unpacked, in the order of their archive, to be read."""
        return self.part.streamed

    def files(self) -> list[SourceFile]:
        """Its files, ready to be read; of a streamed archive, once they are on the disk."""
        rows = self.part.table.slice(self.start, len(self)).to_pylist()
        return [_source_file(row, self.part.archive) for row in rows]


def _source_file(row: dict, archive: Path | None) -> SourceFile:
    if row["rule"] is not None:
        refused = Refused(row["rule"], row["detail"], row["value"], row["threshold"])
        return SourceFile(row["name"], str(archive), refused=refused)
    if archive is None:
        return SourceFile(row["name"], os.fsdecode(row["path"]))
    place = (row["offset"], row["size"], row["packed"], row["method"], row["crc"])
    return SourceFile(row["name"], str(archive), Member(*place))


@dataclass(frozen=True)
class Listing:
    """Every input file of a run.

    Attributes:
        parts: the loose files, then the archives.
        roots: the sources, as they are on the disk.
        notes: what was found and left alone, a sentence each, for the user.
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
        """sha256 over the names, in order: whether a resumed run still has the same files."""
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
    most: int,
    *,
    cache: Path | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Listing:
    """Every file with a MIDI suffix in the sources.

    Args:
        sources: folders, files or archives. A folder that holds archives and not one loose
            file stands for its archives.
        most: bytes; larger members of archives are refused here, larger loose files when read.
        cache: a folder that may hold the listings of compressed archives, from `keep_listing`.
        watch: called with bytes done and in all while a compressed archive is listed.

    Raises:
        SourceError: a source is missing, cannot be searched, or there is no such file in any.
    """
    roots, notes = _expand(_roots(sources))
    labels = _labels(roots)
    loose: dict[str, str] = {}
    for root, label in zip(roots, labels, strict=True):
        if not is_archive(root):
            for path in _midi_paths(root):
                inside = os.path.relpath(path, root) if path != str(root) else ""
                name = "/".join(filter(None, (label, inside.replace(os.sep, "/")))) or root.name
                loose.setdefault(path, readable(name))
    parts = [_loose(loose)] if loose else []
    for root, label in zip(roots, labels, strict=True):
        if is_archive(root):
            key = _identity(root, most, label)
            table = _cached(root, key, cache)
            if table is None:
                table = _labelled(list_archive(root, most, watch), label)
            parts.append(Part(table.replace_schema_metadata({"key": key}), root, is_streamed(root)))
    listing = Listing(parts, roots, notes)
    if not len(listing):
        places = ", ".join(map(str, sources))
        raise SourceError(f"{places}: no files named .mid, .midi, .kar or .rmi in there")
    return listing


def _roots(sources: Sequence[Path]) -> list[Path]:
    """The sources as they are on the disk, each once."""
    for source in sources:
        if not source.exists():
            raise SourceError(f"{source}: no such file or folder")
        if not source.is_dir() and not is_archive(source) and not is_midi(source.name):
            raise SourceError(
                f"{source} is neither a folder, nor an archive (.tar, .tar.gz, .tar.xz, .zip), "
                "nor named .mid, .midi, .kar or .rmi"
            )
    return list(dict.fromkeys(source.resolve() for source in sources))


def _expand(roots: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """A folder of archives becomes its archives, unless there are loose files in it."""
    expanded: list[Path] = []
    notes: list[str] = []
    for root in roots:
        inside = (
            sorted(path for path in root.iterdir() if is_archive(path)) if root.is_dir() else []
        )
        if inside and next(_midi_paths(root), None) is None:
            expanded += inside
        else:
            expanded.append(root)
            notes += [f"{path} is not read: name it to read it too" for path in inside]
    expanded = list(dict.fromkeys(expanded))
    return expanded, [note for note in notes if not any(note.startswith(f"{p} ") for p in expanded)]


def _labels(roots: Sequence[Path]) -> list[str]:
    """What tells the sources apart in the ledger: as much of each path's end as it takes."""
    if len(roots) == 1:
        return [""]
    for length in range(1, max(len(root.parts) for root in roots) + 1):
        labels = ["/".join(root.parts[-length:]).lstrip("/") for root in roots]
        if len(set(labels)) == len(labels):
            return labels
    raise AssertionError("two sources of one path")


def _midi_paths(root: Path) -> Iterator[str]:
    if root.is_file():
        yield str(root)
        return

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be searched: {error.strerror}") from error

    for folder, _, names in os.walk(root, onerror=refuse):
        for name in names:
            if is_midi(name):
                yield f"{folder}{os.sep}{name}"  # 180,000 Path objects would take seconds


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


def keep_listings(listing: Listing, folder: Path) -> None:
    """Save the listings of compressed archives: to make one takes a reading of the whole."""
    for part in listing.parts:
        if part.streamed:
            write_table(_listing_file(folder, part.archive), part.table)


def _cached(archive: Path, key: str, folder: Path | None) -> pa.Table | None:
    path = folder and _listing_file(folder, archive)
    if not path or not path.exists():
        return None
    table = read_table(path, LISTING_SCHEMA)
    return table if (table.schema.metadata or {}).get(b"key") == key.encode() else None


def _listing_file(folder: Path, archive: Path) -> Path:
    return folder / f"listing-{hashlib.md5(os.fsencode(archive)).hexdigest()[:12]}.arrow"


def _identity(archive: Path, most: int, label: str) -> str:
    """Changes when a listing of the archive would."""
    status = archive.stat()
    return f"{status.st_size} {status.st_mtime_ns} {most} {label}"


def read_source(file: SourceFile, most: int) -> bytes:
    """The contents of an input file, wherever it lies, if it has at most `most` bytes.

    Raises:
        Refused: it is not to be read, or cannot be.
        OSError: the machine is in trouble, whatever the file.
    """
    if file.refused is not None:
        raise file.refused
    if file.member is not None:
        return read_member(file.path, file.member, most)
    return read_bytes(file.path, most)


def read_bytes(path: str, most: int) -> bytes:
    """The contents of a plain file of at most `most` bytes.

    Raises:
        Refused: it is a link, not a plain file, too large, or the system will not let us.
        OSError: the machine is in trouble, whatever the file.
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
        if status.st_size > most:
            raise Refused("too_large", "larger than max_file_size", status.st_size, most)
        try:
            return _whole(file, min(status.st_size, most))
        except OSError as error:
            if error.errno in MACHINE:
                raise
            raise Refused("cannot_read", error.strerror or str(error)) from None


def _whole(file: object, size: int) -> bytes:
    """All bytes of a file that had `size` when it was opened; an unbuffered read may give fewer."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
