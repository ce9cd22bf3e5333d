"""Downloads from a loopback server: complete, in ranges, interrupted, wrong."""

import hashlib
import http.server
import random
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.sources import fetch
from pipeline.sources.fetch import Archive, download
from shards.errors import LakhxlError
from tests.pipeline.sources.lying_server import archive_of

DATA = random.Random(0).randbytes(3_000_000)
CLEAN = archive_of({"clean_midi/song.mid": DATA[:300_000]})
KNOWN = Archive(len(DATA), hashlib.md5(DATA).hexdigest())


@contextmanager
def serving(data: bytes = DATA, *, breaks_after: int | None = None, ranges: bool = True):
    """A server of one archive that may cut off each response; its address, and ranges asked."""
    asked: list[str | None] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            asked.append(self.headers["Range"])
            if not self.path.endswith("clean_midi.tar.gz"):
                self.send_error(404)
                return
            start = 0
            if ranges and self.headers["Range"]:
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            stop = None if breaks_after is None else start + breaks_after
            self.wfile.write(data[start:stop])
            self.close_connection = True

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{web.server_port}/", asked
        finally:
            web.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0.0)


def test_an_archive_is_downloaded_once_and_has_its_checksum(tmp_path):
    with serving() as (address, asked):
        path = download("clean_midi", tmp_path / "data", address, KNOWN)
        assert path.read_bytes() == DATA
        assert download("clean_midi", tmp_path / "data", address, KNOWN) == path
    assert asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ["clean_midi.tar.gz"]


def test_broken_connections_are_resumed(tmp_path):
    with serving(breaks_after=700_000) as (address, asked):
        path = download("clean_midi", tmp_path, address, KNOWN)
    assert path.read_bytes() == DATA
    starts = [int(words.removeprefix("bytes=").rstrip("-")) for words in asked[1:]]
    assert len(starts) == 4
    assert starts == [700_000, 1_400_000, 2_100_000, 2_800_000]


def test_a_stopped_download_resumes(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(DATA[:1_234_567])
    with serving() as (address, asked):
        assert download("clean_midi", tmp_path, address, KNOWN).read_bytes() == DATA
    assert asked == ["bytes=1234567-"]


def test_a_download_stopped_at_its_last_byte_is_complete(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(DATA)
    with serving() as (address, _):
        assert download("clean_midi", tmp_path, address, KNOWN).read_bytes() == DATA


def test_a_part_longer_than_the_file_is_discarded(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(DATA + b"more")
    with serving() as (address, _):
        assert download("clean_midi", tmp_path, address, KNOWN).read_bytes() == DATA


def test_a_server_without_ranges_sends_everything_again(tmp_path):
    (tmp_path / "clean_midi.tar.gz.part").write_bytes(b"x" * 1000)
    with serving(ranges=False) as (address, _):
        assert download("clean_midi", tmp_path, address, KNOWN).read_bytes() == DATA


def test_a_server_that_is_gone_is_an_error_and_received_bytes_are_kept(tmp_path):
    with serving(breaks_after=0) as (address, asked):
        (tmp_path / "clean_midi.tar.gz.part").write_bytes(DATA[:5])
        with pytest.raises(
            LakhxlError, match="the 5 bytes received are kept: run the same command"
        ):
            download("clean_midi", tmp_path, address, KNOWN)
    assert len(asked) == fetch.ATTEMPTS
    assert (tmp_path / "clean_midi.tar.gz.part").read_bytes() == DATA[:5]


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path):
    with serving() as (address, _), pytest.raises(LakhxlError, match="MD5 hash"):
        download("clean_midi", tmp_path, address, Archive(len(DATA), "0" * 32))
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(tmp_path):
    with serving() as (address, _), pytest.raises(LakhxlError, match="3,000,000 bytes; expected 7"):
        download("clean_midi", tmp_path, address, Archive(7))
    assert not (tmp_path / "clean_midi.tar.gz").exists()


def test_the_command_says_what_went_wrong_in_one_line(tmp_path):
    with serving() as (address, asked):
        words = ["fetch", "lmd_full", "--to", str(tmp_path / "data"), "--address", address]
        result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert "404" in result.stderr
    assert "Error: " in result.stderr
    assert len(asked) == 1


def test_the_command_says_how_to_go_on_and_what_is_known(tmp_path):
    with serving(CLEAN) as (address, _):
        words = ["fetch", "clean_midi", "--to", str(tmp_path), "--address", address]
        result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0
    assert "pipeline run" in result.stdout
    assert "no checksum of clean_midi is published" in result.stdout
    assert (tmp_path / "clean_midi.tar.gz").read_bytes() == CLEAN
