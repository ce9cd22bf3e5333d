import numpy as np
import pytest

from shards.song import NOTE
from trainer.judging.memorization import Match, longest_matches


def compose(random, notes, *, pitches=3):
    """Random notes; with few pitches, runs also match by chance."""
    song = np.zeros(notes, NOTE)
    song["start"] = np.cumsum(random.integers(0, 2, notes))
    song["duration"] = random.integers(1, 3, notes)
    song["pitch"] = 60 + random.integers(0, pitches, notes)
    song["velocity"] = random.integers(1, 128, notes)
    return song


def slow_longest(song, training):
    """By definition: compare every start in the song with every start in every other."""

    def rows(notes):
        return np.stack([notes[name] for name in ("instrument", "pitch", "duration")], axis=1)

    best = 0
    for other in training:
        for i in range(len(song)):
            for j in range(len(other)):
                n = min(len(song) - i, len(other) - j)
                ours, theirs = song[i : i + n], other[j : j + n]
                same = (rows(ours) == rows(theirs)).all(axis=1)
                same[1:] &= np.diff(ours["start"]) == np.diff(theirs["start"])
                best = max(best, n if same.all() else int(same.argmin()))
    return best


@pytest.mark.parametrize("block_notes", [1, 50, 1 << 20])
def test_the_longest_match_equals_the_slow_definition(block_notes):
    random = np.random.default_rng(0)
    training = [compose(random, size) for size in (30, 1, 45, 20)]
    songs = [compose(random, size) for size in (25, 2, 40)]
    found = longest_matches(songs, enumerate(training), block_notes=block_notes)
    assert [match.notes for match in found] == [slow_longest(song, training) for song in songs]
    assert len({match.notes for match in found}) > 1


def test_a_copied_song_matches_whatever_its_start_and_velocities():
    random = np.random.default_rng(1)
    training = [compose(random, size, pitches=60) for size in (80, 50, 70)]
    copied = training[1].copy()
    copied["start"] += 96
    copied["velocity"] = 1
    assert longest_matches([copied], zip((7, 8, 9), training, strict=True)) == [Match(50, 0, 8, 0)]


def test_the_start_of_a_match_is_found_in_both_songs():
    random = np.random.default_rng(2)
    training = [compose(random, 60, pitches=60) for _ in range(3)]
    song = compose(random, 40, pitches=60)
    song[5:25] = training[2][30:50]
    song["pitch"][[4, 25]] = 1  # the notes before and after match no training song
    assert longest_matches([song], enumerate(training)) == [Match(20, 5, 2, 30)]


@pytest.mark.parametrize("field", ["pitch", "duration", "instrument", "start"])
def test_a_change_in_the_middle_halves_the_match(field):
    original = compose(np.random.default_rng(3), 41, pitches=60)
    song = original.copy()
    if field == "start":
        song["start"][20:] += 7  # a run may begin at note 20, but not continue across it
        expected = 21
    else:
        song[field][20] += 1
        expected = 20
    assert longest_matches([song], [(0, original)])[0].notes == expected


def test_a_transposed_copy_does_not_match():
    original = compose(np.random.default_rng(4), 40)
    song = original.copy()
    song["pitch"] += 12
    assert longest_matches([song], [(0, original)]) == [Match()]


def test_no_match_crosses_the_end_of_a_song():
    whole = compose(np.random.default_rng(5), 40, pitches=60)
    whole["start"] = np.arange(40)
    first, second = whole[:20], whole[20:]  # in time, the second continues the first
    assert longest_matches([whole], enumerate([first, second]))[0].notes == 20
    assert longest_matches([first, second], [(0, whole)]) == [
        Match(20, 0, 0, 0),
        Match(20, 0, 0, 20),
    ]


def test_songs_without_notes_match_nothing():
    song = compose(np.random.default_rng(6), 5)
    assert longest_matches([song[:0], song], [(0, song[:0]), (1, song)])[0] == Match()
    assert longest_matches([song], []) == [Match()]
