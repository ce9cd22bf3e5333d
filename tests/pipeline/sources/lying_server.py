"""A server of one archive that tells one lie about it, written to the socket byte by byte."""

import contextlib
import io
import re
import socket
import socketserver
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[[dict[str, str]], Iterator[bytes]]
"""The request's headers, in lower case -> what is sent, piece by piece."""


def archive_of(files: dict[str, bytes]) -> bytes:
    """A .tar.gz."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def head(status: str = "200 OK", **headers: object) -> bytes:
    """Status and headers; `_` stands for `-`."""
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def start_of(request: dict[str, str]) -> int:
    """Where the requested range starts."""
    return int(re.sub(r"\D", "", request.get("range", "0")))


@contextmanager
def lying(answer: Answer) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The server's address, and the headers of each request."""
    asked: list[dict[str, str]] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the client has had enough
                self.lie()

        def lie(self) -> None:
            request: dict[str, str] = {"": self.rfile.readline().decode().strip()}
            while line := self.rfile.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                request[name.lower()] = value.strip()
            asked.append(request)
            for piece in answer(request):
                self.wfile.write(piece)
            self.request.shutdown(socket.SHUT_WR)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, block_on_close = True, False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/", asked
        finally:
            server.shutdown()
            thread.join()
