"""What has been generated, as files: the suffix says whether to play, to see or to hear it."""

from collections.abc import Callable, Iterable
from pathlib import Path

from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.render.audio import write_wav
from shards.render.midi import write_midi
from shards.render.pianoroll import save_piano_roll
from shards.song import Song
from shards.vocabulary import Vocabulary


def _image(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    save_piano_roll(song, vocabulary, path, title=path.stem)


def _sound(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    write_wav(song, path, vocabulary, None)


WRITERS: dict[str, Callable[[Song, Path, Vocabulary], None]] = {
    ".mid": write_midi,
    ".png": _image,
    ".wav": _sound,
}


def check(outs: Iterable[Path]) -> None:
    """Refuse, before anything is generated, a file that could not be written.

    Raises:
        LakhxlError: its folder does not exist, or its suffix is unknown.
    """
    for out in outs:
        if not out.parent.is_dir():
            raise LakhxlError(f"{out.parent}: no such folder to write {out.name} to")
        if out.suffix.lower() not in WRITERS:
            raise LakhxlError(f"{out}: expected a name that ends in {', '.join(WRITERS)}")


def save(song: EncodedSong, path: Path, codec: Codec) -> str:
    """Write a song to a file; returns a line that says what is in it."""
    decoded = codec.decode(song)
    WRITERS[path.suffix.lower()](decoded, path, codec.vocabulary)
    players = len(set(decoded.notes["instrument"].tolist()))
    return (
        f"{path}: {len(decoded.notes):,} notes, {int(song.bars[-1]) + 1} bars, "
        f"{float(decoded.seconds(decoded.end)):.0f} s, {players} instruments"
    )
