"""Whatever a server says: the right file, or one line and no file; never the wrong file."""

import gzip
import itertools
import os
import random
import resource
import time

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.sources import bounded_http, fetch
from pipeline.sources.fetch import ARCHIVES, Archive
from tests.pipeline.sources.lying_server import archive_of, head, lying, start_of

MUSIC = random.Random(1).randbytes(400_000)
RIGHT = archive_of({"clean_midi/a.mid": MUSIC})
OTHER = archive_of({"clean_midi/b.mid": MUSIC[::-1]})
HALF = len(RIGHT) // 2
SIZE = len(RIGHT)
PAGE = b"<html><body>Please log in</body></html>"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(bounded_http, "SLOW_SECONDS", 0.3)
    monkeypatch.setattr(bounded_http, "SILENT_SECONDS", 0.5)


def fetching(address, folder):
    """The result of the command, which ends in time, in one line, and with status 0 or 1."""
    since = time.monotonic()
    words = ["fetch", "clean_midi", "--to", str(folder), "--address", address]
    result = CliRunner().invoke(cli, words)
    assert time.monotonic() - since < 30
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == result.exit_code
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result, (errors or [""])[0]


def always(*pieces):
    return lambda request: iter(pieces)


def forever(first, piece, pause=0.0):
    def answer(request):
        yield first
        while True:
            yield piece
            time.sleep(pause)

    return answer


def changing(request):
    """Half of a file; then, as if nothing had happened, the rest of another."""
    start = start_of(request)
    if not start:
        yield head(Content_Length=SIZE, ETag='"one"') + RIGHT[:HALF]
    else:
        size = len(OTHER)
        yield head("206 Partial", Content_Range=f"bytes {start}-{size - 1}/{size}", ETag='"two"')
        yield OTHER[start:]


def changing_in_silence(request):
    start = start_of(request)
    if not start:
        yield head(Content_Length=SIZE, ETag='"one"') + RIGHT[:HALF]
    else:
        yield head("206 Partial", Content_Range=f"bytes {start}-{SIZE - 1}/{SIZE}")
        yield OTHER[start:SIZE].ljust(SIZE - start, b"\0")


LIES = {
    "a page": always(head(Content_Type="text/html", Content_Length=len(PAGE)) + PAGE),
    "a page under another type": always(head(Content_Length=len(PAGE)) + PAGE),
    "nothing": always(head(Content_Length=0)),
    "no content": always(head("204 No Content")),
    "accepted": always(head("202 Accepted", Content_Length=SIZE) + RIGHT),
    "partial, unasked": always(
        head("206 Partial", Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}", Content_Length=SIZE), RIGHT
    ),
    "cut": always(head(Content_Length=SIZE) + RIGHT[:HALF]),
    "cut without a length": always(head() + RIGHT[:HALF]),
    "cut by a byte without a length": always(head() + RIGHT[:-1]),
    "cut between chunks": always(
        head(Transfer_Encoding="chunked"), b"%x\r\n%b\r\n" % (HALF, RIGHT[:HALF])
    ),
    "too long without a length": always(head() + RIGHT + PAGE),
    "two archives": always(head() + RIGHT + PAGE + OTHER),
    "packed twice": always(head(Content_Encoding="gzip") + gzip.compress(RIGHT)),
    "unpacked": always(head() + gzip.decompress(RIGHT)),
    "an archive without songs": always(head() + archive_of({"a.txt": b"a"})),
    "a bit is wrong": always(head() + RIGHT[:HALF] + bytes([RIGHT[HALF] ^ 1]) + RIGHT[HALF + 1 :]),
    "another file from the middle": changing,
    "another file from the middle, in silence": changing_in_silence,
    "another range": lambda request: iter(
        [head(Content_Length=SIZE, ETag='"a"'), RIGHT[:HALF]]
        if "range" not in request
        else [head("206 Partial", Content_Range=f"bytes 5-{SIZE - 1}/{SIZE}"), RIGHT[5:]]
    ),
    "404": always(head("404 Not Found", Content_Length=0)),
    "416": always(head("416 Range Not Satisfiable", Content_Range="bytes */5", Content_Length=0)),
    "500": always(head("500 Oops", Content_Length=0)),
    "a huge length": always(head(Content_Length=10**14) + RIGHT),
    "a negative length": always(head(Content_Length=-5) + RIGHT[:HALF]),
    "two lengths": always(head(Content_Length=f"{SIZE}, 5") + RIGHT[:HALF]),
    "no HTTP": always(b"220 ftp ready\r\n"),
    "silence": always(),
    "a redirect to a file": always(head("302 Found", Location="file:///etc/passwd")),
    "a redirect to ftp": always(head("302 Found", Location="ftp://127.0.0.1/clean_midi.tar.gz")),
    "a redirect to data": always(head("302 Found", Location="data:,x")),
    "a redirect to nothing": always(head("302 Found", Location="http://[")),
    "a redirect without an address": always(head("302 Found")),
    "a redirect to itself": always(head("302 Found", Location="/clean_midi.tar.gz")),
    "a redirect with an endless body": forever(head("302 Found", Location="/x"), b"x" * 65536),
    "endless headers": forever(b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"x" * 60_000 + b"\r\n"),
    "one endless header": forever(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 60_000),
    "endless interim answers": forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "an endless chunk size": forever(head(Transfer_Encoding="chunked"), b"0" * 60_000),
    "a trickle": forever(head(Content_Length=SIZE), b"x", 0.05),
    "a trickle without a length": forever(head(), b"x", 0.05),
    "a trickle of headers": forever(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
    "a trickle of chunks": forever(head(Transfer_Encoding="chunked"), b"1\r\nx\r\n", 0.05),
}
AT_ONCE = {
    "a page", "no content", "accepted", "partial, unasked", "404", "416", "a huge length",
    *(lie for lie in LIES if lie.startswith("a redirect")),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_gives_one_line_and_no_file(tmp_path, lie):
    with lying(LIES[lie]) as (address, asked):
        result, error = fetching(address, tmp_path)
    assert result.exit_code == 1, result.output
    assert not (tmp_path / "clean_midi.tar.gz").exists()
    assert len(error) < 400
    if lie in AT_ONCE:
        assert len(asked) <= (fetch.ATTEMPTS + 1 if "itself" in lie or "endless" in lie else 1)
        assert "kept" not in error
        assert "again" not in error
        assert list(tmp_path.iterdir()) == []


def whole(**headers):
    def answer(request):
        start = start_of(request)
        if start:
            yield head("206 Partial", Content_Range=f"bytes {start}-{SIZE - 1}/{SIZE}", **headers)
        else:
            yield head(**headers)
        yield RIGHT[start:]

    return answer


TRUTHS = {
    "without a length": whole(),
    "labelled as gzip": whole(Content_Encoding="gzip"),
    "labelled as x-gzip": whole(Content_Encoding="x-gzip", Content_Length=SIZE),
    "in chunks": always(
        head(Transfer_Encoding="chunked"), b"%x\r\n%b\r\n0\r\n\r\n" % (SIZE, RIGHT)
    ),
    "through a redirect": lambda request: iter(
        [head("302 Found", Location="/x")] if "clean" in request[""] else [head(), RIGHT]
    ),
}


@pytest.mark.parametrize("truth", TRUTHS)
def test_an_unusual_answer_gives_the_right_file(tmp_path, truth):
    with lying(TRUTHS[truth]) as (address, asked):
        result, _ = fetching(address, tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == RIGHT
    assert [file.name for file in tmp_path.iterdir()] == ["clean_midi.tar.gz"]
    assert all(request["accept-encoding"] == "identity" for request in asked)


@pytest.mark.parametrize("name", [{"ETag": '"one"'}, {"Last_Modified": "Mon, 01 Jan 2024"}])
def test_a_resume_asks_for_the_rest_of_the_same_version(tmp_path, name):
    sent = itertools.count()

    def broken_once(request):
        cut = HALF if next(sent) == 0 else SIZE
        start = start_of(request)
        status = "206 Partial" if start else "200 OK"
        yield head(status, Content_Range=f"bytes {start}-{SIZE - 1}/{SIZE}", **name,
                   Content_Length=SIZE - start)  # fmt: skip
        yield RIGHT[start:cut]

    with lying(broken_once) as (address, asked):
        result, _ = fetching(address, tmp_path)
    assert result.exit_code == 0, result.output
    assert [request.get("range") for request in asked] == [None, f"bytes={HALF}-"]
    assert asked[1]["if-range"] == next(iter(name.values()))
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == RIGHT


def test_a_file_that_changed_between_two_calls_is_downloaded_anew(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(OTHER[:HALF])
    (tmp_path / "clean_midi.tar.gz.part.version").write_text('"other"')
    with lying(always(head(Content_Length=SIZE, ETag='"now"'), RIGHT)) as (address, asked):
        result, _ = fetching(address, tmp_path)
    assert asked[0]["if-range"] == '"other"'
    assert result.exit_code == 0
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == RIGHT


def test_a_part_whose_version_nobody_knows_is_not_resumed(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(OTHER[:HALF])
    with lying(whole()) as (address, asked):
        assert fetching(address, tmp_path)[0].exit_code == 0
    assert "range" not in asked[0]
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == RIGHT


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_nothing_is_written_through_a_link(tmp_path, make):
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"mine")
    (tmp_path / "data").mkdir()
    make(mine, tmp_path / "data" / "clean_midi.tar.gz.part")
    with lying(whole()) as (address, asked):
        result, error = fetching(address, tmp_path / "data")
    assert result.exit_code == 1
    assert "link" in error
    assert mine.read_bytes() == b"mine"
    assert asked == []


@pytest.mark.parametrize("suffix", ["", ".part", ".part.version"])
@pytest.mark.parametrize("known", [None, Archive(SIZE, "0" * 32)])
def test_a_pipe_in_place_of_a_file_is_refused(tmp_path, monkeypatch, suffix, known):
    monkeypatch.setitem(ARCHIVES, "clean_midi", known or Archive())
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(RIGHT[:HALF])
    pipe = tmp_path / f"clean_midi.tar.gz{suffix}"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    with lying(whole()) as (address, _):
        result, error = fetching(address, tmp_path)
    assert result.exit_code == 1
    assert str(pipe) in error


def test_a_full_disk_is_named_with_what_to_do(tmp_path, monkeypatch):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(fetch.Part, "append", full(fetch.Part.append, limits[1]))
    with lying(whole(Content_Length=SIZE)) as (address, _):
        result, error = fetching(address, tmp_path)
    assert result.exit_code == 1
    assert error.endswith("clean_midi.tar.gz.part cannot be written (File too large): make room, "
                          "or name another folder with --to")  # fmt: skip


def full(append, hard):
    """`append`, while no file may be larger than 100,000 bytes."""

    def call(part, piece):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            append(part, piece)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    return call


def test_a_file_that_does_not_unpack_is_not_taken_for_the_archive(tmp_path):
    (tmp_path / "clean_midi.tar.gz").write_bytes(PAGE)
    with lying(whole()) as (address, _):
        assert fetching(address, tmp_path)[0].exit_code == 0
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == RIGHT


@pytest.mark.parametrize(
    "address",
    ["", "hog.ee.columbia.edu/lmd", "ftp://127.0.0.1/", "file:///etc/", "http://", "http://[",
     "http://127.0.0.1:port/", "http://127.0.0.1:99999/", "data:,x", "http://a b/", "http://\0/",
     "HTTP:/127.0.0.1", "http://user:word@127.0.0.1/", "http://no.such.name.invalid/"],
)  # fmt: skip
def test_an_address_that_can_never_work_says_so_at_once(tmp_path, address, monkeypatch):
    monkeypatch.setattr(fetch.time, "sleep", lambda seconds: pytest.fail("waited"))
    if "invalid" in address:
        unknown = bounded_http.socket.gaierror(bounded_http.socket.EAI_NONAME, "unknown")
        monkeypatch.setattr(bounded_http.socket, "getaddrinfo", raising(unknown))
    result, error = fetching(address, tmp_path)
    assert result.exit_code == 1
    assert "kept" not in error
    assert "again" not in error
    assert list(tmp_path.iterdir()) == []


def raising(error):
    def call(*words, **options):
        raise error

    return call


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_a_known_size_bounds_a_body_without_a_length(tmp_path, monkeypatch, size):
    monkeypatch.setitem(ARCHIVES, "clean_midi", Archive(size, "0" * 32))
    with lying(whole()) as (address, _):
        result, error = fetching(address, tmp_path)
    assert result.exit_code == 1
    assert f"{size:,}" in error


def test_an_endless_body_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "MAX_BYTES", 5_000_000)
    with lying(forever(head(), b"x" * 65536)) as (address, _):
        _, error = fetching(address, tmp_path)
    assert "more than 5,000,000 bytes" in error
    assert list(tmp_path.iterdir()) == []
