"""Signatures estimate how many n-grams songs share, and survive edits."""

from fractions import Fraction
from itertools import combinations
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.duplicates.fingerprint import MIN_NGRAMS, music_hash
from pipeline.duplicates.ngrams import EMPTY, pitch_ngrams, top_line_ngrams
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.signature import BINS, KINDS, LAST_PLACE, SIGNATURE
from shards.codec import Codec
from shards.song import Song
from shards.vocabulary import Vocabulary
from tests.pipeline.duplicates.melodies import (
    EDITS,
    NOTATIONS,
    line,
    melodies,
    melody,
    similarity,
    stored,
)
from tests.shards.songs import make_song

CODEC = Codec(Vocabulary())
GOLDEN = 0x9E3779B97F4A7C15


def mix_bits(value: int) -> int:
    """The finalizer of splitmix64."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def slow_melodies(song: Song) -> list[tuple[int, int]]:
    """Hash and start of a song's melodic n-grams, from their definition; 12 steps per beat."""
    found = []
    for part in range(128):
        top = {}
        for start, _, _, pitch, _ in song.notes[song.notes["instrument"] == part].tolist():
            top[start] = max(top.get(start, 0), pitch)
        skyline = sorted(top.items())
        for first, (tick, pitch) in enumerate(skyline):
            for three in combinations(skyline[first + 1 : first + 6], 3):
                ngram = 0
                for later, height in three:
                    eighths = min((8 * (later - tick) * 2 + 12) // 24, 255)
                    ngram = ngram << 16 | eighths << 8 | height - pitch + 128
                found.append((mix_bits((ngram + GOLDEN) % 2**64), tick))
    return found


def slow_top_line(song: Song) -> list[tuple[int, int]]:
    """Hash and start of the top line's n-grams, from their definition."""
    notes = [row[:4] for row in song.notes.tolist() if row[2] < 128]
    top = [
        (start, pitch)
        for start, _, _, pitch in notes
        if not any(
            other > pitch and begin <= start and (begin == start or begin + length > start)
            for begin, length, _, other in notes
        )
    ]
    found = []
    for first, (tick, pitch) in enumerate(top := sorted({*top})):
        for four in combinations(top[first + 1 : first + 6], 4):
            span = four[-1][0] - tick
            ngram = four[-1][1] - pitch + 128
            for later, height in four[:-1]:
                share = floor(Fraction(16 * (later - tick), span) + Fraction(1, 2))
                ngram = ngram << 13 | share << 8 | height - pitch + 128
            found.append((mix_bits((ngram + GOLDEN) % 2**64), tick))
    return found


def with_chords(song: Song) -> Song:
    """Long low notes and chords below and above a melody."""
    long = [(start, 40, 0, 30 + start % 7, 66) for start in range(0, song.end, 36)]
    chords = [(start, 5, 24, pitch, 66) for start in range(0, song.end, 48) for pitch in (50, 90)]
    return make_song(sorted([*song.notes.tolist(), *long, *chords]))


def canon() -> Song:
    """A phrase over and over, first by a part that is looked at last."""
    phrase = [(0, 60), (6, 64), (9, 67), (12, 65), (18, 62), (21, 71), (24, 72), (30, 55)]
    notes = [
        (36 * turn + step + late, 3, program, pitch, 66)
        for turn in range(12)
        for program, late in ((40, 0), (7, 180))
        for step, pitch in phrase
    ]
    return make_song(sorted(notes))


@pytest.mark.parametrize(
    "song",
    [*(with_chords(melody(notes, notes)) for notes in (0, 3, 4, 5, 7, 100, 400)), canon()],
    ids=lambda song: f"{len(song.notes)} notes",
)
def test_the_smallest_hashes_of_both_kinds_match_their_definition(song):
    kinds = (
        (melodies(song), slow_melodies(song), song.notes["start"]),
        (top_line_ngrams(line(song)), slow_top_line(song), line(song)[0]),
    )
    for (smallest, places), slow, starts in kinds:
        bins = [[pair for pair in slow if pair[0] >> 56 == bin_] for bin_ in range(BINS)]
        assert smallest.tolist() == [min(pairs)[0] if pairs else EMPTY for pairs in bins]
        full = [bin_ for bin_ in range(BINS) if bins[bin_]]
        firsts = [min(bins[bin_])[1] for bin_ in full]
        begin, span = (starts.min(), np.ptp(starts)) if full else (0, 1)
        assert places[full].tolist() == [
            int(first - begin) * LAST_PLACE // int(span) for first in firsts
        ]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 127)), max_size=60), st.integers(2, 9))
def test_the_top_lines_ngrams_do_not_depend_on_the_unit_of_time(notes, factor):
    ticks, pitches = np.array(notes, np.int64).reshape(-1, 2).T
    song = np.array([np.cumsum(ticks), pitches])
    stretched = song * np.array([[factor], [1]])
    assert (top_line_ngrams(song)[0] == top_line_ngrams(stretched)[0]).all()


@given(st.lists(st.integers(0, 127), max_size=12))
def test_pitch_ngrams_match_their_definition(pitches):
    expected = {
        tuple(later - pitch for later in five)
        for first, pitch in enumerate(pitches)
        for five in combinations(pitches[first + 1 : first + 7], 5)
    }
    assert len(set(pitch_ngrams(np.array(pitches, np.int64)).tolist())) == len(expected)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_leaves_both_signatures_unchanged(edit):
    for seed in range(5):
        assert stored(EDITS[edit](melody(seed))) == stored(melody(seed))


@pytest.mark.parametrize("notation", NOTATIONS)
def test_another_notation_leaves_the_top_line_unchanged_but_not_the_melodies(notation):
    for seed in range(5):
        song, other = melody(seed), NOTATIONS[notation](melody(seed))
        assert similarity(song, other, "top_line") == 1.0
        assert similarity(song, other) < 0.1


def test_a_note_under_a_sounding_one_is_not_in_the_top_line():
    rows = [(0, 10, 60), (5, 20, 50), (10, 20, 40), (12, 15, 50), (12, 14, 70), (14, 15, 65)]
    song = make_song([(start, end - start, 0, pitch, 66) for start, end, pitch in rows])
    assert line(song).tolist() == [[0, 12, 14], [60, 70, 65]]


def test_different_songs_share_next_to_nothing():
    songs = [melody(seed) for seed in range(20)]
    pairs = [(a, b) for n, a in enumerate(songs) for b in songs[:n]]
    assert max(similarity(a, b, kind) for a, b in pairs for kind in KINDS) < 0.1


def test_a_signature_estimates_the_jaccard_similarity():
    song, half = melody(1), melody(2)
    mixed = make_song(sorted([*song.notes.tolist()[:250], *half.notes.tolist()[250:]]))
    one, other = ({ngram for ngram, _ in slow_melodies(each)} for each in (song, mixed))
    jaccard = len(one & other) / len(one | other)
    assert 0.2 < jaccard < 0.8
    assert similarity(song, mixed) == pytest.approx(jaccard, abs=0.15)


def test_a_song_with_too_few_ngrams_has_no_signature():
    assert stored(melody(1, notes=12)) == {"melodies": None, "top_line": None}
    assert len(slow_melodies(melody(1, notes=12))) < MIN_NGRAMS


def test_one_repeated_pitch_has_too_few_ngrams():
    song = make_song([(step, 1, 0, 60, 66) for step in range(1000)])
    assert stored(song) == {"melodies": None, "top_line": None}


def test_a_stored_signature_has_the_size_of_its_type():
    assert {len(found) for found in stored(melody(1)).values()} == {SIGNATURE.itemsize}


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
