import subprocess
from pathlib import Path

import numpy as np
import pytest

from shards.codec import Codec
from shards.errors import LakhxlError
from shards.render.midi import write_midi
from trainer.generation.prompt import encode_midi


def test_a_song_comes_back_from_its_midi_file(tmp_path, vocabulary, twin):
    song = Codec(vocabulary).decode(twin.songs[0])
    write_midi(song, tmp_path / "song.mid", vocabulary)
    (tmp_path / "link.mid").symlink_to("song.mid")
    for name in ("song.mid", "link.mid"):
        encoded = encode_midi(tmp_path / name, vocabulary, None)
        assert np.array_equal(encoded.tokens, twin.songs[0].tokens)
        assert np.array_equal(encoded.instruments, twin.songs[0].instruments)


def test_a_prompt_is_encoded_with_the_settings_of_the_dataset(tmp_path, vocabulary, twin):
    song, bars = Codec(vocabulary).decode(twin.songs[0]), {}
    song.notes["start"][-1] = 12 * 96  # after nine empty bars
    write_midi(song, tmp_path / "a.mid", vocabulary)
    for silence in (0, 2):
        settings = {
            "silence": {"max_silence": silence, "max_silence_seconds": 0, "max_strays": 0},
            "codec": {"steps_per_beat": 24},
        }
        bars[silence] = encode_midi(tmp_path / "a.mid", vocabulary, settings).bars[-1]
    assert bars == {0: 3, 2: 5}
    with pytest.raises(LakhxlError, match="unknown setting 'sustian'; did you mean sustain"):
        encode_midi(tmp_path / "a.mid", vocabulary, {"ingest": {"sustian": "extend"}})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("page.mid", "no MThd"),
        ("folder", "a folder; name one MIDI file"),
        ("empty.mid", "the file is empty"),
    ],
)
def test_the_reason_why_a_prompt_cannot_be_read_is_passed_on(
    tmp_path, monkeypatch, vocabulary, name, reason
):
    (tmp_path / "page.mid").write_text("<html>")
    (tmp_path / "empty.mid").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LakhxlError) as caught:
        encode_midi(Path(name), vocabulary, None)
    assert str(caught.value).startswith(f"--prompt {name}: {reason}")
    assert "Error:" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_last_line_of_the_pipeline_is_the_reason(vocabulary, monkeypatch):
    file = Path("x.mid").absolute()
    answer = subprocess.CompletedProcess([], 1, "", f"a warning\nError: {file}: no notes\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: answer)
    with pytest.raises(LakhxlError, match=r"^--prompt x\.mid: no notes$"):
        encode_midi(Path("x.mid"), vocabulary, None)
