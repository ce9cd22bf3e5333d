"""Play a song to a .wav file with FluidSynth and a soundfont.

FluidSynth needs the `audio` extra and a system library; nothing else needs them.

Conventions
    frame   one sample of both channels; RATE of them per second
"""

import contextlib
import io
import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mido
import numpy as np

from shards.errors import LakhxlError
from shards.render.midi import DRUM_CHANNEL, to_midi
from shards.song import Song
from shards.vocabulary import Vocabulary
from shards.writer import publish

RATE = 44_100
TAIL_SECONDS = 2.0
"""Recorded after the last message, while notes still ring."""
LEVEL = 0.9
"""The loudest sample of the result, as a share of full scale."""
SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/soundfonts/default.sf2",
)
"""Files of Debian's fluid-soundfont-gm and timgm6mb-soundfont, and other systems' defaults."""
DRUM_BANK = 128


class AudioError(LakhxlError):
    """Something that is needed for sound is not installed."""


def write_wav(song: Song, path: Path, vocabulary: Vocabulary, soundfont: Path | None) -> None:
    """Write a song as a 16-bit stereo .wav file, all or nothing.

    Args:
        song: canonical.
        path: replaced if it exists.
        vocabulary: names the instruments.
        soundfont: an .sf2 or .sf3 file; None: the first of SOUNDFONTS that exists.

    Raises:
        AudioError: pyfluidsynth, its library or a soundfont is missing or cannot be read; says how
            to get it.
    """
    sound = wav_bytes(to_midi(song, vocabulary), find_soundfont(soundfont))
    publish(path, lambda file: file.write(sound))


def wav_bytes(midi: mido.MidiFile, soundfont: Path) -> bytes:
    """A .wav file of what `play` returns; it raises the same."""
    frames, stream = play(midi, soundfont), io.BytesIO()
    with wave.open(stream, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(frames.astype("<i2").tobytes())
    return stream.getvalue()


def find_soundfont(given: Path | None) -> Path:
    """The given soundfont, or the first of SOUNDFONTS that exists."""
    if given is not None:
        if not given.is_file():
            raise AudioError(f"{given}: no such soundfont; expected an .sf2 or .sf3 file")
        return given
    found = next((Path(file) for file in SOUNDFONTS if Path(file).is_file()), None)
    if found is None:
        raise AudioError(
            "no soundfont found; install one (`apt install fluid-soundfont-gm` or "
            "`timgm6mb-soundfont`), or name an .sf2 file with --soundfont"
        )
    return found


def usable_soundfont(given: Path | None) -> Path | None:
    """The given soundfont; without one, the first that can be played here, or None.

    Raises:
        AudioError: the given one cannot be played, see `write_wav`.
    """
    try:
        soundfont = find_soundfont(given)
        check_sound(soundfont)
    except AudioError:
        if given is not None:
            raise
        return None
    return soundfont


def _fluidsynth() -> ModuleType:
    try:
        import fluidsynth
    except ModuleNotFoundError as error:
        raise AudioError(
            "sound needs pyfluidsynth, which the audio extra brings: `pip install pyfluidsynth`"
        ) from error
    except (ImportError, OSError) as error:  # the package is there, the system's library is not
        raise AudioError(
            "sound needs the FluidSynth library: `apt install libfluidsynth3`"
        ) from error
    return fluidsynth


def check_sound(soundfont: Path | None) -> None:
    """Refuse what `write_wav` would refuse, before there is a song.

    Raises:
        AudioError: see `write_wav`.
    """
    with _synth(find_soundfont(soundfont)):
        pass


@contextlib.contextmanager
def _synth(soundfont: Path) -> Iterator[Any]:
    """A synthesizer with a soundfont loaded."""
    fluidsynth = _fluidsynth()
    with _quiet_library():
        synth = fluidsynth.Synth(samplerate=float(RATE), gain=0.5)
        try:
            if synth.sfload(str(soundfont)) == -1:
                raise AudioError(f"{soundfont} is not a soundfont that FluidSynth can read")
            yield synth
        finally:
            synth.delete()


def play(midi: mido.MidiFile, soundfont: Path) -> np.ndarray:
    """Play a MIDI file; returns its frames, shape (frames, 2), int16, RATE per second.

    Raises:
        AudioError: the soundfont cannot be read, or see `write_wav`.
    """
    with _synth(soundfont) as synth:
        sound = np.concatenate(list(_sound(synth, midi)))
    loudest = max(int(sound.max()), -int(sound.min()), 1)
    scaled = sound * np.float32(LEVEL * np.iinfo(np.int16).max / loudest)  # float64 takes twice
    return scaled.astype(np.int16).reshape(-1, 2)


def _sound(synth: Any, midi: mido.MidiFile) -> Iterator[np.ndarray]:
    """Samples between one message and the next, channels interleaved."""
    synth.bank_select(DRUM_CHANNEL, DRUM_BANK)
    synth.program_change(DRUM_CHANNEL, 0)
    due, done = 0.0, 0
    for message in midi:  # mido gives the seconds since the message before
        due += message.time * RATE
        if frames := round(due) - done:
            yield synth.get_samples(frames)
            done += frames
        _send(synth, message)
    yield synth.get_samples(round(TAIL_SECONDS * RATE))


def _send(synth: Any, message: Any) -> None:
    if message.type == "note_on" and message.velocity:
        synth.noteon(message.channel, message.note, message.velocity)
    elif message.type in ("note_on", "note_off"):
        synth.noteoff(message.channel, message.note)
    elif message.type == "program_change":
        synth.program_change(message.channel, message.program)
    elif message.type == "control_change":
        synth.cc(message.channel, message.control, message.value)
    elif message.type == "pitchwheel":
        synth.pitch_bend(message.channel, message.pitch)


@contextlib.contextmanager
def _quiet_library() -> Iterator[None]:
    """Discard the warnings that FluidSynth's library prints to file descriptor 2."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device, not a path of ours)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
