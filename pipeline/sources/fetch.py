"""Download the Lakh MIDI Dataset's archives, and go on where a download stopped.

pooch looks after checksums and final names; how bytes come over is ours, as pooch's own
downloaders begin anew whenever a connection breaks. What has come so far lies in NAME.part,
and the next attempt, or the next call, asks for the rest (HTTP Range).

Source: Raffel 2016, Learning-Based Methods for Comparing Sequences; the archives' names, sizes
and checksums are those of https://colinraffel.com/projects/lmd/.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shards.console import progress_bar
from shards.errors import LakhxlError

if TYPE_CHECKING:
    import requests

LAKH = "http://hog.ee.columbia.edu/craffel/lmd/"
ATTEMPTS = 5
"""Connections that may break in a row without a byte having come."""
PAUSE_SECONDS = 2.0
PIECE = 1 << 16
"""Bytes; of the piece that a connection breaks in, nothing is kept."""


@dataclass(frozen=True)
class Archive:
    """What is known of one archive; None where nothing is published."""

    size: int | None = None
    md5: str | None = None


ARCHIVES = {
    "lmd_full": Archive(1_768_163_879, "2536ce3fd2cede53ddaa264f731859ab"),
    "lmd_matched": Archive(1_407_072_670, "fb80d01c22020295bb3eeef31f1aa63a"),
    "clean_midi": Archive(),
}


def download(name: str, to: Path, address: str = LAKH, known: Archive | None = None) -> Path:
    """Download one archive, unless it is there already; returns where it lies.

    It appears under its name only when it is whole, with the right checksum.

    Args:
        name: a key of ARCHIVES.
        to: the folder; made if need be.
        address: the folder on the web that holds it.
        known: instead of what ARCHIVES says.

    Raises:
        LakhxlError: it cannot be had, or is not what it should be. What came is kept, unless
            its checksum is wrong.
    """
    import pooch

    known = known or ARCHIVES[name]
    file = f"{name}.tar.gz"
    url = f"{address.rstrip('/')}/{file}"
    part = to / f"{file}.part"
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            url,
            known_hash=known.md5 and f"md5:{known.md5}",
            fname=file,
            path=to,
            downloader=Resuming(part, known.size),
        )
    except ValueError as error:  # pooch: the checksum differs
        raise LakhxlError(f"{url}: {error}") from error
    return Path(path)


class Resuming:
    """A downloader for pooch that goes on with what is there.

    Args:
        part: the file that holds what has come so far.
        size: bytes of the whole, where known.
    """

    def __init__(self, part: Path, size: int | None) -> None:
        self._part, self._size = part, size

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Bring over what is missing, then hand the whole to pooch, which checks it."""
        import requests

        failures, had = 0, self._had()
        with requests.Session() as session, self._bar() as bar:
            while True:
                try:
                    self._bring(session, url, bar)
                    break
                except requests.RequestException as error:
                    failures = 1 if self._had() > had else failures + 1
                    had = self._had()
                    if _final(error) or failures >= ATTEMPTS:
                        raise LakhxlError(
                            f"{url} cannot be downloaded: {error}; the {had:,} bytes that came are "
                            "kept: the same command goes on"
                        ) from error
                    time.sleep(PAUSE_SECONDS * (failures - 1))
        self._part.replace(output_file)

    def _had(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    @contextmanager
    def _bar(self) -> Iterator[Any]:
        name = self._part.name.removesuffix(".part")
        with progress_bar(
            total=self._size, initial=self._had(), unit="B", unit_scale=True, desc=name
        ) as bar:
            yield bar

    def _bring(self, session: "requests.Session", url: str, bar: Any) -> None:
        """One connection: append to the part what the server sends.

        Raises:
            requests.RequestException: the connection broke, or the server will not.
            LakhxlError: the file is of another size than it should be.
        """
        import requests

        had = self._had()
        headers = {"Range": f"bytes={had}-", "Accept-Encoding": "identity"} if had else {}
        with session.get(url, headers=headers, stream=True, timeout=60) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                if had == _stated(answer):
                    return  # it was all there
                self._part.unlink()
                raise requests.ConnectionError("what came before is longer than the file")
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
                raise LakhxlError(f"{url}: the server sent another part than it was asked for")
            if not goes_on:
                had = 0  # the server knows no parts: from the beginning
            total = _stated(answer)
            if None not in (total, self._size) and total != self._size:
                raise LakhxlError(f"{url} has {total:,} bytes; expected {self._size:,}")
            bar.total = total
            bar.n = had
            self._append(answer, had, bar)
        if total is not None and self._had() < total:
            raise requests.ConnectionError(f"it ended after {self._had():,} of {total:,} bytes")

    def _append(self, answer: "requests.Response", had: int, bar: Any) -> None:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        with self._part.open("r+b" if had else "wb") as file:
            file.seek(had)
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))


def _stated(answer: "requests.Response") -> int | None:
    """Bytes of the whole file, as the server has it."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isdigit():
        return int(total)
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _final(error: Exception) -> bool:
    """Whether asking again would bring the same answer: the server has no such file."""
    answer = getattr(error, "response", None)
    return answer is not None and 400 <= answer.status_code < 500
