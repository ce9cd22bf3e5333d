from pathlib import Path

import pytest

from shards.errors import LakhxlError
from trainer.generation import export


def test_the_suffix_chooses_the_kind_of_file(tmp_path, twin, monkeypatch):
    monkeypatch.setattr(export, "write_wav", lambda song, path, *_: path.write_bytes(b"RIFF"))
    begins = {".mid": b"MThd", ".png": b"\x89PNG", ".wav": b"RIFF"}
    for suffix in export.WRITERS:
        path = tmp_path / f"song{suffix}"
        line = export.save(twin.songs[0], path, twin.codec)
        assert line.startswith(f"{path}: 40 notes, ")
        assert path.read_bytes().startswith(begins[suffix])


def test_an_unknown_suffix_is_refused():
    with pytest.raises(LakhxlError, match=r"expected a name that ends in \.mid, "):
        export.check([Path("song.mid"), Path("song.mp3")])
