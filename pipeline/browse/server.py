"""A web server for one person on this machine: a dataset's songs as a page.

It listens on the loopback address only, and answers only requests for a loopback name, of any port
(an SSH tunnel has its own): a page from elsewhere that points a name of its own at 127.0.0.1 (DNS
rebinding) is refused, and so is a request that the browser marks as coming from another site. It
only reads. Files are served from a fixed list; no part of an address is ever used as a path.
"""

import contextlib
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from pipeline.browse.song_facts import facts, ledger_row, removed_silences
from pipeline.browse.songs import QueryError, Songs, boxes_of
from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import MANIFEST, REPORT_PAGE
from shards.reader import decode_song, read_manifest
from shards.render.midi import to_midi
from shards.render.pianoroll import notes_extent, png
from shards.text import visible

LOOPBACK = "127.0.0.1"
THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
SILENT_SECONDS = 30
"""A connection that neither sends nor takes anything is closed."""
MAX_PAGE_SIZE = 500
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types default"
)
"""No style and no script in markup, and no markup from a string: see browse.js."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""Of the stored report, whose own policy names its style; a sandboxed page cannot leave."""
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
PAGE = files("pipeline.browse") / "static"
STATIC = {
    "/": (PAGE / "page.html", HTML),
    "/style.css": (files("pipeline.report.html") / "style.css", "text/css"),
    "/browse.css": (PAGE / "browse.css", "text/css"),
    "/browse.js": (PAGE / "browse.js", "text/javascript"),
    "/tabulator.css": (PAGE / "vendor" / "tabulator_simple.min.css", "text/css"),
    "/tabulator.js": (PAGE / "vendor" / "tabulator.min.js", "text/javascript"),
    "/tinysynth.js": (PAGE / "vendor" / "webaudio-tinysynth.min.js", "text/javascript"),
}
SONG = re.compile(r"/api/song/(\d{1,9})(\.mid|\.png|)")


class Answer(NamedTuple):
    """What is at an address."""

    kind: str
    content: bytes
    policy: str = POLICY


class RequestRefused(Exception):
    """A request that is answered by a status and a sentence only."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Site:
    """The answers: address in, content type and content out. Knows nothing of HTTP."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._songs = dataset, Songs(dataset)
        self._stamp = _stamp(dataset.path)
        if read_manifest(dataset.path) != dataset.manifest:
            raise LakhxlError(f"{dataset.path} was replaced just now: try again")
        content = json.dumps(dataset.manifest, sort_keys=True).encode()
        self._id = hashlib.sha256(content).hexdigest()[:16]
        self._drawing = threading.Lock()  # matplotlib is not thread-safe
        self._files = {
            address: Answer(kind, file.read_bytes()) for address, (file, kind) in STATIC.items()
        }
        self._png = lru_cache(32)(self._draw)

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """What is at an address.

        Raises:
            RequestRefused: nothing is at this address, the query cannot be parsed, or the dataset
                is no longer the one that was opened.
        """
        if path in self._files:
            return self._files[path]
        try:
            return self._of_dataset(path, query)
        finally:  # after reading: what was read before a replacement is of one dataset
            self._check_unchanged(query)

    def _check_unchanged(self, query: dict[str, list[str]]) -> None:
        if _stamp(self._dataset.path) != self._stamp:
            raise RequestRefused(
                409,
                f"{self._dataset.path} was replaced or removed while it was browsed: end "
                "`pipeline browse` and start it again",
            )
        if query.get("dataset", [self._id]) != [self._id]:
            raise RequestRefused(409, "this page is of another dataset than the server: reload it")

    def _of_dataset(self, path: str, query: dict[str, list[str]]) -> Answer:
        tables: dict[str, Callable[[dict[str, list[str]]], Any]] = {
            "/api/about": self._about,
            "/api/songs": self._page,
        }
        if path in tables:
            return Answer(JSON, json.dumps(tables[path](query), allow_nan=False).encode())
        if path == "/report":
            return Answer(HTML, (self._dataset.path / REPORT_PAGE).read_bytes(), REPORT_POLICY)
        if asked := SONG.fullmatch(path):
            return self._song(int(asked[1]), asked[2])
        raise RequestRefused(404, "there is nothing here")

    def _about(self, query: dict[str, list[str]]) -> dict[str, Any]:
        return {
            "dataset": self._id,
            "name": visible(self._dataset.path.resolve().name),
            "songs": len(self._dataset),
            "columns": [{"name": name, "kind": kind} for name, kind in self._songs.columns.items()],
        }

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        given = {name: values[-1] for name, values in query.items()}
        size = min(_whole(given.get("size", "50")), MAX_PAGE_SIZE)
        page = _whole(given.get("page", "1"))
        try:
            rows = self._songs.rows(
                boxes_of(query), given.get("q", ""), given.get("sort", ""),
                given.get("order") == "desc",
            )  # fmt: skip
        except QueryError as error:
            raise RequestRefused(400, str(error)) from error
        shown = rows[(page - 1) * size : page * size]
        pages = max(-(-len(rows) // size), 1)
        return {"data": self._songs.page(shown), "last_page": pages, "last_row": len(rows)}

    def _song(self, number: int, suffix: str) -> Answer:
        if number >= len(self._dataset):
            last = len(self._dataset) - 1
            raise RequestRefused(404, f"there is no song {number}; the last is {last}")
        if suffix == ".png":
            return Answer("image/png", self._png(number))
        song = decode_song(self._dataset, number)
        if suffix == ".mid":
            stream = io.BytesIO()
            to_midi(song, self._dataset.vocabulary).save(file=stream)
            return Answer("audio/midi", stream.getvalue())
        left, width = notes_extent(song)
        content = {
            "facts": facts(self._dataset, ledger_row(self._dataset, number)),
            "seconds": float(song.seconds(song.end)),
            "roll": {"left": left, "width": width},
        }
        return Answer(JSON, json.dumps(content).encode())

    def _draw(self, number: int) -> bytes:
        song = decode_song(self._dataset, number)
        with self._drawing:
            silences = removed_silences(self._dataset, number)
            return png(song, self._dataset.vocabulary, silences=silences)


def _stamp(folder: Path) -> tuple[int, ...] | None:
    """What tells one dataset at a path from the next; None if there is none."""
    try:
        stat = (folder / MANIFEST).stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise RequestRefused(400, f"{visible(text)!r} is not a page number")
    return int(text)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, refuses those from elsewhere, and sends the site's answer."""

    site: Site
    server_version, sys_version = "lakhxl", ""
    default_request_version = "HTTP/1.0"  # a request without a version gets a status line, too
    timeout = SILENT_SECONDS

    def handle(self) -> None:
        """Serve one connection; the page may end it at any time."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer, or state the reason for refusing in one line."""
        self._send(*self._answer())

    def do_HEAD(self) -> None:
        """The same without the content."""
        self.do_GET()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request of HTTP, or another than GET and HEAD."""
        status = {501: 405, 505: 400}.get(code, code)  # the fault is the request's
        self._send(status, Answer(TEXT, visible(message or HTTPStatus(code).phrase).encode()))

    def _answer(self) -> tuple[int, Answer]:
        try:
            try:
                address = urlsplit(self.path)
                query = parse_qs(address.query)
            except ValueError as error:
                raise RequestRefused(400, f"the address cannot be parsed: {error}") from error
            self._check_caller(address.netloc)
            return 200, self.site.answer(address.path, query)
        except RequestRefused as refused:
            return refused.status, Answer(TEXT, visible(refused).encode())
        except (LakhxlError, OSError) as error:
            return 500, Answer(TEXT, visible(error).encode())

    def _check_caller(self, named: str) -> None:
        """Refuse a request for another machine, by header or address, or by another site's page."""
        names = self.headers.get_all("Host", [""]) + ([named] if named else [])
        if not all(THIS_MACHINE.fullmatch(name) for name in names):
            raise RequestRefused(403, f"this server answers only to {LOOPBACK} and localhost")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RequestRefused(403, "the request comes from another site")

    def _send(self, status: int, answer: Answer) -> None:
        self.send_response(status)
        headers = {
            "Allow": "GET, HEAD",
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.content)),
            "Content-Security-Policy": answer.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for errors."""


class Server(ThreadingHTTPServer):
    """A thread per connection; a page asks for much at once."""

    request_queue_size = 128
    daemon_threads = True


def serve(dataset: Dataset, port: int = 0) -> Server:
    """Bind a server; its `serve_forever` answers until it is stopped.

    Args:
        dataset: whose songs to show.
        port: 0 picks a free one.

    Raises:
        LakhxlError: the port is taken, or the dataset was replaced after it was opened.
    """
    handler = type("DatasetHandler", (Handler,), {"site": Site(dataset)})
    try:
        return Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise LakhxlError(f"cannot listen on port {port}: {error}; give another --port") from error
