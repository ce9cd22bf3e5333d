"""A web server for one person on this machine: a dataset's songs as a page.

It listens on the loopback address only, and answers only requests for a loopback name, of any port
(an SSH tunnel has its own): a page from elsewhere that points a name of its own at 127.0.0.1 (DNS
rebinding) is refused, and so is a request that the browser marks as coming from another site.
Whoever else works on this machine lacks the access token that `pipeline browse` prints: without
it, the empty page is all there is. The server only reads. Files are served from a fixed list; no
part of an address is ever used as a path.
"""

import contextlib
import hashlib
import hmac
import io
import json
import re
import secrets
import shlex
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np

from pipeline.browse.boxes import QueryError, boxes_of
from pipeline.browse.music import music
from pipeline.browse.originals import Originals
from pipeline.browse.song_facts import facts, ledger_row, removed_silences
from pipeline.browse.tables import Table, files_table, songs_table
from pipeline.report.html.report_page import report_html
from pipeline.report.read_report import read_report
from shards import Dataset
from shards.errors import LakhxlError
from shards.layout import MANIFEST
from shards.reader import decode_song, read_manifest
from shards.render.audio import wav_bytes
from shards.render.midi import to_midi
from shards.song import Song
from shards.text import visible
from shards.where import SONG

LOOPBACK = "127.0.0.1"
THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
SILENT_SECONDS = 30
"""A connection that neither sends nor takes anything is closed."""
MAX_PAGE_SIZE = 500
MAX_DUPLICATES = 24
"""Shown of a song's cluster."""
MAX_SOUND_SECONDS = 600
"""A longer song is not played by FluidSynth: ten minutes take 420 MB while they are rendered."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src blob:; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types default"
)
"""No style and no script in markup, and no markup from a string: see browse.js."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""Of the report, whose own policy names its style; a sandboxed page leaves by a link only."""
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
PAGE = files("pipeline.browse") / "static"
STATIC = {
    "/": (PAGE / "page.html", HTML),
    "/style.css": (files("pipeline.report.html") / "style.css", "text/css"),
    "/browse.css": (PAGE / "browse.css", "text/css"),
    **{
        f"/{name}.js": (PAGE / f"{name}.js", "text/javascript")
        for name in ("browse", "columns", "player", "roll")
    },
    "/tabulator.css": (PAGE / "vendor" / "tabulator_simple.min.css", "text/css"),
    "/tabulator.js": (PAGE / "vendor" / "tabulator.min.js", "text/javascript"),
    "/tinysynth.js": (PAGE / "vendor" / "webaudio-tinysynth.min.js", "text/javascript"),
}
WITHOUT_TOKEN = (
    "this page lacks the server's access token: open the address that `pipeline browse` printed"
)
OF_TABLE = re.compile(r"/api/(songs|files)(/columns|/values|)")
ONE = re.compile(r"/api/(song|file)/(\d{1,9})(\.mid|\.wav|)")


class Answer(NamedTuple):
    """What is at an address."""

    kind: str
    content: bytes
    policy: str = POLICY
    headers: Mapping[str, str] = {}


class RequestRefused(Exception):
    """A request that is answered by a status and a sentence only."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Site:
    """The answers: address in, content type and content out. Knows nothing of HTTP.

    Args:
        dataset: whose songs to show.
        sources: that the dataset was made of, for the notes of files that were not kept.
        soundfont: to play songs with; None: the page's own synthesizer.
    """

    def __init__(
        self, dataset: Dataset, sources: Sequence[Path] = (), soundfont: Path | None = None
    ) -> None:
        self._dataset, self._soundfont = dataset, soundfont
        self._songs, self._originals = songs_table(dataset), Originals(dataset, sources)
        self._stamp = _stamp(dataset.path)
        if read_manifest(dataset.path) != dataset.manifest:
            raise LakhxlError(f"{dataset.path} was replaced just now: try again")
        content = json.dumps(dataset.manifest, sort_keys=True).encode()
        self._id = hashlib.sha256(content).hexdigest()[:16]
        self._rendering = threading.Lock()  # of sound: one song takes hundreds of MB
        self._files = {
            address: Answer(kind, file.read_bytes()) for address, (file, kind) in STATIC.items()
        }

    @cached_property
    def _not_kept(self) -> Table:
        return files_table(self._dataset)

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
        if path == "/api/about":
            return _json(self._about())
        if path == "/report":
            return Answer(HTML, self._report().encode(), REPORT_POLICY)
        if asked := OF_TABLE.fullmatch(path):
            table = self._songs if asked[1] == "songs" else self._not_kept
            show = {"": self._page, "/columns": _list_columns, "/values": _values}[asked[2]]
            try:
                return _json(show(table, query))
            except QueryError as error:
                raise RequestRefused(400, str(error)) from error
        if asked := ONE.fullmatch(path):
            return self._one(asked[1], int(asked[2]), asked[3])
        raise RequestRefused(404, "there is nothing here")

    def _about(self) -> dict[str, Any]:
        counts = self._dataset.manifest["counts"]
        return {
            "dataset": self._id,
            "name": visible(self._dataset.path.resolve().name),
            "songs": len(self._dataset),
            "files": counts["files"] - counts["songs"],
            "soundfont": self._soundfont and visible(self._soundfont.name),
        }

    def _report(self) -> str:
        """The report, with what the page inside the dataset leaves out."""
        path = self._dataset.path
        day = datetime.fromtimestamp((path / MANIFEST).stat().st_mtime).astimezone().date()
        name = visible(path.resolve().name)
        return report_html(read_report(path), name=name, made=day.isoformat())

    def _page(self, table: Table, query: dict[str, list[str]]) -> dict[str, Any]:
        given = {name: values[-1] for name, values in query.items()}
        size = min(_whole(given.get("size", "50")), MAX_PAGE_SIZE)
        page = _whole(given.get("page", "1"))
        where = table.where(boxes_of(query), given.get("q", ""))
        descending = given.get("order") == "desc"
        rows, count = table.page(where, given.get("sort", ""), descending, (page - 1) * size, size)
        words = ["trainer", "fit", str(self._dataset.path), "--where", where]
        return {
            "data": rows,
            "last_page": max(-(-count // size), 1),
            "last_row": count,
            "fit": shlex.join(words) if where and table is self._songs else "",
        }

    def _one(self, of: str, number: int, suffix: str) -> Answer:
        if of == "song" and number >= len(self._dataset):
            last = len(self._dataset) - 1
            raise RequestRefused(404, f"there is no song {number}; the last is {last}")
        ledger = self._dataset.ledger()
        if of == "file" and number >= ledger.num_rows:
            raise RequestRefused(404, f"there is no file {number}; the last is {len(ledger) - 1}")
        if suffix:
            return self._sound(self._decoded(of, number), suffix)
        row = number if of == "file" else ledger_row(self._dataset, number)
        content = {"facts": facts(self._dataset, row), "duplicates": []}
        if of == "song":
            content["duplicates"] = self._duplicates(number)
        try:
            song = self._decoded(of, number)
        except RequestRefused as refused:
            return _json({**content, "silent": str(refused)})
        silences = removed_silences(self._dataset, number) if of == "song" else ()
        return _json({**content, "music": music(song, self._dataset.vocabulary, silences)})

    def _decoded(self, of: str, number: int) -> Song:
        if of == "song":
            return decode_song(self._dataset, number)
        try:
            return self._originals.song(number)
        except LakhxlError as error:
            raise RequestRefused(404, str(error)) from error

    def _sound(self, song: Song, suffix: str) -> Answer:
        midi = to_midi(song, self._dataset.vocabulary)
        if suffix == ".mid":
            stream = io.BytesIO()
            midi.save(file=stream)
            return Answer("audio/midi", stream.getvalue())
        if self._soundfont is None or song.seconds(song.end) > MAX_SOUND_SECONDS:
            raise RequestRefused(404, "no soundfont, or a song of more than ten minutes")
        with self._rendering:
            return Answer("audio/wav", wav_bytes(midi, self._soundfont))

    def _duplicates(self, number: int) -> list[dict[str, Any]]:
        """The other songs of a song's cluster."""
        index = self._dataset.index
        clusters = index["cluster"].to_numpy()
        others = np.flatnonzero(clusters == clusters[number])
        others = others[others != number][:MAX_DUPLICATES].tolist()
        return [{SONG: other, "path": visible(index["path"][other].as_py())} for other in others]


def _list_columns(table: Table, query: dict[str, list[str]]) -> Any:
    return [{"name": one.name, "kind": one.kind} for one in table.columns.values()]


def _values(table: Table, query: dict[str, list[str]]) -> Any:
    """The values of a column in the rows that the filters of the others let pass."""
    name, search = (query.get(given, [""])[-1] for given in ("name", "q"))
    others = tuple((other, box) for other, box in boxes_of(query) if other != name)
    bins = table.histogram(name, table.where(others, search))
    return {"help": table.columns[name].help, "bins": [one._asdict() for one in bins]}


def _json(content: Any) -> Answer:
    return Answer(JSON, json.dumps(content, allow_nan=False).encode())


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
    token: str
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
            self._check_caller(address.netloc, address.path)
            if address.path == "/" and "token" in query:
                return self._sign_in(query["token"][-1])
            if address.path not in STATIC and not self._has_token(self._cookie()):
                raise RequestRefused(403, WITHOUT_TOKEN)
            return 200, self.site.answer(address.path, query)
        except RequestRefused as refused:
            return refused.status, Answer(TEXT, visible(refused).encode())
        except (LakhxlError, OSError) as error:
            return 500, Answer(TEXT, visible(error).encode())

    def _check_caller(self, named: str, path: str) -> None:
        """Refuse a request for another machine, by header or address, or by another site's page.

        The page itself, which is the same for everybody, may be linked to: by a report.
        """
        names = self.headers.get_all("Host", [""]) + ([named] if named else [])
        if not all(THIS_MACHINE.fullmatch(name) for name in names):
            raise RequestRefused(403, f"this server answers only to {LOOPBACK} and localhost")
        is_link = path == "/" and self.headers.get("Sec-Fetch-Dest") == "document"
        if not is_link and self.headers.get("Sec-Fetch-Site", "none") not in (
            "none",
            "same-origin",
        ):
            raise RequestRefused(403, "the request comes from another site")

    def _sign_in(self, token: str) -> tuple[int, Answer]:
        """Keep the token in a cookie, and out of the address."""
        if not self._has_token(token):
            raise RequestRefused(403, WITHOUT_TOKEN)
        cookie = f"{self._cookie_name}={token}; Path=/; HttpOnly; SameSite=Strict"
        return 303, Answer(TEXT, b"", headers={"Location": "/", "Set-Cookie": cookie})

    @property
    def _cookie_name(self) -> str:
        """Of this server: browsers send cookies to every port of a machine."""
        return f"lakhxl-{hashlib.sha256(self.token.encode()).hexdigest()[:12]}"

    def _cookie(self) -> str:
        pairs = (pair.strip().partition("=") for pair in self.headers.get("Cookie", "").split(";"))
        return next((value for name, _, value in pairs if name == self._cookie_name), "")

    def _has_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())

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
            **answer.headers,
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal is for errors."""


class Server(ThreadingHTTPServer):
    """A thread per connection; a page asks for much at once.

    Attributes:
        token: the access token, which a browser must have shown once, as `/?token=…`.
    """

    request_queue_size = 128
    daemon_threads = True
    token: str

    @property
    def address(self) -> str:
        """Where to open the page."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/?token={self.token}"


def serve(
    dataset: Dataset,
    port: int = 0,
    *,
    sources: Sequence[Path] = (),
    soundfont: Path | None = None,
) -> Server:
    """Bind a server; its `serve_forever` answers until it is stopped.

    Args:
        dataset, sources, soundfont: as for `Site`.
        port: 0 picks a free one.

    Raises:
        LakhxlError: the port is taken, or the dataset was replaced after it was opened.
    """
    site, token = Site(dataset, sources, soundfont), secrets.token_urlsafe(16)
    handler = type("DatasetHandler", (Handler,), {"site": site, "token": token})
    try:
        server = Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise LakhxlError(f"cannot listen on port {port}: {error}; give another --port") from error
    server.token = token
    return server
