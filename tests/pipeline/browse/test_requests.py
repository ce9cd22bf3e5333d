"""Requests that no browser sends, over a raw socket: each gets a status, none a traceback."""

import re
import shutil
import socket
import threading
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.browse.server import serve
from shards import Dataset
from shards.web.server import Server
from tests.pipeline.browse.browser import COOKIE, TOKEN

SIGNED_IN = f"Cookie: a=b; {COOKIE}={TOKEN}\r\n".encode()
OWN = b"Host: 127.0.0.1\r\n" + SIGNED_IN


@pytest.fixture(scope="module")
def port(dataset):
    """The port of a server whose faults fail the test that caused them."""
    with serve(dataset) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_faults():
    with mock.patch.object(Server, "handle_error") as fault:
        yield
    assert fault.call_args_list == []


def status_of(port, request):
    """The status that some bytes get, and the content."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(1 << 16):
            answer += piece
    head = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    assert head, (request[:200], answer[:200])
    return int(head[1]), answer.partition(b"\r\n\r\n")[2]


MALFORMED = [
    b"GET http://[ HTTP/1.1",
    b"GET http://[::1 HTTP/1.1",
    b"GET http://127.0.0.1]/ HTTP/1.1",
    b"GET http://\xef\xbc\x8fa/ HTTP/1.1",
    b"GET //[ HTTP/1.1",
    b"GET http://evil.example/api/songs HTTP/1.1",
    b"GET http://127.0.0.1@evil.example/api/songs HTTP/1.1",
    b"GET ",
    b"GET",
    b"GET / HTTP/1.1 more",
    b"GET / HTTP/",
    b"GET / HTTP/x.y",
    b"GET / HTTP/\xb2.0",
    b"GET / HTTP/9.9",
    b"GET / HTTP/2.0",
    b"GET / FTP/1.0",
    b"/ GET HTTP/1.1",
    b"get / HTTP/1.1",
    b"POST /api/songs HTTP/1.1",
    b"DELETE / HTTP/1.1",
    b"CONNECT evil.example:443 HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x00",
    b"GET * HTTP/1.1",
    b"GET ? HTTP/1.1",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
    b"GET /api/songs?q=%00 HTTP/1.1",
    b"GET /api/songs?sort=%00 HTTP/1.1",
    b"GET /api/songs?sort=path%22 HTTP/1.1",
    b"GET /api/songs?sort=notes;drop HTTP/1.1",
    b"GET /api/songs?page=-1 HTTP/1.1",
    b"GET /api/songs?page=1e3 HTTP/1.1",
    b"GET /api/songs?page=9999999999 HTTP/1.1",
    b"GET /api/songs?size=0 HTTP/1.1",
    b"GET /api/songs?f.notes=%3E%3E1 HTTP/1.1",
    b"GET /api/songs?f.notes=nan HTTP/1.1",
    b"GET /api/songs?f.notes=1..2..3 HTTP/1.1",
    b"GET /api/songs?f.=1 HTTP/1.1",
    b"GET /api/songs?f.\xff=1 HTTP/1.1",
    b"GET /api/songs?f.representative=\xff HTTP/1.1",
    b"GET /api/songs?dataset=another HTTP/1.1",
    b"GET /api/song/%30 HTTP/1.1",
    b"GET /api/song/\xb2 HTTP/1.1",
    b"GET /api/song/0.MID HTTP/1.1",
    b"GET /api/song/0.mid%00 HTTP/1.1",
    b"GET /api/song/0/../1 HTTP/1.1",
    b"GET /api/song/00000000000 HTTP/1.1",
    b"GET /api/song/1000000.mid HTTP/1.1",
    b"GET /api/song/0.png HTTP/1.1",
    b"GET /api/song/0.wav HTTP/1.1",
    b"GET /api/file/1000000 HTTP/1.1",
    b"GET /api/songs/values?name=nothing HTTP/1.1",
    b"GET /api/files?f.notes=1 HTTP/1.1",
    b"GET /api/songs?f.notes=1e999 HTTP/1.1",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1",
    b"GET /..%2f..%2fetc/passwd HTTP/1.1",
    b"GET /%c0%ae%c0%ae/etc/passwd HTTP/1.1",
    b"GET /.%252e/etc/passwd HTTP/1.1",
    b"GET /..\\..\\etc\\passwd HTTP/1.1",
    b"GET /report/../dataset.json HTTP/1.1",
    b"GET /report%2f..%2fdataset.json HTTP/1.1",
    b"GET file:///etc/passwd HTTP/1.1",
]
HEADERS = [
    b"",
    b"Host\r\n",
    b"Host:\r\n",
    b"Host: evil.example\r\n",
    b"Host: evil.example:8000\r\n",
    b"Host: localhost.evil.example\r\n",
    b"Host: localhost:80@evil.example\r\n",
    b"Host: localhost:evil\r\n",
    b"Host: localhost:\xb2\r\n",
    b"Host: localhost:123456\r\n",
    b"Host: 127.0.0.1.nip.io\r\n",
    b"Host: 127.0.0.2\r\n",
    b"Host: [::1\r\n",
    b"Host: [::ffff:127.0.0.1]\r\n",
    OWN + b"Host: evil.example\r\n",
    b"Host: evil.example\r\n" + OWN,
    OWN + b"Sec-Fetch-Site: cross-site\r\n",
    OWN + b"A: " + b"a" * 70_000 + b"\r\n",
    OWN + b"".join(b"A%d: a\r\n" % number for number in range(200)),
]


@pytest.mark.parametrize("line", MALFORMED, ids=lambda line: repr(line[:60]))
def test_a_request_that_is_malformed_gets_a_status_of_its_own_fault(port, line):
    status, content = status_of(port, line + b"\r\n" + OWN + b"\r\n")
    assert 400 <= status < 500
    assert 0 < len(content.splitlines()[0]) < 300


@pytest.mark.parametrize("headers", HEADERS, ids=lambda line: repr(line[:60]))
def test_headers_that_are_malformed_or_of_another_machine_are_refused(port, headers):
    status, content = status_of(
        port, b"GET /api/songs HTTP/1.1\r\n" + headers + SIGNED_IN + b"\r\n"
    )
    assert 400 <= status < 500
    assert b"path" not in content


@pytest.mark.parametrize("range_", [b"bytes=0-", b"bytes=9-1", b"bytes=-1", b"bytes=x", b"a" * 999])
@pytest.mark.parametrize("address", [b"/browse.js", b"/api/song/0.mid", b"/report"])
def test_a_range_is_answered_by_the_whole(port, address, range_):
    request = b"GET %s HTTP/1.1\r\n" % address + OWN
    whole = status_of(port, request + b"\r\n")
    assert whole[0] == 200
    assert status_of(port, request + b"Range: " + range_ + b"\r\n\r\n") == whole


@pytest.mark.parametrize("name", [b"127.0.0.1", b"localhost", b"[::1]", b"LOCALHOST"])
@pytest.mark.parametrize("number", [b"", b":9000", b":80"])
def test_an_ssh_tunnel_may_have_another_port(port, name, number):
    for line in (b"GET /api/about", b"GET http://" + name + number + b"/api/about"):
        request = line + b" HTTP/1.1\r\nHost: " + name + number + b"\r\n" + SIGNED_IN + b"\r\n"
        assert status_of(port, request)[0] == 200


def test_head_is_get_without_its_content(port):
    assert status_of(port, b"HEAD /api/about HTTP/1.1\r\n" + OWN + b"\r\n") == (200, b"")


WORDS = st.sampled_from(
    [b"/", b"..", b"%2e", b"%00", b"%ff", b"?", b"&", b"=", b";", b"#", b"api", b"song", b"songs",
     b"f.", b"notes", b"path", b"sort=", b"order=desc", b"page=", b"size=", b"q=", b"0", b"1",
     b"-1", b">=", b"'", b'"', b"--", b"(", b")", b"[", b"]", b":", b"@", b"http:",
     b"\xc3\xa9", b"\xff", b"\t", b"%27", b"%22", b"..", b"1e999", b"9" * 30, b".mid",
     b".wav", b"files", b"columns", b"name=", b"report", b"+", b"%"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=12).map(b"".join), st.binary(max_size=40))
@settings(max_examples=300)
def test_whatever_an_address_holds_the_answer_is_a_status_below_500(port, words, junk):
    for address in (b"/" + words, b"/api/songs?" + words, b"/api/song/" + words, words, junk):
        line = b"GET " + address.replace(b"\r", b"").replace(b"\n", b"") + b" HTTP/1.1\r\n"
        assert status_of(port, line + OWN + b"\r\n")[0] < 500


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_bytes_that_are_no_request_get_a_status_or_nothing(port, junk):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(junk + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1 << 16)
    assert re.match(rb"HTTP/1\.[01] 4\d\d |$", answer)


def test_a_hundred_connections_at_once_are_all_answered(port):
    connections = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(100)]
    for connection in connections:
        connection.sendall(b"GET /api/about HTTP/1.1\r\n" + OWN + b"\r\n")
    for connection in connections:
        assert connection.recv(12).endswith(b" 200")
        connection.close()


DATASET_ADDRESSES = (
    b"/api/about", b"/api/songs", b"/api/files", b"/api/songs/values?name=bpm", b"/api/song/0",
    b"/api/song/0.mid", b"/api/file/0", b"/report",
)  # fmt: skip


@pytest.mark.parametrize("successor", ["removed", "another", "same again"])
def test_a_dataset_that_was_replaced_says_so_at_every_address(dataset, tmp_path, successor):
    folder = tmp_path / "lakh"
    shutil.copytree(dataset.path, folder)
    with serve(Dataset(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        requests = [b"GET " + a + b" HTTP/1.1\r\n" + OWN + b"\r\n" for a in DATASET_ADDRESSES]
        port = server.server_address[1]
        try:
            before = [status_of(port, request)[0] for request in requests]
            folder.rename(tmp_path / "old")
            if successor != "removed":
                shutil.copytree(dataset.path, folder)
            if successor == "another":
                (folder / "dataset.json").write_text((folder / "dataset.json").read_text() + "\n")
            after = [status_of(port, request) for request in requests]
            page = status_of(port, b"GET / HTTP/1.1\r\n" + OWN + b"\r\n")[0]
        finally:
            server.shutdown()
            thread.join()
    assert set(before) == {200}
    assert page == 200
    for status, content in after:
        assert status == 409
        assert b"was replaced or removed while it was browsed" in content
