"""A web server for one person on this machine: a dataset's songs as a page.

It listens on the loopback address alone, and answers only those who call it by that name: a
page from elsewhere that points a name of its own at 127.0.0.1 (DNS rebinding) is refused, and
so is a request that the browser says comes from another site. It only reads. Files are served
from a fixed list; no part of an address is ever used as a path.
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

from pipeline.browse.query import Songs, WrongQuery, filters_of
from pipeline.show import cuts, facts
from shards import Dataset
from shards.console import visible
from shards.errors import LakhxlError, ShardError
from shards.layout import REPORT_PAGE
from shards.render.midi import to_midi
from shards.render.pianoroll import place_of_notes, png

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
LARGEST_PAGE = 500
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Inline styles: the table library sets them."""
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
STATIC = {
    "/": ("page.html", HTML),
    "/browse.css": ("browse.css", "text/css"),
    "/browse.js": ("browse.js", "text/javascript"),
    "/tabulator.css": ("vendor/tabulator_simple.min.css", "text/css"),
    "/tabulator.js": ("vendor/tabulator.min.js", "text/javascript"),
    "/tinysynth.js": ("vendor/webaudio-tinysynth.min.js", "text/javascript"),
}
SONG = re.compile(r"/api/song/(\d{1,9})(\.mid|\.png|)")


class Refused(Exception):
    """A request that gets no answer but a status and a sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Site:
    """What the server has to say; address in, type and content out. Knows nothing of HTTP."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._songs = dataset, Songs(dataset)
        self._drawing = threading.Lock()  # matplotlib is not made for threads
        self._files = {
            address: (kind, (files("pipeline.browse") / "static" / name).read_bytes())
            for address, (name, kind) in STATIC.items()
        }
        self._png = lru_cache(32)(self._draw)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[str, bytes]:
        """Content type and content.

        Raises:
            Refused: there is nothing at this address, or the query says nothing.
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
        raise Refused(404, "there is nothing here")

    def _about(self, query: dict[str, list[str]]) -> dict[str, Any]:
        return {
            "name": visible(self._dataset.path.resolve().name),
            "songs": len(self._dataset),
            "columns": [{"name": name, "kind": kind} for name, kind in self._songs.columns.items()],
        }

    def _page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        given = {name: values[-1] for name, values in query.items()}
        size = min(_whole(given.get("size", "50")), LARGEST_PAGE)
        page = _whole(given.get("page", "1"))
        try:
            rows = self._songs.rows(
                filters_of(query), given.get("q", ""), given.get("sort", ""),
                given.get("order") == "desc",
            )  # fmt: skip
        except WrongQuery as error:
            raise Refused(400, str(error)) from error
        shown = rows[(page - 1) * size : page * size]
        pages = max(-(-len(rows) // size), 1)
        return {"data": self._songs.page(shown), "last_page": pages, "last_row": len(rows)}

    def _song(self, number: int, suffix: str) -> tuple[str, bytes]:
        if number >= len(self._dataset):
            raise Refused(404, f"there is no song {number}; the last is {len(self._dataset) - 1}")
        if suffix == ".png":
            return "image/png", self._png(number)
        song = self._dataset.codec.decode(self._dataset.song(number))
        if suffix == ".mid":
            stream = io.BytesIO()
            to_midi(song, self._dataset.vocabulary).save(file=stream)
            return "audio/midi", stream.getvalue()
        left, wide = place_of_notes(song)
        told = {
            "facts": facts(self._dataset, number),
            "seconds": float(song.seconds(song.end)),
            "roll": {"left": left, "wide": wide},
        }
        return JSON, json.dumps(told).encode()

    def _draw(self, number: int) -> bytes:
        song = self._dataset.codec.decode(self._dataset.song(number))
        with self._drawing:
            return png(song, self._dataset.vocabulary, silences=cuts(self._dataset, number))


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise Refused(400, f"{visible(text)!r} is no number of a page")
    return int(text)


class Handler(BaseHTTPRequestHandler):
    """Reads a request, refuses what comes from elsewhere, and sends the site's answer."""

    site: Site
    server_version, sys_version = "lakhxl", ""

    def do_GET(self) -> None:
        """Answer, or say in one line why not."""
        with contextlib.suppress(ConnectionError):  # the page has gone on and does not listen
            self._send(*self._answer())

    def _answer(self) -> tuple[int, str, bytes]:
        try:
            self._check_caller()
            address = urlsplit(self.path)
            return 200, *self.site.answer(address.path, parse_qs(address.query))
        except Refused as refused:
            return refused.status, TEXT, str(refused).encode()
        except (ShardError, OSError) as error:
            return 500, TEXT, visible(error).encode()

    def _check_caller(self) -> None:
        port = self.server.server_address[1]
        if self.headers.get("Host") not in {f"{name}:{port}" for name in NAMES}:
            raise Refused(403, f"this server answers to {LOOPBACK}:{port} alone")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise Refused(403, "a page of another site asked for this")

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
        """Say nothing: the terminal is for errors."""


def serve(dataset: Dataset, port: int = 0) -> ThreadingHTTPServer:
    """A server that is ready; its `serve_forever` answers until it is stopped.

    Args:
        dataset: whose songs to show.
        port: 0 takes any that is free.

    Raises:
        LakhxlError: the port is taken.
    """
    handler = type("DatasetHandler", (Handler,), {"site": Site(dataset)})
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise LakhxlError(f"port {port} cannot be had: {error}; give another --port") from error
    server.daemon_threads = True
    return server
