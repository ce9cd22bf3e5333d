from pathlib import Path

import pytest

from shards.errors import LakhxlError
from trainer.generation import export as samples


def test_each_suffix_has_its_kind_of_file(tmp_path, twin, monkeypatch):
    monkeypatch.setattr(samples, "write_wav", lambda song, path, *_: path.write_bytes(b"RIFF"))
    begins = {".mid": b"MThd", ".png": b"\x89PNG", ".wav": b"RIFF"}
    for suffix in samples.WRITERS:
        path = tmp_path / f"song{suffix}"
        line = samples.save(twin.songs[0], path, twin.codec)
        assert line.startswith(f"{path}: 40 notes, ")
        assert path.read_bytes().startswith(begins[suffix])


def test_another_suffix_is_refused_before_anything_is_written():
    with pytest.raises(LakhxlError, match=r"expected a name that ends in \.mid, "):
        samples.check([Path("song.mid"), Path("song.mp3")])
