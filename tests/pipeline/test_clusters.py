"""Near-copies are found, different songs are not, and a cluster is never split."""

import numpy as np
import pytest

from pipeline.clusters import DuplicateSettings, clusters
from pipeline.fingerprint import FEWEST_GRAMS, melodic_grams, music_hash, signature
from pipeline.splits import SplitSettings, keyed_fraction, splits
from shards.codec import Codec
from shards.song import NOTE, Song, sort_notes
from shards.vocabulary import Vocabulary
from tests.shards.songs import make_song

CODEC = Codec(Vocabulary())


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
    "moved by a beat": lambda song: edited(song, start=lambda start: start + 12),
    "louder": lambda song: edited(song, velocity=lambda velocity: velocity + 20),
    "other programs": lambda song: edited(song, instrument=lambda part: part + 1),
    "drums added": with_drums,
}


def similarity(one: Song, other: Song) -> float:
    return float((signature(one) == signature(other)).mean())


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_leaves_the_fingerprint_as_it_was(edit):
    for seed in range(5):
        song = melody(seed)
        assert similarity(song, EDITS[edit](song)) == 1.0


def test_different_songs_share_next_to_nothing():
    songs = [melody(seed) for seed in range(30)]
    pairs = [similarity(a, b) for n, a in enumerate(songs) for b in songs[:n]]
    assert max(pairs) < 0.1


def test_a_signature_estimates_the_share_of_common_grams():
    song, half = melody(1), melody(2)
    mixed = make_song([*song.notes.tolist()[:250], *half.notes.tolist()[250:]])
    one, other = set(melodic_grams(song).tolist()), set(melodic_grams(mixed).tolist())
    jaccard = len(one & other) / len(one | other)
    assert 0.2 < jaccard < 0.8
    assert similarity(song, mixed) == pytest.approx(jaccard, abs=0.15)


def test_a_song_with_too_few_grams_has_no_signature():
    assert signature(melody(1, notes=20)) is None
    assert len(melodic_grams(melody(1, notes=20))) < FEWEST_GRAMS


def test_copies_of_any_kind_share_a_cluster_and_others_do_not():
    songs = [melody(1), melody(2), EDITS["transposed"](melody(1)), melody(2), melody(3)]
    md5s = ["a", "b", "c", "b", "d"]
    music = [music_hash(CODEC.encode(song)) for song in songs]
    found = clusters(md5s, music, [signature(song) for song in songs], DuplicateSettings())
    assert found.tolist() == [0, 1, 0, 1, 2]


def test_music_hash_ignores_loudness_only():
    song = melody(4)
    assert music_hash(CODEC.encode(song)) == music_hash(CODEC.encode(EDITS["louder"](song)))
    for edit in ("transposed", "moved by a beat", "other programs"):
        assert music_hash(CODEC.encode(song)) != music_hash(CODEC.encode(EDITS[edit](song)))


def test_a_cluster_lies_in_one_split_whatever_the_order_of_its_songs():
    random = np.random.default_rng(0)
    md5s = [f"{number:032x}" for number in random.integers(0, 2**60, 2000)]
    cluster = random.integers(0, 700, 2000)
    drawn = splits(md5s, cluster, SplitSettings())
    order = random.permutation(2000)
    again = splits([md5s[n] for n in order], cluster[order], SplitSettings())
    assert again == [drawn[n] for n in order]
    for number in range(700):
        assert len({drawn[n] for n in np.flatnonzero(cluster == number)}) <= 1


def test_splits_have_about_their_share():
    md5s = [f"{number:032x}" for number in range(20_000)]
    drawn = splits(md5s, np.arange(20_000), SplitSettings(valid=0.1, test=0.2))
    assert drawn.count("valid") == pytest.approx(2000, rel=0.1)
    assert drawn.count("test") == pytest.approx(4000, rel=0.1)
    assert 0 <= keyed_fraction("salt", "key") < 1
