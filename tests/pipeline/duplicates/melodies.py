"""Random melodies, and edits that leave their n-grams as they are."""

import numpy as np

from pipeline.duplicates.fingerprint import fingerprint_of, melodic_ngrams
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


EDITS = {
    "transposed": lambda song: edited(song, pitch=lambda pitch: pitch + 5),
    "shifted by a beat": lambda song: edited(song, start=lambda start: start + 12),
    "louder": lambda song: edited(song, velocity=lambda velocity: velocity + 20),
    "other programs": lambda song: edited(song, instrument=lambda program: program + 1),
    "drums added": with_drums,
}


def ngrams(song: Song) -> np.ndarray:
    notes = song.notes
    parts = np.minimum(notes["instrument"], 127)
    is_drum = notes["instrument"] >= 128
    return melodic_ngrams(notes["start"].copy(), parts, notes["pitch"].copy(), is_drum, 12)


def signature(song: Song) -> np.ndarray | None:
    return fingerprint_of(ngrams(song), "0" * 32).signature
