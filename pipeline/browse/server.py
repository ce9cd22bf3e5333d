"""A web server for one person on this machine: a dataset's songs as a page.

It listens on the loopback address only, and answers only requests for that name: a page from
elsewhere that points a name of its own at 127.0.0.1 (DNS rebinding) is refused, and so is a
request that the browser marks as coming from another site. It only reads. Files are served from
a fixed list; no part of an address is ever used as a path.
"""

import contextlib
import io
import json
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipeline.browse.song_facts import facts, removed_silences
from pipeline.browse.songs import QueryError, Songs, boxes_of
from shards import Dataset
from shards.errors import LakhxlError, ShardError
from shards.layout import REPORT_PAGE
from shards.reader import decode_song
from shards.render.midi import to_midi
from shards.render.pianoroll import notes_extent, png
from shards.text import visible

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
MAX_PAGE_SIZE = 500
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Inline styles: the table library sets them."""
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


class RequestRefused(Exception):
    """A request that is answered by a status and a sentence only."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Site:
    """The answers: address in, content type and content out. Knows nothing of HTTP."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._songs = dataset, Songs(dataset)
        self._drawing = threading.Lock()  # matplotlib is not thread-safe
        self._files = {
            address: (kind, file.read_bytes()) for address, (file, kind) in STATIC.items()
        }
        self._png = lru_cache(32)(self._draw)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[str, bytes]:
        """Content type and content.

        Raises:
            RequestRefused: nothing is at this address, or the query cannot be parsed.
        """
        if path in self._files:
            return self._files[path]
        tables: dict[str, Callable[[dict[str, list[str]]], Any]] = {
            "/api/about": self._about,
            "/api/songs": self._page,
        }
        if path in tables:
            return JSON, json.dumps(tables[path](query), allow_nan=False).encode()
        if path == "/report":
            return HTML, (self._dataset.path / REPORT_PAGE).read_bytes()
        if asked := SONG.fullmatch(path):
            return self._song(int(asked[1]), asked[2])
        raise RequestRefused(404, "there is nothing here")

    def _about(self, query: dict[str, list[str]]) -> dict[str, Any]:
        return {
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

    def _song(self, number: int, suffix: str) -> tuple[str, bytes]:
        if number >= len(self._dataset):
            last = len(self._dataset) - 1
            raise RequestRefused(404, f"there is no song {number}; the last is {last}")
        if suffix == ".png":
            return "image/png", self._png(number)
        song = decode_song(self._dataset, number)
        if suffix == ".mid":
            stream = io.BytesIO()
            to_midi(song, self._dataset.vocabulary).save(file=stream)
            return "audio/midi", stream.getvalue()
        left, width = notes_extent(song)
        content = {
            "facts": facts(self._dataset, number),
            "seconds": float(song.seconds(song.end)),
            "roll": {"left": left, "width": width},
        }
        return JSON, json.dumps(content).encode()

    def _draw(self, number: int) -> bytes:
        song = decode_song(self._dataset, number)
        with self._drawing:
            silences = removed_silences(self._dataset, number)
            return png(song, self._dataset.vocabulary, silences=silences)


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise RequestRefused(400, f"{visible(text)!r} is not a page number")
    return int(text)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, refuses those from elsewhere, and sends the site's answer."""

    site: Site
    server: ThreadingHTTPServer  # pyright: ignore[reportIncompatibleVariableOverride] (see serve)
    server_version, sys_version = "lakhxl", ""

    def do_GET(self) -> None:
        """Answer, or state the reason for refusing in one line."""
        with contextlib.suppress(ConnectionError):  # the page no longer waits for this answer
            self._send(*self._answer())

    def _answer(self) -> tuple[int, str, bytes]:
        try:
            self._check_caller()
            address = urlsplit(self.path)
            kind, content = self.site.answer(address.path, parse_qs(address.query))
            return 200, kind, content
        except RequestRefused as refused:
            return refused.status, TEXT, str(refused).encode()
        except (ShardError, OSError) as error:
            return 500, TEXT, visible(error).encode()

    def _check_caller(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in {f"{name}:{port}" for name in NAMES}:
            raise RequestRefused(403, f"this server answers only to {LOOPBACK}:{port}")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise RequestRefused(403, "the request comes from another site")

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for errors."""


def serve(dataset: Dataset, port: int = 0) -> ThreadingHTTPServer:
    """Bind a server; its `serve_forever` answers until it is stopped.

    Args:
        dataset: whose songs to show.
        port: 0 picks a free one.

    Raises:
        LakhxlError: the port is taken.
    """
    handler = type("DatasetHandler", (Handler,), {"site": Site(dataset)})
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise LakhxlError(f"cannot listen on port {port}: {error}; give another --port") from error
    server.daemon_threads = True
    return server
