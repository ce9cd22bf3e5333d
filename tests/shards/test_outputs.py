"""Files named by the user: refused before work begins, never replaced unasked, all tried."""

import os

import pytest

from shards.errors import LakhxlError
from shards.outputs import Outputs, check_outputs
from shards.writer import publish


def refusal(path, **options) -> str:
    with pytest.raises(LakhxlError) as caught:
        check_outputs([path], (".mid", ".png"), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "folder.mid").mkdir()
    os.mkfifo(tmp_path / "pipe.mid")
    assert "is a folder" in refusal(tmp_path / "folder.mid")
    assert "is a folder" in refusal(tmp_path)
    assert "ends in .mid, .png" in refusal(tmp_path / "song.mp3")
    assert "ends in .mid, .png" in refusal(tmp_path / "song")
    assert "no such folder" in refusal(tmp_path / "none" / "song.mid")
    assert "not a plain file" in refusal(tmp_path / "pipe.mid", overwrite=True)
    assert "name too long" in refusal(tmp_path / f"{'x' * 251}.mid")
    assert "cannot be written" in refusal(tmp_path / "/proc/song.mid")
    (tmp_path / "file").touch()
    assert "no such folder" in refusal(tmp_path / "file" / "song.mid")


def test_a_file_that_can_be_written_is_not_there_after_the_check(tmp_path):
    check_outputs([tmp_path / "song.mid", tmp_path / "SONG.PNG"], (".mid", ".png"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_only_replaced_when_asked_for(tmp_path):
    (tmp_path / "song.mid").write_text("mine")
    assert "--overwrite" in refusal(tmp_path / "song.mid")
    check_outputs([tmp_path / "song.mid"], overwrite=True)
    assert (tmp_path / "song.mid").read_text() == "mine"


def test_a_link_stands_for_the_file_it_leads_to(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.mid").symlink_to("real/song.mid")
    check_outputs([tmp_path / "link.mid"])
    publish(tmp_path / "link.mid", lambda file: file.write(b"new"))
    assert (tmp_path / "real" / "song.mid").read_bytes() == b"new"
    assert (tmp_path / "link.mid").is_symlink()
    assert "--overwrite" in refusal(tmp_path / "link.mid")
    (tmp_path / "lost.mid").symlink_to("none/song.mid")
    assert "no such folder" in refusal(tmp_path / "lost.mid")


def test_a_file_that_fails_keeps_no_other_from_being_written(tmp_path):
    def full(path):
        raise OSError(28, "No space left on device")

    def write_three():
        with Outputs() as outputs:
            assert not outputs.write(tmp_path / "a", full)
            assert not outputs.write(tmp_path / "none" / "b", lambda path: path.write_text("b"))
            assert outputs.write(tmp_path / "c", lambda path: path.write_text("c"))

    with pytest.raises(LakhxlError) as caught:
        write_three()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    a, b = str(caught.value).split("; ")
    assert a == f"{tmp_path / 'a'} was not written: No space left on device"
    assert b.startswith(f"{tmp_path / 'none' / 'b'} was not written: ")


def test_a_full_disk_names_the_file_that_was_asked_for(tmp_path):
    def fail(file):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="song") as caught:
        publish(tmp_path / "song.mid", fail)
    assert caught.value.filename == str(tmp_path / "song.mid")
