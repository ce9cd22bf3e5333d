"""The real files that benchmarks measure."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.midi import Recording, UnreadableMidi, read_midi
from pipeline.sources.members import is_midi


def midi_files(corpus: Path) -> list[Path]:
    """Every MIDI file, as a run would find them."""
    return sorted(path for path in corpus.rglob("*") if is_midi(path.name))


def recordings(corpus: Path) -> Iterator[Recording]:
    """Every readable file with notes."""
    for path in midi_files(corpus):
        try:
            recording = read_midi(path.read_bytes())
        except UnreadableMidi:
            continue
        if len(recording.notes):
            yield recording
