"""Write a song to a file whose suffix chooses MIDI, a picture of the piano roll, or sound."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from shards.bars import Bars
from shards.outputs import check_outputs
from shards.render.audio import check_sound, write_wav
from shards.render.midi import write_midi
from shards.render.pianoroll import save_piano_roll
from shards.song import Song
from shards.text import counted
from shards.vocabulary import PROGRAMS, Vocabulary

SUFFIXES = (".mid", ".midi", ".png", ".wav")


def check_song_files(paths: Iterable[Path], *, soundfont: Path | None, overwrite: bool) -> None:
    """Refuse, before any work, files that `write_song` could not write.

    Raises:
        LakhxlError: see `shards.outputs.check_outputs`; or a .wav is asked for, and FluidSynth or
            a soundfont is missing.
    """
    paths = [*paths]
    check_outputs(paths, SUFFIXES, overwrite=overwrite)
    if any(path.suffix.lower() == ".wav" for path in paths):
        check_sound(soundfont)


def write_song(
    song: Song, path: Path, vocabulary: Vocabulary, *, title: str, soundfont: Path | None
) -> None:
    """Write a song, all or nothing.

    Args:
        song: canonical, at least one note.
        path: ends in one of SUFFIXES; replaced if it exists.
        vocabulary: names the instruments.
        title: of a picture.
        soundfont: for a .wav, see `shards.render.audio.write_wav`.
    """
    suffix = path.suffix.lower()
    if suffix == ".wav":
        write_wav(song, path, vocabulary, soundfont)
    elif suffix == ".png":
        save_piano_roll(song, vocabulary, path, title=title)
    else:
        write_midi(song, path, vocabulary)


def summary(song: Song, vocabulary: Vocabulary) -> str:
    """Notes, bars up to the last onset, seconds, and programs plus one for the drums, in words."""
    bars, _ = Bars(song.meters, vocabulary.bar_steps).locate(song.notes["start"][-1:])
    instruments = len(np.unique(np.minimum(song.notes["instrument"], PROGRAMS)))
    return (
        f"{counted(len(song.notes), 'note')}, {counted(int(bars[0]) + 1, 'bar')}, "
        f"{float(song.seconds(song.end)):.1f} s, {counted(instruments, 'instrument')}"
    )
