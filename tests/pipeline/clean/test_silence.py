"""Silence removal: whole bars are removed, nothing that sounds is changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.silence import Removed, SilenceSettings, remove_silence
from shards.bars import Bars
from shards.vocabulary import Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()
BAR = 48
songs = canonical_songs(VOCABULARY)


def shortened(song, **limits):
    return remove_silence(song, VOCABULARY.bar_steps, SilenceSettings(**limits))


def steps_in_bars(song):
    return Bars(song.meters, VOCABULARY.bar_steps).locate(song.notes["start"])[1].tolist()


def in_force(song):
    """Meter and tempo at each note."""
    starts = song.notes["start"]
    at = [np.searchsorted(e["start"], starts, side="right") - 1 for e in (song.meters, song.tempos)]
    return (
        song.meters[["numerator", "denominator"]][at[0]].tolist(),
        song.tempos["microseconds"][at[1]].tolist(),
    )


@given(songs, st.integers(0, 3), st.integers(0, 3))
def test_every_note_keeps_its_step_in_the_bar_its_meter_and_its_tempo(song, inner, leading):
    shorter, _ = shortened(song, max_silence=inner, max_leading_silence=leading)
    fields = ["duration", "instrument", "pitch", "velocity"]
    assert (shorter.notes[fields] == song.notes[fields]).all()
    assert steps_in_bars(shorter) == steps_in_bars(song)
    assert in_force(shorter) == in_force(song)


@given(songs, st.integers(0, 3))
def test_removing_silence_twice_changes_nothing_more(song, inner):
    shorter, _ = shortened(song, max_silence=inner)
    again, removed = shortened(shorter, max_silence=inner)
    assert again == shorter
    assert removed == Removed(0, 0.0)


@given(songs, st.integers(0, 3))
def test_no_silence_is_left_with_more_whole_bars_than_allowed(song, inner):
    shorter, _ = shortened(song, max_silence=inner)
    bars = Bars(shorter.meters, VOCABULARY.bar_steps)
    ends = np.maximum.accumulate(shorter.notes["start"] + shorter.notes["duration"])
    for begin, end, allowed in zip(
        [0, *ends[:-1]], shorter.notes["start"], [0, *[inner] * (len(ends) - 1)], strict=True
    ):
        lines = [
            line
            for line in bars.first_steps(np.arange(int(bars.locate(end)[0]) + 1))
            if begin <= line <= end
        ]
        assert len(lines) - 1 <= allowed


@given(songs)
def test_the_seconds_removed_are_those_that_are_missing(song):
    shorter, removed = shortened(song)
    assert song.seconds(song.end) - shorter.seconds(shorter.end) == pytest.approx(removed.seconds)
    if not removed.bars:
        assert shorter == song


@given(songs)
def test_the_cuts_account_for_every_bar(song):
    shorter, removed = shortened(song)
    assert sum(bars for _, bars in removed.cuts) == removed.bars
    before, _ = Bars(song.meters, VOCABULARY.bar_steps).locate(song.notes["start"])
    after, _ = Bars(shorter.meters, VOCABULARY.bar_steps).locate(shorter.notes["start"])
    missing = [sum(bars for at, bars in removed.cuts if at <= bar) for bar in after.tolist()]
    assert (after + missing).tolist() == before.tolist()


def test_ten_bars_of_silence_become_two():
    song = make_song([(0, 12, 0, 60, 66), (11 * BAR + 5, 12, 0, 62, 66)])
    shorter, removed = shortened(song)
    assert shorter.notes["start"].tolist() == [0, 3 * BAR + 5]
    assert removed == Removed(8, 16.0, ((3, 8),))


def test_a_note_held_through_the_others_rests_is_not_silence():
    song = make_song(
        [(0, 384, 0, 60, 66), (0, 12, 40, 72, 66), (384, 12, 40, 72, 66)],
    )
    assert shortened(song) == (song, Removed(0, 0.0))


def test_a_meter_and_tempo_changed_inside_the_silence_hold_after_it():
    song = make_song(
        [(0, 12, 0, 60, 66), (20 * BAR, 12, 0, 62, 66)],
        meters=[(0, 4, 4), (5 * BAR, 3, 4)],
        tempos=[(0, 500_000), (6 * BAR, 250_000)],
    )
    shorter, removed = shortened(song)
    assert shorter.meters.tolist() == [(0, 4, 4), (3 * BAR, 3, 4)]
    assert shorter.tempos.tolist() == [(0, 500_000), (3 * BAR, 250_000)]
    assert shorter.notes["start"].tolist() == [0, 3 * BAR]
    assert removed.bars == 2 + 15 * 48 // 36


def stretched(song, bars):
    """The song with so many more bars in its longest rest; None if it has no rest."""
    notes, meters, tempos = song.notes.copy(), song.meters.copy(), song.tempos.copy()
    ends = np.maximum.accumulate(notes["start"] + notes["duration"])
    rests = notes["start"][1:] - ends[:-1]
    if not len(rests) or rests.max() <= 0:
        return None
    silent_from = ends[rests.argmax()]
    meter = meters[np.searchsorted(meters["start"], silent_from, side="right") - 1]
    bar = VOCABULARY.bar_steps[int(meter["numerator"]), int(meter["denominator"])]
    for events in (notes, meters, tempos):
        events["start"][events["start"] > silent_from] += bars * bar
    return make_song(notes.tolist(), meters.tolist(), tempos.tolist())


@given(songs, st.integers(0, 3))
def test_the_length_of_a_silence_makes_no_difference(song, inner):
    """Ten hours, 4,500 bars of 4/4 at 30 beats per minute, give the same as one bar too many."""
    shorter, longer = (stretched(song, bars) for bars in (inner + 1, 4500))
    if shorter is not None:
        assert shortened(longer, max_silence=inner)[0] == shortened(shorter, max_silence=inner)[0]
