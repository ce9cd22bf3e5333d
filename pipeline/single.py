"""One MIDI file by itself, encoded as a run would, for a prompt or a look."""

from pathlib import Path

from pipeline.clean.quantize import quantize
from pipeline.clean.silence import remove_silence
from pipeline.config import DataSettings
from pipeline.midi import UnreadableMidi
from pipeline.running.slice_task import FileProcessor
from pipeline.sources.listing import read_bytes
from pipeline.sources.members import Refused
from shards.codec import EncodedSong
from shards.errors import LakhxlError
from shards.vocabulary import Vocabulary


def encode_file(path: Path, vocabulary: Vocabulary) -> EncodedSong:
    """Read, quantize and encode one file; no rule judges it.

    Raises:
        LakhxlError: the file cannot be opened or read, or has no notes.
    """
    settings = DataSettings(codec=vocabulary.settings)
    processor = FileProcessor(settings)
    try:
        recording = processor.read(read_bytes(str(path), settings.ingest.max_file_size))
    except (Refused, UnreadableMidi) as error:
        raise LakhxlError(f"{path}: {error}") from error
    song = quantize(recording, vocabulary).song
    if not len(song.notes):
        raise LakhxlError(f"{path}: holds no notes that the vocabulary can say")
    song, _ = remove_silence(song, vocabulary.bar_steps, settings.silence)
    return processor.codec.encode(song)
