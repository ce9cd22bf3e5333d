"""A .mid file as the beginning of a song, by way of the pipeline's own command.

The trainer does not import the pipeline: reading MIDI is the pipeline's business, and this is
the one place where the trainer needs a file read.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from shards.codec import EncodedSong
from shards.errors import LakhxlError
from shards.layout import ARRAYS


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
