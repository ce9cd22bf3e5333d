"""Opening what others prepared: plain files only, and JSON of bounded size and depth."""

import json
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import LakhxlError
from shards.plain_file import open_plain, parse_json, read_json, read_plain

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='[]{}"\\a\n'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='[]{}"\\'), inner),
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def test_a_plain_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with open_plain(tmp_path / "a") as file:
        assert file.read() == b"abc"


def test_a_missing_file_stays_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "a")


def test_what_is_not_a_plain_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    start = time.monotonic()
    for path, kind in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a named pipe"),
        (tmp_path / "zeros", "a device"),
    ):
        with pytest.raises(LakhxlError, match=f"is {kind}; expected a plain file"):
            read_json(path, 100, 2)
    assert time.monotonic() - start < 5


def test_a_socket_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises((LakhxlError, OSError)):
            read_plain(Path("socket"), 10)


def test_no_descriptor_is_left_open_by_a_refusal(tmp_path):
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    before = count()
    for _ in range(5):
        with pytest.raises(LakhxlError):
            open_plain(tmp_path)
    assert count() == before


def test_a_file_may_have_exactly_the_most_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_plain(tmp_path / "a", 5) == b"12345"
    with pytest.raises(LakhxlError, match="has 5 bytes; expected at most 4"):
        read_plain(tmp_path / "a", 4)


def test_a_file_of_a_terabyte_is_refused_by_its_size(tmp_path):
    with (tmp_path / "a").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(LakhxlError, match="has 1,099,511,627,776 bytes"):
        read_json(tmp_path / "a", 1000, 2)


@given(JSON)
def test_json_is_read_if_and_only_if_it_is_no_deeper_than_allowed(value):
    text = json.dumps(value)
    assert parse_json(text, depth(value)) == value
    if depth(value):
        with pytest.raises(ValueError, match="nested deeper"):
            parse_json(text, depth(value) - 1)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'"' + b"\\" * 99_999, b"1" * 9_999,
     "[1]".encode("utf-16")],
)  # fmt: skip
def test_what_is_not_json_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LakhxlError, match=r"a\.json is damaged \("):
        read_json(tmp_path / "a.json", 2_000_000, 8)


def test_the_time_to_refuse_a_text_grows_with_its_length_and_not_its_square():
    start = time.process_time()
    with pytest.raises(ValueError, match="Unterminated"):
        parse_json('"' + '\\"' * 500_000, 8)
    assert time.process_time() - start < 5
