"""Silence removal: whole bars are removed, nothing that sounds is changed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.silence import NO_SPANS, Removed, remove_silence
from pipeline.clean.silence_kernels import (
    close_gaps,
    long_silences,
    longest_rest,
    sounding_until,
)
from pipeline.clean.silence_settings import SilenceSettings
from shards.bars import Bars
from shards.vocabulary import Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()
BAR = 96
songs = canonical_songs(VOCABULARY)


def shortened(song, held=NO_SPANS, **limits):
    """By bars alone and with strays kept, unless asked for."""
    limits = {"max_silence_seconds": 0, "max_strays": 0, **limits}
    return remove_silence(song, VOCABULARY.bar_steps, SilenceSettings(**limits), held)


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


@given(songs, st.integers(0, 3), st.sampled_from([0, 1.0, 4.0, 60.0]), st.sampled_from([0, 2, 8]))
def test_removing_silence_twice_changes_nothing_more(song, inner, seconds, strays):
    limits = {"max_silence": inner, "max_silence_seconds": seconds, "max_strays": strays}
    shorter, _ = shortened(song, **limits)
    again, removed = shortened(shorter, **limits)
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


def test_a_meter_that_returns_after_a_silence_still_begins_a_bar():
    song = make_song([(74, 6, 0, 60, 66)], meters=[(0, 3, 8), (73, 1, 2), (74, 3, 8)])
    shorter, removed = shortened(song, max_leading_silence=3)
    assert steps_in_bars(shorter) == [0]
    assert removed.bars == 1


def test_ten_bars_of_silence_become_two():
    song = make_song([(0, 12, 0, 60, 66), (11 * BAR + 5, 12, 0, 62, 66)])
    shorter, removed = shortened(song)
    assert shorter.notes["start"].tolist() == [0, 3 * BAR + 5]
    assert removed == Removed(8, 16.0, ((3, 8),))


def test_a_note_held_through_the_others_rests_is_not_silence():
    song = make_song(
        [(0, 768, 0, 60, 66), (0, 12, 40, 72, 66), (768, 12, 40, 72, 66)],
    )
    assert shortened(song) == (song, Removed(0, 0.0))


def test_a_note_longer_than_any_duration_token_is_not_silence():
    song = make_song([(0, 768, 0, 60, 66), (20 * BAR, 12, 0, 62, 66)])
    assert shortened(song)[1].bars == 10
    held = np.array([[0], [17 * BAR + 1]])
    assert shortened(song, held) == (song, Removed(0, 0.0))
    assert shortened(song, np.array([[0], [10 * BAR]]))[1].bars == 8


SPANS = st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 2000)), max_size=5)


@given(songs, SPANS)
def test_what_sounds_is_what_sounds_at_any_note_so_far(song, spans):
    held = sorted((start, start + length) for start, length in spans)
    table = np.array(held, np.int64).reshape(-1, 2).T
    until = sounding_until(song.notes, table).tolist()
    ends = (song.notes["start"] + song.notes["duration"]).tolist()
    for n, start in enumerate(song.notes["start"].tolist()):
        assert until[n] == max(ends[: n + 1] + [end for begin, end in held if begin <= start])


@given(songs, st.integers(0, 3), st.integers(0, 3))
def test_long_silences_equal_a_table_of_bars(song, leading, inner):
    bars, starts = Bars(song.meters, VOCABULARY.bar_steps), song.notes["start"]
    until = sounding_until(song.notes, NO_SPANS)
    assert longest_rest(song.notes) == max(0, *(starts[1:] - until[:-1]), 0)
    bar, step = bars.locate(np.append(0, until[:-1]))
    first, last = bar + (step > 0), bars.locate(starts)[0]
    kept = np.where(np.arange(len(starts)) == 0, leading, inner)
    after = np.flatnonzero(first + kept < last)
    meters = bars.starts, bars.lengths, bars.first_bars
    found = long_silences(song.notes, until, meters, leading, inner)
    assert found.tolist() == [after.tolist(), first[after].tolist(), last[after].tolist()]


@given(st.lists(st.integers(0, 60)).map(sorted), st.sets(st.integers(0, 60)))
def test_closing_gaps_counts_the_steps_that_stay_before_each(steps, removed):
    edges = np.flatnonzero(np.diff([n in removed for n in range(-1, 62)]))
    begin, end = edges[::2], edges[1::2]
    moved = np.array(steps, np.int64)
    close_gaps(moved, begin, end)
    assert moved.tolist() == [len({*range(step)} - removed) for step in steps]


@given(songs, st.floats(0, 1000))
def test_the_step_at_a_time_is_the_first_that_is_not_before_it(song, seconds):
    step = int(song.steps_at(np.array([seconds]))[0])
    assert song.seconds(step) >= seconds - 1e-6
    assert step == 0 or song.seconds(step - 1) < seconds + 1e-6


@pytest.mark.parametrize(
    ("seconds", "bars"), [(0, 2), (3.9, 2), (4, 2), (4.1, 3), (8, 4), (60, 10)]
)
def test_what_stays_is_the_longer_of_so_many_bars_and_so_many_seconds(seconds, bars):
    song = make_song([(0, 12, 0, 60, 66), (11 * BAR + 5, 12, 0, 62, 66)])
    shorter, removed = shortened(song, max_silence_seconds=seconds)
    assert removed.bars == 10 - bars
    assert shorter.notes["start"].tolist() == [0, (bars + 1) * BAR + 5]


@given(songs, st.sampled_from([1.0, 4.0, 60.0]))
def test_no_more_is_removed_than_by_bars_alone(song, seconds):
    assert shortened(song, max_silence_seconds=seconds)[1].bars <= shortened(song)[1].bars


def with_gaps(*groups):
    """Groups of notes, one a beat, with twenty bars of silence between them."""
    rows, start = [], 0
    for notes in groups:
        rows += [(start + 24 * n, 24, 0, 60 + n % 9, 66) for n in range(notes)]
        start = rows[-1][0] // BAR * BAR + 20 * BAR
    return make_song(rows)


@pytest.mark.parametrize(
    ("groups", "kept"),
    [
        ((40, 3), 40),
        ((3, 40), 40),
        ((2, 3, 40, 1, 3), 40),
        ((40, 4), 44),  # too many to be strays
        ((3, 40, 4, 3), 44),
        ((40, 3, 40), 83),  # within the song
        ((3, 3, 3), 9),  # nothing else is left
    ],
)
def test_up_to_three_notes_beyond_a_long_silence_are_strays(groups, kept):
    shorter, removed = shortened(with_gaps(*groups), max_strays=3)
    assert (len(shorter.notes), removed.strays) == (kept, sum(groups) - kept)
    assert shorter.notes["start"][0] == 0


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
    assert removed.bars == 2 + 15 * 96 // 72


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
