"""A web server for one person on this machine; what it answers is the business of its site.

It listens on the loopback address only, and answers only requests for a loopback name, of any port
(an SSH tunnel has its own): a page from elsewhere that points a name of its own at 127.0.0.1 (DNS
rebinding) is refused, and so is a request that the browser marks as coming from another site.
Whoever else works on this machine lacks the access token that the program prints: without it, the
empty page is all there is. Files are served from a fixed list; no part of an address is ever used
as a path.
"""

import contextlib
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Generator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, NamedTuple, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

import click

from shards.errors import LakhxlError
from shards.text import visible

LOOPBACK = "127.0.0.1"
THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
SILENT_SECONDS = 30
"""A connection that neither sends nor takes anything is closed."""
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src blob:; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types default"
)
"""No style and no script in markup, and no markup from a string: the pages say how."""
HTML, TEXT, JSON = "text/html; charset=utf-8", "text/plain; charset=utf-8", "application/json"
WEB = files("shards.web")
SHARED = {
    "/base.css": (WEB / "base.css", "text/css"),
    "/tinysynth.js": (WEB / "vendor" / "webaudio-tinysynth.min.js", "text/javascript"),
}
"""Address -> file and type, for the sites to add their own to."""
WITHOUT_TOKEN = (
    "this page lacks the server's access token: open the address that the program printed"
)


class Answer(NamedTuple):
    """What is at an address; content that comes in pieces is sent as it comes."""

    kind: str
    content: bytes | Generator[bytes, None, None]
    policy: str = POLICY
    headers: Mapping[str, str] = {}


class RequestRefused(Exception):
    """A request that is answered by a status and a sentence only."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Site(Protocol):
    """The answers: address in, content type and content out. Knows nothing of HTTP."""

    @property
    def files(self) -> Mapping[str, Answer]:
        """The answers that are the same for everybody, by address; they need no token."""
        ...

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        """What is at an address.

        Raises:
            RequestRefused: nothing is, or the query cannot be parsed.
        """
        ...


def json_answer(content: Any) -> Answer:
    """An answer in JSON, without NaN and infinity."""
    return Answer(JSON, json.dumps(content, allow_nan=False).encode())


def static_answers(listed: dict[str, tuple[Any, str]]) -> dict[str, Answer]:
    """The answers of listed files, read once; address -> file and type, as in SHARED."""
    return {address: Answer(kind, file.read_bytes()) for address, (file, kind) in listed.items()}


class Handler(BaseHTTPRequestHandler):
    """Reads a request, refuses those from elsewhere, and sends the site's answer."""

    site: Site
    token: str
    methods = "GET, HEAD"
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
        """Refuse what is no request of HTTP, or another than those known."""
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
            if address.path not in self.site.files and not self._has_token(self._cookie()):
                raise RequestRefused(403, WITHOUT_TOKEN)
            return 200, self._site_answer(address, query)
        except RequestRefused as refused:
            return refused.status, Answer(TEXT, visible(refused).encode())
        except (LakhxlError, OSError) as error:
            return 500, Answer(TEXT, visible(error).encode())

    def _site_answer(self, address: SplitResult, query: dict[str, list[str]]) -> Answer:
        return self.site.answer(address.path, query)

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
            "Allow": self.methods,
            "Content-Type": answer.kind,
            "Content-Security-Policy": answer.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            **answer.headers,
        }
        content = answer.content
        if isinstance(content, bytes):
            headers["Content-Length"] = str(len(content))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send_content(content)

    def _send_content(self, content: bytes | Generator[bytes, None, None]) -> None:
        if isinstance(content, bytes):
            self.wfile.write(content)
            return
        with contextlib.closing(content):
            for piece in content:
                self.wfile.write(piece)

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

    def serve_until_stopped(self, *, open_page: bool) -> None:
        """Print where the page is, open it if that is wanted, and serve it until Ctrl-C."""
        with self:
            click.echo(f"{self.address}  (Ctrl-C ends it)")
            if open_page:
                click.launch(self.address)
            with contextlib.suppress(KeyboardInterrupt):
                self.serve_forever()


def bind(site: Site, port: int, handler: type[Handler] = Handler) -> Server:
    """Bind a server; its `serve_forever` answers until it is stopped.

    Args:
        site: what it answers.
        port: 0 picks a free one.
        handler: of its requests.

    Raises:
        LakhxlError: the port is taken.
    """
    token = secrets.token_urlsafe()
    try:
        server = Server(
            (LOOPBACK, port), type("SiteHandler", (handler,), {"site": site, "token": token})
        )
    except (OSError, OverflowError) as error:
        raise LakhxlError(f"cannot listen on port {port}: {error}; give another --port") from error
    server.token = token
    return server
