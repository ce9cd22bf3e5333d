import pytest

from shards.errors import LakhxlError
from shards.render import audio, song_file
from shards.render.song_file import SUFFIXES, check_song_files, summary, write_song
from shards.vocabulary import Vocabulary
from tests.shards.songs import make_song

VOCABULARY = Vocabulary()
SONG = make_song([(0, 12, 0, 60, 100), (0, 12, 131, 38, 100), (12, 12, 128, 35, 90)])


def test_the_suffix_chooses_the_kind_of_file(tmp_path, monkeypatch):
    monkeypatch.setattr(song_file, "write_wav", lambda song, path, *_: path.write_bytes(b"RIFF"))
    begins = {".mid": b"MThd", ".midi": b"MThd", ".png": b"\x89PNG", ".wav": b"RIFF"}
    for suffix in SUFFIXES:
        path = tmp_path / f"song{suffix}"
        write_song(SONG, path, VOCABULARY, title="song", soundfont=None)
        assert path.read_bytes().startswith(begins[suffix])


def test_drums_are_one_instrument():
    assert summary(SONG, VOCABULARY) == "3 notes, 1 bar, 0.5 s, 2 instruments"


def test_sound_that_cannot_be_made_is_refused_before_there_is_a_song(tmp_path, monkeypatch):
    check = {"soundfont": None, "overwrite": False}
    monkeypatch.setattr(audio, "SOUNDFONTS", ())
    with pytest.raises(LakhxlError, match="no soundfont found"):
        check_song_files([tmp_path / "song.mid", tmp_path / "song.WAV"], **check)
    check_song_files([tmp_path / "song.mid"], **check)
