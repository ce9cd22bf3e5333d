"""One HTTP GET in which every wait and every length is bounded, whatever the server does.

The standard library bounds neither a server that sends a byte now and then nor headers, redirects
and interim responses without end; here, bytes are counted and timed where they leave the socket.
Bytes are returned as they are sent: no Content-Encoding is undone.
"""

import io
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import (
    HTTPConnection,
    HTTPException,
    HTTPResponse,
    HTTPSConnection,
    InvalidURL,
)
from typing import Any
from urllib.error import URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

SILENT_SECONDS = 30.0
"""Longest wait for a connection, or for a byte."""
SLOW_SECONDS, SLOW_BYTES = 30.0, 30 << 10
"""Fewer bytes in so many seconds are a broken connection: a quarter of a modem's."""
MAX_HEADER = 1 << 20
"""Bytes before the body, interim responses included."""
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
SCHEMES = ("http", "https")


class Broken(Exception):
    """A connection broke; another attempt may succeed."""


class Refused(Exception):
    """Another attempt would get the same answer."""


class Wire(io.RawIOBase):
    """The bytes of a socket, at a minimum rate, and before the body at most MAX_HEADER of them."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._left: float = MAX_HEADER
        self._since, self._received = time.monotonic(), 0

    def header_is_over(self) -> None:
        """The body follows, whose length the reader bounds."""
        self._left = float("inf")

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes as they come.

        Raises:
            OSError: the connection broke, or is too slow.
            HTTPException: too many bytes before the body.
        """
        size = self._raw.readinto(buffer) or 0
        self._received += size
        self._left -= size
        if self._left < 0:
            raise HTTPException(f"more than {MAX_HEADER:,} bytes before the file")
        now = time.monotonic()
        if now - self._since > SLOW_SECONDS:
            if self._received < SLOW_BYTES:
                raise TimeoutError(f"only {self._received:,} bytes in {now - self._since:.0f} s")
            self._since, self._received = now, 0
        return size

    def close(self) -> None:
        """Close the socket's file, too."""
        self._raw.close()
        super().close()


class Response(HTTPResponse):
    """A response that is read through a Wire."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._wire = Wire(self.fp.detach())  # pyright: ignore[reportAttributeAccessIssue]
        self.fp = io.BufferedReader(self._wire)

    def begin(self) -> None:
        """Read status and headers."""
        super().begin()
        self._wire.header_is_over()


class Connection(HTTPConnection):
    """A connection whose responses are bounded."""

    response_class = Response


class SecureConnection(HTTPSConnection):
    """The same with TLS."""

    response_class = Response


class Http(HTTPHandler):
    """Opens http addresses."""

    def http_open(self, req: Request) -> Any:
        """The response."""
        return self.do_open(Connection, req)


class Https(HTTPSHandler):
    """Opens https addresses."""

    def https_open(self, req: Request) -> Any:
        """The response."""
        return self.do_open(SecureConnection, req, context=ssl.create_default_context())


def get(url: str, headers: Mapping[str, str]) -> HTTPResponse:
    """The response to a GET, redirects followed; its body is not read yet.

    Args:
        url: http or https; redirects, too, lead nowhere else.
        headers: of the request.

    Raises:
        Broken: no connection, or it broke.
        Refused: the address is wrong, or the server's name, certificate or redirect.
    """
    opener = OpenerDirector()
    for handler in (ProxyHandler(), UnknownHandler(), Http(), Https()):
        opener.add_handler(handler)
    base, schemes = url, SCHEMES
    for _ in range(MAX_REDIRECTS + 1):
        url = _checked(base, url, schemes)
        response = _open(opener, Request(url, headers=dict(headers)))
        location = response.headers.get("Location")
        if response.status not in REDIRECTS or location is None:
            return response
        response.close()
        schemes = SCHEMES[SCHEMES.index(urlsplit(url).scheme) :]  # never from https back to http
        base, url = url, location
    raise Refused(f"more than {MAX_REDIRECTS} redirects")


def _checked(base: str, url: str, schemes: tuple[str, ...]) -> str:
    """An address, seen from another, with unusual characters quoted; refused if it is none."""
    try:
        url = urljoin(base, url)
        parts = urlsplit(url)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Refused(f"{url!r} is not an address that begins with {' or '.join(schemes)}://")
    return quote(url, safe="%/:=&?~#+!$,;'@()*[]")


def _open(opener: OpenerDirector, request: Request) -> HTTPResponse:
    try:
        return opener.open(request, timeout=SILENT_SECONDS)  # pyright: ignore[reportReturnType]
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        unknown = isinstance(reason, socket.gaierror) and reason.errno == socket.EAI_NONAME
        wrong = ssl.SSLCertVerificationError, InvalidURL, ValueError, str
        if unknown or isinstance(reason, wrong):
            raise Refused(reason) from error
        raise Broken(reason) from error


def pieces(response: HTTPResponse, size: int) -> Iterator[bytes]:
    """The body as it comes, in pieces of at most `size` bytes.

    Raises:
        Broken: the connection broke. That the body ended early is for the caller to see.
    """
    while True:
        try:
            piece = response.read1(size)
        except (OSError, HTTPException, ValueError) as error:
            raise Broken(error) from error
        if not piece:
            return
        yield piece
