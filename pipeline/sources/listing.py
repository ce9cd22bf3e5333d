"""List the files of all sources, in the same order on every machine, and cut them into slices.

A source is a folder (searched to any depth), a single file, or an archive (see `archives`), which
is read without unpacking it. Loose files come first, sorted by name; then the files of each
archive, in archive order, because a compressed archive can only be read from front to back.
What may hold music but is not read, such as links and archives in archives, is listed with the
reason, so that it becomes a row of the ledger.

A listing of 178,561 files takes 25 MB: it is a few Arrow columns, and a file becomes an object
only when its slice is processed.
"""

import difflib
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from pipeline.sources.archives import ARCHIVES, is_archive, is_streamed, list_archive, read_member
from pipeline.sources.folders import Found, SourceError, search
from pipeline.sources.members import (
    LISTING_SCHEMA,
    NAMES,
    PASSED_OVER,
    Member,
    Refused,
    is_midi,
    passed_over,
)
from pipeline.sources.plain_file import open_plain, read_whole
from shards.mapped_files import read_table
from shards.text import escape_bytes
from shards.writer import write_table

LOST = ("cannot_open", "cannot_read")
"""Rules that reject every file of a source that has disappeared."""


@dataclass(frozen=True)
class Source:
    """A folder, MIDI file or archive that is read.

    Attributes:
        named: its absolute path as the user named it; the suffix tells what it is.
        path: links resolved.
        found: what a folder holds.
    """

    named: Path
    path: Path
    found: Found | None = None


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
    path = os.fsdecode(row["path"]) if archive is None else str(archive)
    if row["rule"] is not None:
        refused = Refused(row["rule"], row["detail"], row["value"], row["threshold"])
        return SourceFile(row["name"], path, refused=refused)
    if archive is None:
        return SourceFile(row["name"], path)
    location = (row["offset"], row["size"], row["packed"], row["method"], row["crc"])
    return SourceFile(row["name"], str(archive), Member(*location))


@dataclass(frozen=True)
class Listing:
    """Every input file of a run.

    Attributes:
        parts: the loose files, then the archives.
        roots: the resolved paths of the sources.
    """

    parts: Sequence[Part]
    roots: Sequence[Path] = ()

    @property
    def passed_over(self) -> list[str]:
        """What may hold music but is not read, as phrases such as `2 .rar`."""
        rules = (rule for part in self.parts for rule in part.table["rule"].drop_null().to_pylist())
        return passed_over(Counter(rules))

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
    follow_links: str = "none",
    cache: Path | None = None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Listing:
    """List every file with a MIDI suffix in the sources, and what is passed over.

    Args:
        sources: folders, files or archives. A folder that holds archives and no loose MIDI
            file stands for its archives.
        max_size: bytes; larger members of archives are refused here, larger loose files when read.
        follow_links: a key of `folders.FOLLOW_LINKS`.
        cache: a folder that may hold listings of compressed archives, from `save_listings`.
        watch: called with bytes read and bytes in total while a compressed archive is listed.

    Raises:
        SourceError: a source is missing or cannot be searched, or no source holds a MIDI file.
    """
    searched = _search(check_sources(sources), follow_links)
    labels = _labels([source.named for source in searched])
    parts = [_loose(searched, labels)]
    for source, label in zip(searched, labels, strict=True):
        if source.found is None and is_archive(source.named.name):
            key = _identity(source.path, max_size, label)
            table = _cached(source.named, key, cache)
            if table is None:
                table = _labelled(list_archive(source.named, max_size, watch), label)
            table = table.replace_schema_metadata({"key": key})
            parts.append(Part(table, source.named, is_streamed(source.named.name)))
    listing = Listing(
        [part for part in parts if part.table.num_rows], [source.path for source in searched]
    )
    rules = {rule for part in listing.parts for rule in part.table["rule"].unique().to_pylist()}
    if rules <= PASSED_OVER.keys():
        _fail_for_nothing(sources, listing)
    return listing


def check_sources(sources: Sequence[Path]) -> list[Source]:
    """The sources, each once; a link is followed.

    Raises:
        SourceError: one is missing, or nothing that can be read.
    """
    checked: dict[Path, Source] = {}
    for source in sources:
        if not source.exists():
            raise SourceError(_missing(source))
        if not source.is_dir() and not is_archive(source.name) and not is_midi(source.name):
            raise SourceError(
                f"{source} is neither a folder, nor an archive ({', '.join(ARCHIVES)}), nor named "
                f"{NAMES}"
            )
        path = source.resolve()
        named = source.parent.resolve() / source.name if source.is_symlink() else path
        checked.setdefault(path, Source(named, path))
    return list(checked.values())


def _missing(source: Path) -> str:
    """Why a source does not exist, and which name was perhaps meant."""
    if source.is_symlink():
        return f"{source}: a link to {source.readlink()}, which does not exist"
    missing = source.absolute()
    while not missing.parent.is_dir():
        missing = missing.parent
    if missing.exists():
        return f"{missing} is a file, not a folder"
    close = difflib.get_close_matches(missing.name, sorted(os.listdir(missing.parent)), n=1)  # noqa: PTH208
    meant = f"; is {missing.with_name(close[0])} meant?" if close else ""
    return f"{missing}: no such file or folder{meant}"


def _search(sources: Sequence[Source], follow_links: str) -> list[Source]:
    """Search the folders; archives of a folder without loose MIDI files become sources."""
    roots, searched = [str(source.path) for source in sources], {}
    for source in sources:
        if not source.path.is_dir():
            searched.setdefault(source.path, source)
            continue
        found = search(str(source.path), follow_links, roots)
        if not found.files:
            for path in map(Path, sorted(found.archives)):
                searched.setdefault(path.resolve(), Source(path, path.resolve()))
        else:
            found.passed_over |= {
                path: (name, "archive_in_folder") for path, name in found.archives.items()
            }
        if found.files or found.passed_over or not found.archives:
            searched.setdefault(source.path, Source(source.named, source.path, found))
    return list(searched.values())


def _labels(named: Sequence[Path]) -> list[str]:
    """Prefixes that tell sources apart in the ledger: as much of each path's end as needed."""
    if len(named) == 1:
        return [""]
    for length in range(1, max(len(path.parts) for path in named) + 1):
        labels = ["/".join(path.parts[-length:]).lstrip("/") for path in named]
        if len(set(labels)) == len(labels):
            return [escape_bytes(label) for label in labels]
    raise AssertionError("two sources have the same path")


def _loose(sources: Sequence[Source], labels: Sequence[str]) -> Part:
    """Loose files, and what is passed over in folders, sorted by name."""
    files: dict[str, tuple[str, str | None]] = {}  # path -> name, rule
    named = {str(source.named) for source in sources} | {str(source.path) for source in sources}
    for source, label in zip(sources, labels, strict=True):
        before = f"{label}/" if label else ""
        if source.found is not None:
            for path, name in source.found.files.items():
                files.setdefault(path, (before + name, None))
            for path, (name, rule) in source.found.passed_over.items():
                if path not in named:
                    files.setdefault(path, (before + name, rule))
        elif not is_archive(source.named.name):
            files.setdefault(str(source.path), (label or source.named.name, None))
    rows = sorted((escape_bytes(name), path, rule) for path, (name, rule) in files.items())
    rules = [rule for *_, rule in rows]
    columns = {
        "name": pa.array([name for name, *_ in rows], pa.string()),
        "path": pa.array([os.fsencode(path) for _, path, _ in rows], pa.binary()),
        "rule": pa.array(rules, pa.string()),
        "detail": pa.array([rule and PASSED_OVER[rule][1] for rule in rules], pa.string()),
    }
    empty = {
        column.name: pa.nulls(len(rows), column.type)
        for column in LISTING_SCHEMA
        if column.name not in columns
    }
    table = pa.table({**columns, **empty}).select(LISTING_SCHEMA.names)
    return Part(table.cast(LISTING_SCHEMA))


def _fail_for_nothing(sources: Sequence[Path], listing: Listing) -> NoReturn:
    """Say that there is nothing to read, and what is passed over."""
    message = f"{', '.join(map(str, sources))}: no files named {NAMES} found"
    if phrases := listing.passed_over:
        message += f"; not read: {', '.join(phrases)}"
        if any("links to" in phrase for phrase in phrases):
            message += " (--follow-links inside, or anywhere, follows links)"
    raise SourceError(message)


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
        OSError: a system error that is not the file's fault; see plain_file.MACHINE.
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
        OSError: a system error that is not the file's fault; see plain_file.MACHINE.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_size:
            raise Refused("too_large", "larger than max_file_size", size, max_size)
        return read_whole(file, size)
