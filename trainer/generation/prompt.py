"""A .mid file as the beginning of a song, by way of the pipeline's own command.

The trainer does not import the pipeline: reading MIDI is the pipeline's business, and this is
the one place where the trainer needs a file read.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.bars import Bars
from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError, SettingError
from shards.layout import ARRAYS
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY


@dataclass(frozen=True)
class Prompt:
    """A song's beginning, to go on from.

    Attributes:
        song: the beginning as a song of its own.
        bars: of it; what is new begins in the bar after them.
        end: the step at which that bar begins.
        seconds: from the start to there.
    """

    song: EncodedSong
    bars: int
    end: int
    seconds: float

    @classmethod
    def of(cls, song: EncodedSong, codec: Codec, bars: int | None = None) -> "Prompt":
        """The first bars of a song; without a number all of them.

        Raises:
            SettingError: there is no note in them.
        """
        bars = int(song.bars[-1]) + 1 if bars is None else bars
        begun = _cut(song, int(np.searchsorted(song.bars[:-1], bars)), codec.vocabulary.eos)
        if begun is None:
            raise SettingError(f"the first {bars} bars of the prompt hold no note")
        decoded = codec.decode(begun)
        lines = Bars(decoded.meters, codec.vocabulary.bar_steps)
        end = int(lines.line(np.array([bars]))[0])
        return cls(begun, bars, end, float(decoded.seconds(end)))


def _cut(song: EncodedSong, tokens: int, eos: int) -> EncodedSong | None:
    """Of the first tokens those up to the end of their last whole note, ended; None: no note."""
    pitches = np.flatnonzero(song.velocities[: max(tokens - 1, 0)] != NO_VELOCITY)
    if not len(pitches):
        return None
    last = int(pitches[-1]) + 1  # its duration
    ending = {"tokens": eos, "instruments": NO_INSTRUMENT, "velocities": NO_VELOCITY}
    ending |= {"bars": song.bars[last], "steps": song.steps[last]}
    return EncodedSong(
        **{
            name: np.append(array[: last + 1], np.array(ending[name], array.dtype))
            for name, array in vars(song).items()
        }
    )


def encode_midi(path: Path, vocabulary_file: Path) -> EncodedSong:
    """Encode a MIDI file with a run's vocabulary.

    Raises:
        LakhxlError: the pipeline cannot read the file; its reason is passed on.
    """
    with tempfile.TemporaryDirectory() as folder:
        arrays_file = Path(folder) / "prompt.npz"
        command = [sys.executable, "-m", "pipeline", "encode", str(path)]
        command += ["--vocabulary", str(vocabulary_file), "-o", str(arrays_file)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            reason = lines[-1].removeprefix("Error: ").removeprefix(f"{path}: ")
            raise LakhxlError(f"--prompt {path}: {reason}")
        with np.load(arrays_file, allow_pickle=False) as arrays:
            return EncodedSong(**{name: arrays[name] for name in ARRAYS})
