"""Song -> .wav through a real soundfont, so that a person hears what the tokens kept.

FluidSynth plays the .mid that `shards.render` writes. It comes with the `audio` extra and a
library of the system's; neither is needed for anything else.

Conventions
    frame   one sample of both channels; RATE of them a second
"""

import contextlib
import io
import os
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import mido
import numpy as np

from shards.errors import LakhxlError
from shards.render.midi import to_midi
from shards.song import Song
from shards.vocabulary import Vocabulary
from shards.writer import publish

RATE = 44_100
TAIL_SECONDS = 2.0
"""After the last note, for what still rings."""
LEVEL = 0.9
"""The loudest sample of the result, of full scale."""
SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
    "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/soundfonts/default.sf2",
)
"""Where Debian's fluid-soundfont-gm and timgm6mb-soundfont lie, and others' defaults."""
DRUM_CHANNEL, DRUM_BANK = 9, 128


class AudioError(LakhxlError):
    """Something that sound needs is not installed."""


def write_wav(song: Song, path: Path, vocabulary: Vocabulary, soundfont: Path | None) -> None:
    """Write a song as a .wav file: 16 bits, stereo, all or nothing.

    Args:
        song: canonical.
        path: where; replaced if it exists.
        vocabulary: names the instruments.
        soundfont: an .sf2 or .sf3 file; None looks in the usual places.

    Raises:
        AudioError: pyfluidsynth, its library, or a soundfont is missing; says how to get it.
    """
    frames = play(to_midi(song, vocabulary), find_soundfont(soundfont))
    publish(path, lambda file: _write_frames(file, frames))


def find_soundfont(given: Path | None) -> Path:
    """The soundfont that was given, or the first in the usual places."""
    if given is not None:
        if not given.is_file():
            raise AudioError(f"{given}: no such soundfont; expected an .sf2 or .sf3 file")
        return given
    found = next((Path(place) for place in SOUNDFONTS if Path(place).is_file()), None)
    if found is None:
        raise AudioError(
            "no soundfont found; install one (`apt install fluid-soundfont-gm` or "
            "`timgm6mb-soundfont`), or name an .sf2 file with --soundfont"
        )
    return found


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


def play(midi: mido.MidiFile, soundfont: Path) -> np.ndarray:
    """The sound of a MIDI file.

    Returns:
        shape (frames, 2), int16, at RATE.

    Raises:
        AudioError: the soundfont cannot be read, or see `write_wav`.
    """
    fluidsynth = _fluidsynth()
    with _quiet_library():
        synth = fluidsynth.Synth(samplerate=float(RATE), gain=0.5)
        try:
            if synth.sfload(str(soundfont)) == -1:
                raise AudioError(f"{soundfont} is no soundfont that FluidSynth can read")
            sound = np.concatenate(list(_sound(synth, midi)))
        finally:
            synth.delete()
    loudest = max(int(np.abs(sound.astype(np.int32)).max()), 1)
    scaled = sound * (LEVEL * np.iinfo(np.int16).max / loudest)
    return scaled.astype(np.int16).reshape(-1, 2)


def _sound(synth: object, midi: mido.MidiFile) -> Iterator[np.ndarray]:
    """Samples between one message and the next, both channels in turn."""
    synth.bank_select(DRUM_CHANNEL, DRUM_BANK)
    synth.program_change(DRUM_CHANNEL, 0)
    due, done = 0.0, 0
    for message in midi:  # mido gives seconds from one to the next, by the tempos
        due += message.time * RATE
        if frames := round(due) - done:
            yield synth.get_samples(frames)
            done += frames
        _send(synth, message)
    yield synth.get_samples(round(TAIL_SECONDS * RATE))


def _send(synth: object, message: mido.Message) -> None:
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
    """FluidSynth's library prints warnings of its own to the terminal; not in here."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 (a device, not a path of ours)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _write_frames(file: io.BufferedIOBase, frames: np.ndarray) -> None:
    with wave.open(file, "wb") as wav:
        wav.setnchannels(2)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(frames.astype("<i2").tobytes())
