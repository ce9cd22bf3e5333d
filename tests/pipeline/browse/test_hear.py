"""Rendered songs compared with the files that they came from: what the tokens kept."""

import dataclasses

import numpy as np
import pytest

from pipeline.clean.quantize import quantize
from pipeline.midi import read_midi
from shards.render.midi import write_midi
from shards.song import BEND, CONTROL, MODULATION, NOTE, control_changes, sort_notes
from shards.vocabulary import NO_INSTRUMENT, CodecSettings, Vocabulary
from tests.shards.songs import make_song


def sounds(recording, vocabulary):
    """Instrument class, pitch and onset in beats of every note that the vocabulary can say."""
    notes = recording.notes
    classes = np.where(
        notes["is_drum"], vocabulary.drum_classes[notes["pitch"]], notes["program"]
    ).astype(np.int64)
    known = classes != NO_INSTRUMENT
    keys = classes[known] * 128 + notes["pitch"][known]
    return keys, notes["start"][known] / recording.ticks_per_beat


def furthest(one, other):
    """How far an onset of `one` may lie from the nearest of its sound in `other`; in beats."""
    (keys, beats), (others, known) = one, other
    return max(
        float(np.abs(beats[keys == key][:, None] - known[others == key]).min(axis=1).max())
        for key in np.unique(keys)
    )


def test_a_rendered_song_has_the_notes_of_its_file_to_half_a_step(demo, dataset, tmp_path):
    half_a_step = 0.5 / dataset.vocabulary.settings.steps_per_beat
    compared = 0
    for number, row in enumerate(dataset.index.to_pylist()):
        if row["silences"]:
            continue  # moved on purpose, by whole bars
        write_midi(
            dataset.codec.decode(dataset.song(number)), tmp_path / "song.mid", dataset.vocabulary
        )
        original = sounds(read_midi((demo[0] / row["path"]).read_bytes()), dataset.vocabulary)
        kept = sounds(read_midi((tmp_path / "song.mid").read_bytes()), dataset.vocabulary)
        assert len(kept[0]) == row["notes"] == len(original[0]) - row["notes_merged"]
        assert set(kept[0].tolist()) == set(original[0].tolist())
        assert furthest(original, kept) <= half_a_step + 1e-9, row["path"]
        assert furthest(kept, original) <= half_a_step + 1e-9, row["path"]
        compared += 1
    assert compared > 30


BENDING = Vocabulary(CodecSettings(controls="bend,mod"))


def bent_song(seed):
    """Three programs and a drum, each program bent and modulated at random, silent or not."""
    random = np.random.default_rng(seed)
    parts = [0, 33, 61, 138]
    rows = [
        (int(random.integers(0, 300)), int(random.integers(1, 60)), int(random.choice(parts)),
         int(random.integers(30, 90)), 66)
        for _ in range(int(random.integers(1, 40)))
    ]  # fmt: skip
    for n, row in enumerate(rows):
        rows[n] = (row[0], 6, 138, 37, 66) if row[2] == 138 else row
    values = {BEND: BENDING.bends.tolist(), MODULATION: BENDING.modulations.tolist()}
    controls = [
        (int(random.integers(0, 300)), int(random.choice(parts[:3])), kind,
         int(random.choice(values[kind])))
        for kind in random.integers(0, 2, int(random.integers(0, 40))).tolist()
    ]  # fmt: skip
    notes, events = np.array(rows, NOTE), np.array(sorted(controls), CONTROL)
    song = make_song(sort_notes(notes).tolist())
    return dataclasses.replace(song, controls=control_changes(events))


def heard(song):
    """What each note of a program sounds under: bend and modulation at its start."""
    stands = []
    for start, _, part, _, _ in song.notes.tolist():
        for kind in (BEND, MODULATION):
            mine = (song.controls["instrument"] == part) & (song.controls["kind"] == kind)
            before = song.controls["value"][mine & (song.controls["start"] <= start)]
            stands.append(int(before[-1]) if len(before) else 0)
    return stands


@pytest.mark.parametrize("seed", range(40))
def test_bends_and_modulations_come_back_from_midi(seed, tmp_path):
    song, path = bent_song(seed), tmp_path / "song.mid"

    def there_and_back(song):
        write_midi(song, path, BENDING)
        return quantize(read_midi(path.read_bytes()), BENDING).song

    once = there_and_back(song)
    assert (once.notes == song.notes).all()
    assert heard(once) == heard(song)
    assert there_and_back(once) == once  # what cannot be heard is gone, all else stays
