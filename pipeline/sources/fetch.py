"""Download the archives of the Lakh MIDI Dataset, resuming where a download stopped.

The bytes received so far lie in NAME.part; the next attempt, or the next call, asks for the rest
(HTTP Range). The file gets its name only when it is complete and its checksum is right.

Source: Raffel 2016, Learning-Based Methods for Comparing Sequences; the archives' names, sizes
and checksums are those of https://colinraffel.com/projects/lmd/.
"""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.console import progress_bar
from shards.errors import LakhxlError

if TYPE_CHECKING:
    import requests

LAKH = "http://hog.ee.columbia.edu/craffel/lmd/"
ATTEMPTS = 5
"""Connections in a row that may break without delivering a byte."""
PAUSE_SECONDS = 2.0
PIECE = 1 << 16
"""Bytes written at a time; an incomplete piece of a broken connection is dropped."""


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
        LakhxlError: the download failed, or the file has the wrong size or checksum. Received
            bytes are kept, unless the checksum is wrong.
    """
    known = known or ARCHIVES[name]
    path = to / f"{name}.tar.gz"
    url = f"{address.rstrip('/')}/{path.name}"
    if path.exists() and known.md5 in (None, _md5(path)):
        return path
    to.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    Download(url, part, known.size).run()
    found = _md5(part) if known.md5 else None
    if found != known.md5:
        part.unlink()
        raise LakhxlError(
            f"{url} has MD5 hash {found}, expected {known.md5}: the download was deleted, try again"
        )
    return part.replace(path)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class Download:
    """One download that resumes after broken connections.

    Args:
        url: of the file.
        part: the file for the bytes received so far.
        size: bytes of the whole file, if known.
    """

    def __init__(self, url: str, part: Path, size: int | None) -> None:
        self._url, self._part, self._size = url, part, size

    def run(self) -> None:
        """Download the missing bytes into `part`.

        Raises:
            LakhxlError: too many attempts failed in a row, or the server has no such file.
        """
        import requests

        failures, received = 0, self._received()
        name = self._part.name.removesuffix(".part")
        with (
            requests.Session() as session,
            progress_bar(
                total=self._size, initial=received, unit="B", unit_scale=True, desc=name
            ) as bar,
        ):
            while True:
                try:
                    return self._connect(session, bar)
                except requests.RequestException as error:
                    failures = 1 if self._received() > received else failures + 1
                    received = self._received()
                    if _is_permanent(error) or failures >= ATTEMPTS:
                        raise LakhxlError(
                            f"{self._url} cannot be downloaded: {error}; the {received:,} bytes "
                            "received are kept: run the same command again to resume"
                        ) from error
                    time.sleep(PAUSE_SECONDS * (failures - 1))

    def _received(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _connect(self, session: "requests.Session", bar: Any) -> None:
        """One connection: append what the server sends to `part`.

        Raises:
            requests.RequestException: the connection broke, or the server refuses.
            LakhxlError: the file has another size than expected.
        """
        import requests

        received = self._received()
        headers = {"Accept-Encoding": "identity"}
        if received:
            headers["Range"] = f"bytes={received}-"
        with session.get(self._url, headers=headers, stream=True, timeout=60) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                if received == _total_size(response):
                    return  # the part was complete
                self._part.unlink()
                raise requests.ConnectionError("the part received before is longer than the file")
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            content_range = response.headers.get("Content-Range", "")
            if resumed and not content_range.startswith(f"bytes {received}-"):
                raise LakhxlError(f"{self._url}: the server sent another range than requested")
            if not resumed:
                received = 0  # the server does not support ranges: start again
            total = _total_size(response)
            if None not in (total, self._size) and total != self._size:
                raise LakhxlError(f"{self._url} has {total:,} bytes; expected {self._size:,}")
            bar.total, bar.n = total, received
            with self._part.open("r+b" if received else "wb") as file:
                file.seek(received)
                for piece in response.iter_content(PIECE):
                    file.write(piece)
                    bar.update(len(piece))
        if total is not None and self._received() < total:
            raise requests.ConnectionError(
                f"it ended after {self._received():,} of {total:,} bytes"
            )


def _total_size(response: "requests.Response") -> int | None:
    """Bytes of the whole file, as stated by the server."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdigit():
        return int(total)
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _is_permanent(error: Exception) -> bool:
    """Whether another attempt would get the same answer: the server has no such file."""
    response = getattr(error, "response", None)
    return response is not None and 400 <= response.status_code < 500
