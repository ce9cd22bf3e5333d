"""Save generated songs as files; the suffix chooses MIDI, a piano roll or sound."""

from collections.abc import Callable, Iterable
from pathlib import Path

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.render.audio import write_wav
from shards.render.midi import write_midi
from shards.render.pianoroll import save_piano_roll
from shards.song import Song
from shards.vocabulary import Vocabulary


def _write_png(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    save_piano_roll(song, vocabulary, path, title=path.stem)


def _write_wav(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    write_wav(song, path, vocabulary, None)


WRITERS: dict[str, Callable[[Song, Path, Vocabulary], None]] = {
    ".mid": write_midi,
    ".png": _write_png,
    ".wav": _write_wav,
}


def check(paths: Iterable[Path]) -> None:
    """Refuse a file that could not be written, before anything is generated.

    Raises:
        LakhxlError: its folder does not exist, or its suffix is unknown.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise LakhxlError(f"{path.parent}: no such folder to write {path.name} to")
        if path.suffix.lower() not in WRITERS:
            raise LakhxlError(f"{path}: expected a name that ends in {', '.join(WRITERS)}")


def save(song: EncodedSong, path: Path, codec: Codec) -> str:
    """Write a song to a file; returns one line that sums up the song."""
    decoded = codec.decode(song)
    WRITERS[path.suffix.lower()](decoded, path, codec.vocabulary)
    instruments = len(set(decoded.notes["instrument"].tolist()))
    return (
        f"{path}: {len(decoded.notes):,} notes, {int(song.bars[-1]) + 1} bars, "
        f"{float(decoded.seconds(decoded.end)):.0f} s, {instruments} instruments"
    )
