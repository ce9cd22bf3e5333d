"""Signatures estimate how many n-grams songs share, and survive edits."""

from itertools import combinations

import numpy as np
import pytest

from pipeline.duplicates.fingerprint import MIN_NGRAMS, music_hash
from pipeline.duplicates.settings import DuplicateSettings
from shards.codec import Codec
from shards.song import Song
from shards.vocabulary import Vocabulary
from tests.pipeline.duplicates.melodies import EDITS, melody, ngrams, signature
from tests.shards.songs import make_song

CODEC = Codec(Vocabulary())


def mix_bits(value: int) -> int:
    """The finalizer of splitmix64."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def slow_ngrams(song: Song) -> set[int]:
    """The hashes of a song's n-grams, from their definition; 12 steps per beat."""
    found = set()
    for part in range(128):
        top = {}
        for start, _, _, pitch, _ in song.notes[song.notes["instrument"] == part].tolist():
            top[start] = max(top.get(start, 0), pitch)
        line = sorted(top.items())
        for first, (tick, pitch) in enumerate(line):
            for three in combinations(line[first + 1 : first + 6], 3):
                ngram = 0
                for later, height in three:
                    eighths = min((8 * (later - tick) * 2 + 12) // 24, 255)
                    ngram = ngram << 16 | eighths << 8 | height - pitch + 128
                found.add(mix_bits((ngram + 0x9E3779B97F4A7C15) % 2**64))
    return found


def similarity(one: Song, other: Song) -> float:
    return float(np.mean(signature(one) == signature(other)))


@pytest.mark.parametrize("notes", [0, 3, 4, 7, 100, 400])
def test_ngrams_match_their_definition(notes):
    song = melody(notes, notes)
    assert set(ngrams(song).tolist()) == slow_ngrams(song)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_leaves_the_signature_unchanged(edit):
    for seed in range(5):
        song = melody(seed)
        assert similarity(song, EDITS[edit](song)) == 1.0


def test_different_songs_share_next_to_nothing():
    songs = [melody(seed) for seed in range(30)]
    pairs = [similarity(a, b) for n, a in enumerate(songs) for b in songs[:n]]
    assert max(pairs) < 0.1


def test_a_signature_estimates_the_jaccard_similarity():
    song, half = melody(1), melody(2)
    mixed = make_song([*song.notes.tolist()[:250], *half.notes.tolist()[250:]])
    one, other = set(ngrams(song).tolist()), set(ngrams(mixed).tolist())
    jaccard = len(one & other) / len(one | other)
    assert 0.2 < jaccard < 0.8
    assert similarity(song, mixed) == pytest.approx(jaccard, abs=0.15)


def test_a_song_with_too_few_ngrams_has_no_signature():
    assert signature(melody(1, notes=12)) is None
    assert len(ngrams(melody(1, notes=12))) < MIN_NGRAMS


def test_one_repeated_pitch_has_too_few_ngrams():
    assert signature(make_song([(step, 1, 0, 60, 66) for step in range(1000)])) is None


def test_a_song_without_a_fifth_of_its_notes_is_still_recognized():
    random, similarities = np.random.default_rng(0), []
    for seed in range(20):
        song = melody(seed, notes=1000)
        cut = make_song(song.notes[random.random(1000) >= 0.2].tolist())
        similarities.append(similarity(song, cut))
    assert np.mean(np.array(similarities) >= DuplicateSettings().similarity) >= 0.9


def test_music_hash_ignores_only_velocities():
    song = melody(4)
    assert music_hash(CODEC.encode(song)) == music_hash(CODEC.encode(EDITS["louder"](song)))
    for edit in ("transposed", "shifted by a beat", "other programs"):
        assert music_hash(CODEC.encode(song)) != music_hash(CODEC.encode(EDITS[edit](song)))
