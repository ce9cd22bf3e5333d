"""The demo corpus as a folder, complete or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.demo.faults import Planted, Song, plant
from shards.console import progress_bar
from shards.errors import LakhxlError
from shards.settings import Settings, setting

README_NAME = "README.txt"
README = """\
Songs composed by a program, free of anybody's rights, for trying out the pipeline.
The folder unsorted/ holds damaged and duplicate files on purpose.
"""


@dataclass(frozen=True, kw_only=True)
class DemoSettings(Settings):
    """The contents of the demo corpus; equal settings give equal bytes on every machine."""

    songs: int = setting(
        300, "Songs to compose, in addition to the faulty files.", low=1, high=100_000
    )
    seed: int = setting(0, "Seed of the composer; another seed gives another corpus.", low=0)


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What was written."""

    folder: Path
    songs: int
    """Healthy songs under ordinary names."""
    planted: tuple[Planted, ...]
    """Every other file, the README.txt included."""
    minutes: float
    """Playing time of the healthy songs."""


def compose_corpus(folder: Path, settings: DemoSettings) -> DemoSummary:
    """Compose songs and faulty files in a new folder.

    The folder appears under its name only once it is complete; until then it is `NAME.partial`,
    which a failure or Ctrl-C removes and the next run replaces.

    Args:
        folder: must not exist, or be empty.
        settings: how many songs, and which.

    Raises:
        LakhxlError: the folder holds something, or cannot be written.
    """
    target = folder.resolve()
    partial = target.parent / f"{target.name}.partial"
    try:
        _claim(folder, target, partial)
        try:
            summary = _write(partial, target, settings)
            if target.exists():
                target.rmdir()
            partial.rename(target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise LakhxlError(
            f"{error.filename or folder}: {error.strerror}; "
            f"the demo corpus was not written: name another folder, or make room"
        ) from error
    return summary


def is_demo(folder: Path) -> bool:
    """Whether this module wrote a folder, complete or not, which may then be replaced."""
    readme = folder / README_NAME
    return readme.is_file() and readme.read_bytes() == README.encode()


def _claim(folder: Path, target: Path, partial: Path) -> None:
    """Make the partial folder; only a leftover of this module is removed."""
    if target.exists() and not target.is_dir():
        raise LakhxlError(f"{folder} is a file; the demo corpus needs a new folder: name another")
    if target.exists() and any(target.iterdir()):
        raise LakhxlError(
            f"{folder} is not empty; the demo corpus needs a new or empty folder: name another"
        )
    if partial.exists():
        if not is_demo(partial):
            raise LakhxlError(f"{partial} is in the way, and no demo corpus: move it or remove it")
        shutil.rmtree(partial)
    partial.mkdir(parents=True)


def _write(partial: Path, target: Path, settings: DemoSettings) -> DemoSummary:
    planted = [Planted(README_NAME, "readme")]
    # Written first, because the next run recognizes the leftover of a killed one by it.
    _put(partial / README_NAME, README.encode())
    seconds, songs = 0.0, range(settings.songs)
    for number in progress_bar(iterable=songs, desc="composing", unit="song", disable=None):
        song = Song(settings.seed, number)
        _put(partial / song.path, song.data)
        seconds += song.piece.seconds
    for entry, data in plant(settings.seed, settings.songs):
        _put(partial / entry.path, data)
        planted.append(entry)
    return DemoSummary(
        folder=target,
        songs=settings.songs,
        planted=tuple(planted),
        minutes=seconds / 60,
    )


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
