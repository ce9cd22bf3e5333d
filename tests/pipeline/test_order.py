"""The compiled kernels against the slow forms that they equal."""

from itertools import pairwise

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline import fingerprint, order
from shards.song import METER, NOTE, TEMPO, Song, sort_notes
from shards.vocabulary import PROGRAMS

notes = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(1, 4),
        st.sampled_from([0, 1, 127, 128, 174, 255]),
        st.sampled_from([0, 1, 60, 61, 127]),
        st.sampled_from([1, 64, 127]),
    ),
    max_size=200,
).map(lambda rows: np.array(sorted(rows, key=lambda row: row[0]), NOTE))


def columns(played):
    return [np.ascontiguousarray(played[name]) for name in NOTE.names]


def lexsorted(played):
    """What shards.song.sort_notes does to notes that are in no order."""
    upside_down = played[::-1]
    return sort_notes(upside_down)


@given(notes)
def test_canonical_order_is_what_sorting_by_five_keys_gives(played):
    kept = order.canonical_order(*columns(played))
    assert played[kept].tolist() == lexsorted(played).tolist()


@pytest.mark.parametrize("count", [order.CROWD - 1, order.CROWD, order.CROWD + 1, 3000])
def test_a_crowd_on_one_step_is_in_order_too(count):
    random = np.random.default_rng(count)
    played = np.zeros(count, NOTE)
    for name, most in (("duration", 9), ("instrument", 255), ("pitch", 127), ("velocity", 127)):
        played[name] = random.integers(1, most, count)
    kept = order.canonical_order(*columns(played))
    assert played[kept].tolist() == lexsorted(played).tolist()


@given(notes)
def test_notes_in_order_are_left_alone_and_others_are_sorted(played):
    once = sort_notes(played)
    assert sort_notes(once) is once
    assert sort_notes(np.concatenate([once, once])).tolist() == once.tolist()


def slow_grams(song):
    """The grams of a song, part by part, from their definition."""
    found = set()
    for part in range(PROGRAMS):
        top = {}
        for note in song.notes[song.notes["instrument"] == part].tolist():
            top[note[0]] = max(top.get(note[0], 0), note[3])
        line = sorted(top.items())
        letters = [(b[0] - a[0]) * 256 + b[1] - a[1] + 128 for a, b in pairwise(line)]
        for at in range(len(letters) - fingerprint.GRAM + 1):
            gram = 0
            for letter in letters[at : at + fingerprint.GRAM]:
                gram = (gram ^ letter) * int(fingerprint._MIX) % 2**64
                gram ^= gram >> 29
            found.add(gram)
    return sorted(found)


@given(st.integers(0, 2**32), st.integers(0, 400))
def test_grams_and_signature_are_those_of_their_definitions(seed, count):
    random = np.random.default_rng(seed)
    played = np.zeros(count, NOTE)
    played["start"] = np.sort(random.integers(0, 300, count))
    played["duration"] = 1
    played["instrument"] = random.choice([0, 5, 127, 130], count)
    played["pitch"] = random.integers(0, 128, count)
    song = Song(sort_notes(played), np.zeros(0, METER), np.zeros(0, TEMPO), 12)
    grams = slow_grams(song)
    assert fingerprint.melodic_grams(song).tolist() == grams
    signature = fingerprint.signature(song)
    if len(grams) < fingerprint.FEWEST_GRAMS:
        assert signature is None
    else:
        pairs = zip(fingerprint._MULTIPLIERS.tolist(), fingerprint._OFFSETS.tolist(), strict=True)
        least = [min((gram * a + b) % 2**64 for gram in grams) >> 32 for a, b in pairs]
        assert signature.tolist() == least
