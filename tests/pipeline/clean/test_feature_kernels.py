"""The compiled kernels behind the columns against slow definitions of what they count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.feature_kernels import (
    busiest_second,
    rhythm,
    sounding_together,
    tallies,
    unoccupied,
)
from shards.bars import Bars
from shards.song import Song
from shards.vocabulary import Vocabulary
from tests.shards.songs import canonical_songs

VOCABULARY = Vocabulary()
songs = canonical_songs(VOCABULARY)


@given(songs)
def test_tallies_count_every_note_once_by_each_thing(song: Song):
    tally = tallies(song.notes)
    tuned = [note for note in song.notes.tolist() if note[2] < 128]
    drums = [note for note in song.notes.tolist() if note[2] >= 128]
    for pitch in range(128):
        assert tally.pitches[pitch] == sum(note[3] == pitch for note in tuned)
        assert tally.keys[pitch] == sum(note[3] == pitch for note in drums)
        assert tally.programs[pitch] == sum(note[2] == pitch for note in tuned)
    for program, _, count in ((p, 0, tally.velocities[p]) for p in range(129)):
        loud = [note[4] // 4 for note in song.notes.tolist() if min(note[2], 128) == program]
        assert count.tolist() == np.bincount(loud, minlength=32).tolist()
    assert {int(d): int(n) for d, n in enumerate(tally.durations) if n} == {
        d: sum(note[1] == d for note in tuned) for d in {note[1] for note in tuned}
    }
    for pitch_class in range(12):
        steps = sum(note[1] for note in tuned if note[3] % 12 == pitch_class)
        assert tally.sounding[pitch_class] == steps


@given(songs)
def test_notes_sound_together_as_counting_step_by_step_says(song: Song):
    tuned = song.notes[song.notes["instrument"] < 128]
    if not len(tuned):
        return
    at = np.zeros(song.end + 1, int)
    for start, duration, *_ in tuned.tolist():
        at[start : start + duration] += 1
    most, steps, added = sounding_together(song.notes, int(song.notes["duration"].max()))
    assert (most, steps, added) == (at.max(), np.count_nonzero(at), tuned["duration"].sum())


@given(songs)
def test_the_busiest_second_is_the_fullest_of_all_that_end_at_a_note(song: Song):
    times = song.seconds(song.notes["start"])
    slow = max(np.count_nonzero((times > time - 1.0) & (times <= time)) for time in times)
    assert busiest_second(song.notes, *song.tempo_map()) == slow


@given(songs)
def test_rhythm_is_what_a_table_of_bars_says(song: Song):
    bars = Bars(song.meters, VOCABULARY.bar_steps)
    steps = sorted(set(song.notes["start"].tolist()))
    numbers, places = bars.positions(np.array(steps))
    table: dict[int, set[int]] = {}
    for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
        table.setdefault(number, set()).add(place)
    lengths = {int(n): int(bars.lengths[bars.segment(bars.line(np.array([n])))[0]]) for n in table}
    alike = [
        1 - len(table[n] ^ table[n + 1]) / lengths[n]
        for n in table
        if n + 1 in table and lengths[n] == lengths[n + 1]
    ]
    last, onsets, on_beat, groove = rhythm(
        song.notes, bars.starts, bars.lengths, bars.first_bars, song.steps_per_beat
    )
    assert last == max(table)
    assert onsets == len(steps)
    assert on_beat == np.count_nonzero(bars.positions(song.notes["start"])[1] % 12 == 0)
    assert groove == pytest.approx(np.mean(alike) if alike else np.nan, nan_ok=True)


@given(songs, st.lists(st.integers(0, 400)))
def test_unoccupied_steps_are_those_in_no_other_set(song: Song, steps):
    steps = np.array(sorted(steps), np.int64)
    meters, tempos = song.meters["start"].copy(), song.tempos["start"].copy()
    taken = {*song.notes["start"].tolist(), *meters.tolist(), *tempos.tolist()}
    assert unoccupied(steps, song.notes, meters, tempos) == len(set(steps.tolist()) - taken)
