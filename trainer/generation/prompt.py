"""The beginning of a song, to be continued; it may come from a MIDI file.

Only the pipeline reads MIDI, and the trainer does not import the pipeline. `encode_midi` therefore
runs `pipeline encode` in a subprocess.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.bars import Bars
from shards.codec import MAX_BARS, Codec, EncodedSong
from shards.errors import LakhxlError, SettingError
from shards.layout import ARRAYS, MANIFEST, VOCABULARY
from shards.python_process import child_environment
from shards.text import visible
from shards.vocabulary import Kind, Vocabulary
from shards.writer import write_json
from trainer.generation.writer import rows_of, song_of


@dataclass(frozen=True)
class Prompt:
    """The beginning of a song, to be continued.

    Attributes:
        song: the beginning, as a complete song.
        bars: how many bars it has; the first new note starts in the next bar.
        end: the step at which that next bar begins.
        seconds: from the song's start to `end`.
    """

    song: EncodedSong
    bars: int
    end: int
    seconds: float

    @classmethod
    def from_song(cls, song: EncodedSong, codec: Codec, bars: int | None = None) -> "Prompt":
        """Take the first bars of a song; None, or more than it has: all, up to its last onset.

        Raises:
            SettingError: they hold no note.
        """
        bars = min(int(song.bars[-1]) + 1, MAX_BARS if bars is None else bars)
        beginning = first_bars(song, bars, codec.vocabulary)
        if beginning is None:
            raise SettingError(f"the first {bars} bars of the prompt hold no note")
        decoded = codec.decode(beginning)
        end = int(Bars(decoded.meters, codec.vocabulary.bar_steps).first_steps(np.array([bars]))[0])
        return cls(beginning, bars, end, float(decoded.seconds(end)))


def first_bars(song: EncodedSong, bars: int, vocabulary: Vocabulary) -> EncodedSong | None:
    """The first bars up to their last complete note, then <eos>; None if they hold no note."""
    tokens = int(np.searchsorted(song.bars[:-1], bars))
    kind = vocabulary.kind(song.tokens[:tokens])
    ends = np.flatnonzero((kind >= Kind.PITCH) & (kind <= Kind.DURATION))
    if not len(ends):
        return None
    return song_of(rows_of(song)[: int(ends[-1]) + 1], vocabulary)


def encode_midi(
    path: Path, vocabulary: Vocabulary, dataset_settings: dict[str, Any] | None
) -> EncodedSong:
    """Encode a MIDI file as the pipeline encoded the songs of a dataset.

    Args:
        path: the file; a link to it is followed.
        vocabulary: of the dataset.
        dataset_settings: of the pipeline, as in the dataset's manifest; None: its defaults.

    Raises:
        LakhxlError: the pipeline cannot read the file; the message is the pipeline's.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_json(folder / VOCABULARY, vocabulary.to_json())
        write_json(folder / MANIFEST, {"settings": dataset_settings or {}})
        file, arrays_file = path.absolute(), folder / "prompt.npz"
        command = [sys.executable, "-P", "-m", "pipeline", "encode", str(file)]
        command += ["--vocabulary", str(folder / VOCABULARY), "--settings", str(folder / MANIFEST)]
        done = subprocess.run(
            [*command, "-o", str(arrays_file)],
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | child_environment(),
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            reason = lines[-1].removeprefix("Error: ").removeprefix(f"{visible(file)}: ")
            raise LakhxlError(f"--prompt {path}: {reason}")
        with np.load(arrays_file, allow_pickle=False) as arrays:
            return EncodedSong(**{name: arrays[name] for name in ARRAYS})
