"""Near-copies are found, different songs are not, and a cluster is never split."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.fingerprint import (
    FEWEST_FIGURES,
    PLACES,
    fingerprint_of,
    melodic_figures,
    music_hash,
)
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings, keyed_fraction, splits
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


def figures(song: Song) -> np.ndarray:
    notes = song.notes
    parts = np.minimum(notes["instrument"], 127)
    is_drum = notes["instrument"] >= 128
    return melodic_figures(notes["start"].copy(), parts, notes["pitch"].copy(), is_drum, 12)


def signature(song: Song) -> np.ndarray | None:
    return fingerprint_of(figures(song), "0" * 32).signature


def mixed(value: int) -> int:
    """The finalizer of splitmix64."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def slow_figures(song: Song) -> set[int]:
    """The hashes of a song's figures, from their definition; 12 steps a beat."""
    found = set()
    for part in range(128):
        top = {}
        for start, _, _, pitch, _ in song.notes[song.notes["instrument"] == part].tolist():
            top[start] = max(top.get(start, 0), pitch)
        line = sorted(top.items())
        for first, (tick, pitch) in enumerate(line):
            for three in combinations(line[first + 1 : first + 6], 3):
                figure = 0
                for later, height in three:
                    eighths = min((8 * (later - tick) * 2 + 12) // 24, 255)
                    figure = figure << 16 | eighths << 8 | height - pitch + 128
                found.add(mixed((figure + 0x9E3779B97F4A7C15) % 2**64))
    return found


@pytest.mark.parametrize("notes", [0, 3, 4, 7, 100, 400])
def test_figures_are_those_of_their_definition(notes):
    song = melody(notes, notes)
    assert set(figures(song).tolist()) == slow_figures(song)


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


def test_a_signature_estimates_the_share_of_common_figures():
    song, half = melody(1), melody(2)
    mixed = make_song([*song.notes.tolist()[:250], *half.notes.tolist()[250:]])
    one, other = set(figures(song).tolist()), set(figures(mixed).tolist())
    jaccard = len(one & other) / len(one | other)
    assert 0.2 < jaccard < 0.8
    assert similarity(song, mixed) == pytest.approx(jaccard, abs=0.15)


def test_a_song_with_too_few_figures_has_no_signature():
    assert signature(melody(1, notes=12)) is None
    assert len(figures(melody(1, notes=12))) < FEWEST_FIGURES


def test_one_pitch_repeated_has_too_few_figures():
    assert signature(make_song([(step, 1, 0, 60, 66) for step in range(1000)])) is None


def test_a_song_with_a_fifth_of_its_notes_cut_is_still_known():
    random, alike = np.random.default_rng(0), []
    for seed in range(20):
        song = melody(seed, notes=1000)
        cut = make_song(song.notes[random.random(1000) >= 0.2].tolist())
        alike.append(similarity(song, cut))
    assert np.mean(np.array(alike) >= DuplicateSettings().similarity) >= 0.9


def signatures_sharing(places: dict[tuple[int, ...], int], songs: int) -> np.ndarray:
    """Signatures drawn at random, but that groups of songs agree in so many places of their own."""
    marks = np.random.default_rng(0).integers(0, 1 << 16, (songs, PLACES)).astype(np.uint16)
    begin = 0
    for group, shared in places.items():
        marks[list(group), begin : begin + shared] = 7
        begin += shared
    return marks


def cluster_of(marks: np.ndarray, music=None, **settings) -> list[int]:
    names = [str(number) for number in range(len(marks))]
    return clusters(names, music or names, list(marks), DuplicateSettings(**settings)).tolist()


COMMON = tuple(range(20))
"""More songs than may have a telling figure."""


def test_figures_that_many_songs_have_make_no_copies():
    assert cluster_of(signatures_sharing({COMMON: 100}, 40)) == [*range(40)]


@pytest.mark.parametrize(("telling", "joined"), [(15, False), (25, True)])
def test_copies_share_figures_that_few_songs_have(telling, joined):
    found = cluster_of(signatures_sharing({COMMON: 60, (3, 4): telling}, 40))
    assert (found[3] == found[4]) is joined
    assert len(set(found)) == 40 - joined


def test_exact_copies_of_a_song_make_its_figures_no_commoner():
    marks, music = signatures_sharing({COMMON: 60}, 40), [str(n) for n in range(40)]
    marks[1:19] = marks[0]
    music[:19] = ["one song"] * 19
    found = cluster_of(marks, music)
    assert found[:20] == [0] * 20  # the last of them a near-copy
    assert len(set(found)) == 21


@pytest.mark.parametrize(("similarity", "joined"), [(0.25, True), (0.32, False)])
def test_signatures_may_fall_short_by_chance_but_no_more(similarity, joined):
    marks = signatures_sharing({(0, 1): int(0.22 * PLACES)}, 9)
    found = cluster_of(marks, similarity=similarity)
    assert (found[0] == found[1]) is joined


def test_more_than_one_compares_exact_music_alone():
    marks = np.repeat(signatures_sharing({}, 1), 3, axis=0)
    assert cluster_of(marks, ["a", "b", "a"], similarity=1.01) == [0, 1, 0]
    assert cluster_of(marks, ["a", "b", "a"], similarity=1.0) == [0, 0, 0]


def test_an_outside_list_joins_what_it_names():
    songs = [melody(1), melody(2), melody(3)]
    marks, music = [signature(song) for song in songs], ["x", "y", "z"]
    found = clusters(["a", "b", "c"], music, marks, DuplicateSettings(), [[0, 2]])
    assert found.tolist() == [0, 1, 0]


def test_an_earlier_datasets_songs_stay_and_merged_clusters_train():
    anchors, cluster = list(range(400)), np.arange(400) // 2
    drawn = splits(anchors, cluster, SplitSettings())
    other = SplitSettings(split_salt="other")
    assert splits(anchors, cluster, other) != drawn
    assert splits(anchors, cluster, other, drawn) == drawn
    merged = splits(anchors, np.zeros(400, np.int64), other, drawn)
    assert set(merged) == {"train"}
    new = [None if n % 2 else split for n, split in enumerate(drawn)]
    assert splits(anchors, cluster, other, new) == drawn


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
    anchors = random.integers(0, 2**60, 2000).tolist()
    cluster = random.integers(0, 700, 2000)
    drawn = splits(anchors, cluster, SplitSettings())
    order = random.permutation(2000)
    again = splits([anchors[n] for n in order], cluster[order], SplitSettings())
    assert again == [drawn[n] for n in order]
    for number in range(700):
        assert len({drawn[n] for n in np.flatnonzero(cluster == number)}) <= 1


def test_splits_have_about_their_share():
    drawn = splits(range(20_000), np.arange(20_000), SplitSettings(valid=0.1, test=0.2))
    assert drawn.count("valid") == pytest.approx(2000, rel=0.1)
    assert drawn.count("test") == pytest.approx(4000, rel=0.1)
    assert 0 <= keyed_fraction("salt", "key") < 1
