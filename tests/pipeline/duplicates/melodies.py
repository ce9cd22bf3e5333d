"""Random melodies, and edits that leave their n-grams as they are."""

import numpy as np

from pipeline.duplicates.fingerprint import signature
from pipeline.duplicates.lines import lines
from pipeline.duplicates.ngrams import melodic_ngrams, top_line_ngrams
from pipeline.duplicates.signature import SIGNATURE
from pipeline.midi import NOTE_DTYPE
from shards.song import NOTE, Song, sort_notes
from tests.shards.songs import make_song


def melody(seed: int, notes: int = 400) -> Song:
    random = np.random.default_rng(seed)
    rows = np.zeros(notes, NOTE)
    rows["start"] = np.cumsum(random.choice([3, 6, 12, 24], notes))
    rows["duration"] = random.choice([3, 6, 12], notes)
    rows["pitch"] = random.integers(48, 84, notes)
    rows["instrument"] = random.choice([0, 24, 33, 48], notes)
    rows["velocity"] = 66
    return make_song(sort_notes(rows).tolist())


def edited(song: Song, **changes) -> Song:
    notes = song.notes.copy()
    for field, change in changes.items():
        notes[field] = change(notes[field])
    return make_song(sort_notes(notes).tolist(), song.meters.tolist(), song.tempos.tolist())


def with_drums(song: Song) -> Song:
    drums = [(step, 3, 130, 37, 66) for step in range(0, song.end, 12)]
    notes = np.array([*song.notes.tolist(), *drums], NOTE)
    return make_song(sort_notes(notes).tolist())


def stretched(song: Song, factor: int) -> Song:
    return edited(song, start=lambda time: time * factor, duration=lambda time: time * factor)


EDITS = {
    "transposed": lambda song: edited(song, pitch=lambda pitch: pitch + 5),
    "shifted by a beat": lambda song: edited(song, start=lambda start: start + 12),
    "louder": lambda song: edited(song, velocity=lambda velocity: velocity + 20),
    "other programs": lambda song: edited(song, instrument=lambda program: program + 1),
    "drums added": with_drums,
}
NOTATIONS = {
    "half as fast": lambda song: stretched(song, 2),
    "a third as fast": lambda song: stretched(song, 3),
    "on one piano": lambda song: edited(song, instrument=lambda program: program * 0),
}
"""Edits that leave the top line as it is, but not the melodies."""


def played(song: Song) -> np.ndarray:
    """The notes as a recording has them, with instrument classes for channels."""
    notes = np.zeros(len(song.notes), NOTE_DTYPE)
    notes["start"], notes["end"] = song.notes["start"], song.notes["start"] + song.notes["duration"]
    notes["pitch"], notes["channel"] = song.notes["pitch"], song.notes["instrument"] % 128
    notes["is_drum"] = song.notes["instrument"] >= 128
    return notes


def melodies(song: Song) -> tuple[np.ndarray, np.ndarray]:
    """The smallest hashes of the melodic n-grams, and their places."""
    return melodic_ngrams(*lines(played(song))[:3], 12)


def line(song: Song) -> np.ndarray:
    return lines(played(song))[3]


def stored(song: Song) -> dict[str, bytes | None]:
    """Both signatures, as they are stored."""
    top = top_line_ngrams(line(song))
    return {"melodies": signature(*melodies(song)), "top_line": signature(*top)}


def similarity(one: Song, other: Song, kind: str = "melodies") -> float:
    a, b = (np.frombuffer(stored(song)[kind], SIGNATURE)["hashes"] for song in (one, other))
    return float(np.mean(a == b))
