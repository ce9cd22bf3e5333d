"""What the tokens kept, heard: a rendered song beside the file that it came from."""

import numpy as np

from pipeline.midi import read_midi
from shards.render import write_midi
from shards.vocabulary import NO_INSTRUMENT


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
        assert len(kept[0]) == row["notes"] == len(original[0]) - row["notes_doubled"]
        assert set(kept[0].tolist()) == set(original[0].tolist())
        assert furthest(original, kept) <= half_a_step + 1e-9, row["path"]
        assert furthest(kept, original) <= half_a_step + 1e-9, row["path"]
        compared += 1
    assert compared > 30
