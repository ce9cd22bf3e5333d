"""A song as sound: right length and pitch, and a clear error where something is missing."""

import sys
import wave

import numpy as np
import pytest

from shards.render import audio
from shards.render.audio import RATE, SOUNDFONTS, AudioError, find_soundfont, play, write_wav
from shards.render.midi import to_midi
from shards.vocabulary import Vocabulary
from tests.shards.render.sound import needs_audio
from tests.shards.songs import make_song

VOCABULARY = Vocabulary()


def sound_of(notes):
    return play(to_midi(make_song(notes), VOCABULARY), find_soundfont(None))


def loudness(frames, seconds, length=0.2):
    cut = frames[int(seconds * RATE) : int((seconds + length) * RATE)].astype(np.float64)
    return np.sqrt((cut**2).mean())


@needs_audio
def test_notes_sound_at_their_time():
    frames = sound_of([(0, 12, 73, 69, 100), (192, 12, 73, 69, 100)])  # a flute, twice, 4 s apart
    assert len(frames) == pytest.approx((204 / 48 + audio.TAIL_SECONDS) * RATE, abs=2)
    assert loudness(frames, 0.1) > 20 * loudness(frames, 3.5)
    assert loudness(frames, 4.1) > 20 * loudness(frames, 3.5)


@needs_audio
@pytest.mark.parametrize("pitch", [57, 69, 81])
def test_a_note_has_its_pitch(pitch):
    frames = sound_of([(0, 96, 73, pitch, 100)])
    second = frames[RATE // 4 : RATE // 4 + RATE, 0] * np.hanning(RATE)
    spectrum = np.abs(np.fft.rfft(second))
    expected = 440 * 2 ** ((pitch - 69) / 12)
    peaks = np.flatnonzero(spectrum > 0.3 * spectrum.max())
    assert any(abs(peak - expected) < 0.02 * expected for peak in peaks)  # one bin is 1 Hz


@needs_audio
def test_drums_are_drums():
    snare, flute = (sound_of([(0, 24, instrument, 38, 100)]) for instrument in (131, 73))
    assert loudness(snare, 0.0) > 2 * loudness(snare, 0.8)
    assert loudness(flute, 0.5) > 0.5 * loudness(flute, 0.2)


@needs_audio
def test_a_wav_is_stereo_and_not_cut_off(tmp_path):
    write_wav(make_song([(0, 12, 0, 60, 127)]), tmp_path / "song.wav", VOCABULARY, None)
    with wave.open(str(tmp_path / "song.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert 0.85 * 32767 < np.abs(samples.astype(int)).max() < 32767


@needs_audio
def test_a_file_that_is_not_a_soundfont_is_named(tmp_path):
    (tmp_path / "font.sf2").write_bytes(b"no")
    with pytest.raises(AudioError, match=r"font\.sf2 is not a soundfont"):
        play(to_midi(make_song([(0, 12, 0, 60, 127)]), VOCABULARY), tmp_path / "font.sf2")


def test_without_a_soundfont_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "SOUNDFONTS", (str(tmp_path / "none.sf2"),))
    with pytest.raises(AudioError, match="apt install fluid-soundfont-gm"):
        find_soundfont(None)
    with pytest.raises(AudioError, match="no such soundfont"):
        find_soundfont(tmp_path / "mine.sf2")
    assert all("sf2" in file for file in SOUNDFONTS)


def test_without_pyfluidsynth_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(AudioError, match="pip install pyfluidsynth"):
        audio._fluidsynth()
