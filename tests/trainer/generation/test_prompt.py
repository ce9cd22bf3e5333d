import subprocess
from pathlib import Path

import numpy as np
import pytest

from shards.codec import Codec
from shards.errors import LakhxlError
from shards.render.midi import write_midi
from shards.writer import write_json
from trainer.generation.prompt import encode_midi


@pytest.fixture
def vocabulary_file(tmp_path, vocabulary):
    write_json(tmp_path / "vocabulary.json", vocabulary.to_json())
    return tmp_path / "vocabulary.json"


def test_a_song_comes_back_from_its_midi_file(tmp_path, vocabulary, vocabulary_file, twin):
    song = Codec(vocabulary).decode(twin.songs[0])
    write_midi(song, tmp_path / "song.mid", vocabulary)
    encoded = encode_midi(tmp_path / "song.mid", vocabulary_file)
    assert np.array_equal(encoded.tokens, twin.songs[0].tokens)
    assert np.array_equal(encoded.instruments, twin.songs[0].instruments)


def test_the_reason_why_a_prompt_cannot_be_read_is_passed_on(tmp_path, vocabulary_file):
    (tmp_path / "page.mid").write_text("<html>")
    with pytest.raises(LakhxlError) as caught:
        encode_midi(tmp_path / "page.mid", vocabulary_file)
    assert str(caught.value).startswith(f"--prompt {tmp_path / 'page.mid'}: ")
    assert "Error:" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_last_line_of_the_pipeline_is_the_reason(tmp_path, vocabulary_file, monkeypatch):
    answer = subprocess.CompletedProcess([], 1, "", "a warning\nError: x.mid: holds no notes\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: answer)
    with pytest.raises(LakhxlError, match=r"^--prompt x\.mid: holds no notes$"):
        encode_midi(Path("x.mid"), vocabulary_file)
