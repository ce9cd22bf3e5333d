"""Download the archives of the Lakh MIDI Dataset, resuming where a download stopped.

The bytes received so far lie in NAME.part, and in NAME.part.version what the server calls this
version of the file (its ETag, or its date). The next attempt, or the next call, asks for the rest
(HTTP Range) of the same version (If-Range). The file gets its name only when it is complete and
its checksum is right, or, where none is published, when it unpacks to its last byte.

Source: Raffel 2016, Learning-Based Methods for Comparing Sequences; the archives' names, sizes
and checksums are those of https://colinraffel.com/projects/lmd/. RFC 9110: ranges and validators.
"""

import gzip
import hashlib
import os
import re
import stat
import time
import zlib
from dataclasses import dataclass
from http.client import HTTPResponse
from io import FileIO
from pathlib import Path
from typing import Any

from pipeline.sources.bounded_http import Broken, Refused, get, pieces
from pipeline.sources.members import Damaged, is_midi
from pipeline.sources.tars import open_tar, tar_members
from shards.console import progress_bar
from shards.errors import LakhxlError
from shards.plain_file import open_plain
from shards.writer import write_text

LAKH = "http://hog.ee.columbia.edu/craffel/lmd/"
ATTEMPTS = 5
"""Connections in a row that may break without delivering a piece."""
PAUSE_SECONDS = 2.0
PIECE = 1 << 16
"""Bytes written at a time."""
MAX_BYTES = 4 << 30
"""Of an archive whose size is not known; the largest that is known has 1.8 GB."""
MAX_VERSION = 1000
"""Characters of an ETag or a date."""
BUSY = (408, 429)
"""Refusals that another attempt may not get, besides those of 500 and above."""


@dataclass(frozen=True)
class Archive:
    """The published size in bytes and MD5 of one archive; None if unpublished."""

    size: int | None = None
    md5: str | None = None


ARCHIVES = {
    "lmd_full": Archive(1_768_163_879, "2536ce3fd2cede53ddaa264f731859ab"),
    "lmd_matched": Archive(1_407_072_670, "fb80d01c22020295bb3eeef31f1aa63a"),
    "clean_midi": Archive(),
}


def download(name: str, to: Path, address: str = LAKH, known: Archive | None = None) -> Path:
    """Download one archive, unless it is there already; returns its path.

    Args:
        name: a key of ARCHIVES.
        to: the folder; created if missing.
        address: the URL of the folder that holds the archive.
        known: size and checksum, instead of those in ARCHIVES.

    Raises:
        LakhxlError: the download failed, or the file has the wrong size or checksum, or does not
            unpack. Received bytes are kept where the next call can use them.
    """
    known = known or ARCHIVES[name]
    path = to / f"{name}.tar.gz"
    url = f"{address.rstrip('/')}/{path.name}"
    if path.exists() and _fault(path, known) is None:
        return path
    to.mkdir(parents=True, exist_ok=True)
    with Part(path.with_name(f"{path.name}.part")) as part:
        Download(url, part, known).run()
        if fault := _fault(part.path, known):
            part.clear()
            raise LakhxlError(f"{url} {fault}: the download was deleted, try again")
        return part.complete(path)


def _fault(path: Path, known: Archive) -> str | None:
    """What is wrong with a complete archive, or None."""
    if known.md5 is None:
        return _unpacking_fault(path)
    with open_plain(path) as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    return None if found == known.md5 else f"has MD5 hash {found}, expected {known.md5}"


def _unpacking_fault(path: Path) -> str | None:
    """What keeps a .tar.gz from being unpacked, or None; it must hold a MIDI file."""
    try:
        with open_tar(path, ".tar.gz") as stream:  # it refuses decompression bombs
            songs = sum(kind == "file" and is_midi(name) for name, kind, _ in tar_members(stream))
        with gzip.open(path) as file:  # it refuses bytes that follow the end
            while file.read(PIECE):
                pass
    except (Damaged, gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"cannot be unpacked ({error})"
    return None if songs else "holds no MIDI file"


class Part:
    """The bytes of a file received so far, and the version of the file that they are of.

    A context: afterwards nothing empty is left behind.

    Attributes:
        path: of the bytes.
        size: how many there are.

    Raises:
        LakhxlError: there is a link, or something else than a file, in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._version = path, path.with_name(f"{path.name}.version")
        self._file = _open_own(path)
        self.size = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self.size == 0:
            self.path.unlink(missing_ok=True)
            self._version.unlink(missing_ok=True)

    @property
    def version(self) -> str | None:
        """What the server called the version that the bytes are of; None if it said nothing."""
        try:
            with open_plain(self._version) as file:
                return _header_words(file.read(MAX_VERSION + 1).decode("latin-1"))
        except FileNotFoundError:
            return None

    def clear(self, version: str | None = None) -> None:
        """Start again, with a version."""
        self._file.truncate(0)
        self.size = self._file.seek(0)
        self._version.unlink(missing_ok=True)
        if version:
            write_text(self._version, version)

    def append(self, piece: bytes) -> None:
        """Add received bytes, for every reader of the file to see.

        Raises:
            LakhxlError: there is no room for them.
        """
        left = memoryview(piece)
        try:
            while left:
                written = self._file.write(left)
                self.size, left = self.size + written, left[written:]
        except OSError as error:
            raise LakhxlError(
                f"{self.path} cannot be written ({error.strerror}): make room, or name another "
                "folder with --to"
            ) from error

    def complete(self, path: Path) -> Path:
        """Give the file its name."""
        self._version.unlink(missing_ok=True)
        return self.path.replace(path)


def _open_own(path: Path) -> FileIO:
    """Open a file to read and write, creating it; never through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    advice = f"{path} is a link, or no plain file: nothing is downloaded into it; remove it"
    if path.is_symlink():
        raise LakhxlError(advice)
    file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        file.close()
        raise LakhxlError(advice)
    return file


class Download:
    """One download that resumes after broken connections.

    Args:
        url: of the file.
        part: the bytes received so far.
        known: of the whole file.
    """

    def __init__(self, url: str, part: Part, known: Archive) -> None:
        self._url, self._part, self._known = url, part, known

    def run(self) -> None:
        """Download the missing bytes.

        Raises:
            LakhxlError: too many attempts failed in a row, or none can succeed.
        """
        failures, most = 0, self._part.size
        name = self._part.path.name.removesuffix(".part")
        bar_options = {"unit": "B", "unit_scale": True, "desc": name}
        with progress_bar(total=self._known.size, initial=most, **bar_options) as bar:
            while True:
                try:
                    return self._connect(bar)
                except Refused as error:
                    raise LakhxlError(f"{self._url} cannot be downloaded: {error}") from error
                except Broken as error:
                    failures = 1 if self._part.size >= most + PIECE else failures + 1
                    most = max(most, self._part.size)
                    if failures >= ATTEMPTS:
                        raise LakhxlError(
                            f"{self._url} cannot be downloaded: {error}{self._promise()}"
                        ) from error
                    time.sleep(PAUSE_SECONDS * (failures - 1))

    def _promise(self) -> str:
        if not self._can_resume():
            return ""
        return (
            f"; the {self._part.size:,} bytes received are kept: run the same command again to "
            "resume"
        )

    def _can_resume(self) -> bool:
        """Whether a file joined from two versions would be noticed."""
        version = self._part.version
        return self._part.size > 0 and (self._known.md5 is not None or version is not None)

    def _connect(self, bar: Any) -> None:
        """One connection: append what the server sends.

        Raises:
            Broken: another attempt may get more.
            Refused: it would not.
        """
        headers = {"Accept-Encoding": "identity"}
        if self._can_resume():
            headers["Range"] = f"bytes={self._part.size}-"
            if version := self._part.version:
                headers["If-Range"] = version
        with get(self._url, headers) as response:
            if self._is_complete(response, resuming="Range" in headers):
                return
            size = self._total(response)
            bar.total, bar.n = size, self._part.size
            for piece in pieces(response, PIECE):
                if self._part.size + len(piece) > (size or MAX_BYTES):
                    self._part.clear()
                    raise Refused(f"the server sends more than {size or MAX_BYTES:,} bytes")
                self._part.append(piece)
                bar.update(len(piece))
        if size is not None and self._part.size < size:
            raise Broken(f"it ended after {self._part.size:,} of {size:,} bytes")

    def _is_complete(self, response: HTTPResponse, resuming: bool) -> bool:
        """Read the status: whether nothing is missing. Otherwise the body is what is missing."""
        status, first, total = response.status, *_content_range(response)
        if status == 200:
            if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
                raise Refused("the server sends a page of HTML instead of an archive")
            self._part.clear(_version(response))
            return False
        if status in BUSY or status >= 500:
            raise Broken(f"the server answers {status} {response.reason}")
        if not resuming or status not in (206, 416):
            raise Refused(f"the server answers {status} {response.reason}")
        if status == 416 and total == self._part.size:
            return True
        same = _version(response) in (None, self._part.version) or self._part.version is None
        if status == 416 or first != self._part.size or not same:
            self._part.clear()
            raise Broken("the server's file is another than the one received before")
        return False

    def _total(self, response: HTTPResponse) -> int | None:
        """Bytes of the whole file, as published or else as stated by the server."""
        length = response.headers.get("Content-Length", "")
        stated = int(length) if re.fullmatch(r"[0-9]{1,15}", length) else None
        if response.status == 206:
            stated = _content_range(response)[1]
        if stated is not None and stated != (self._known.size or stated):
            raise Refused(f"it has {stated:,} bytes; expected {self._known.size:,}")
        if stated is not None and stated > (self._known.size or MAX_BYTES):
            raise Refused(f"it has {stated:,} bytes; expected at most {MAX_BYTES:,}")
        return self._known.size or stated


def _content_range(response: HTTPResponse) -> tuple[int | None, int | None]:
    """The first byte that is sent, and the bytes of the whole file, as far as they are stated."""
    words = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (?:([0-9]{1,15})-[0-9]{1,15}|\*)/([0-9]{1,15}|\*)", words)
    if not found:
        return None, None
    first, total = found.groups()
    return int(first) if first else None, int(total) if total != "*" else None


def _version(response: HTTPResponse) -> str | None:
    """A name of the file's version that If-Range may hold: a strong ETag, or else the date."""
    tag = response.headers.get("ETag", "")
    return _header_words(tag if tag.startswith('"') else response.headers.get("Last-Modified", ""))


def _header_words(words: str) -> str | None:
    """What a header may hold, or None."""
    return words if re.fullmatch(r"[!-~][ -~]*", words) and len(words) <= MAX_VERSION else None
