"""The compiled kernels behind the columns equal slow definitions of what they count."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.feature_kernels import (
    added_rests,
    busiest_second,
    count_parts,
    histograms,
    polyphony,
    rhythm,
)
from pipeline.midi import NOTE_DTYPE
from shards.bars import Bars
from shards.song import CONTROL, Song
from shards.vocabulary import Vocabulary
from tests.shards.songs import canonical_songs

VOCABULARY = Vocabulary()
songs = canonical_songs(VOCABULARY)


@given(songs)
def test_histograms_count_every_note_once(song: Song):
    counts = histograms(song.notes)
    tuned = [note for note in song.notes.tolist() if note[2] < 128]
    drums = [note for note in song.notes.tolist() if note[2] >= 128]
    for pitch in range(128):
        assert counts.pitches[pitch] == sum(note[3] == pitch for note in tuned)
        assert counts.drum_keys[pitch] == sum(note[3] == pitch for note in drums)
        assert counts.programs[pitch] == sum(note[2] == pitch for note in tuned)
    bins = [(min(note[2], 128), note[4] // 4) for note in song.notes.tolist()]
    assert counts.velocities == len({velocity for _, velocity in bins})
    assert counts.most_common_velocities == sum(
        max(Counter(velocity for other, velocity in bins if other == program).values())
        for program in {program for program, _ in bins}
    )
    assert {int(d): int(n) for d, n in enumerate(counts.durations) if n} == {
        d: sum(note[1] == d for note in tuned) for d in {note[1] for note in tuned}
    }
    for pitch_class in range(12):
        assert counts.pitch_classes[pitch_class] == counts.pitches[pitch_class::12].sum()
        steps = sum(note[1] for note in tuned if note[3] % 12 == pitch_class)
        assert counts.sounding[pitch_class] == steps


@given(songs)
def test_polyphony_equals_counting_step_by_step(song: Song):
    tuned = song.notes[song.notes["instrument"] < 128]
    if not len(tuned):
        return
    at = np.zeros(song.end + 1, int)
    for start, duration, *_ in tuned.tolist():
        at[start : start + duration] += 1
    maximum, steps, total = polyphony(song.notes, int(song.notes["duration"].max()))
    assert (maximum, steps, total) == (at.max(), np.count_nonzero(at), tuned["duration"].sum())


@given(songs)
def test_the_busiest_second_is_the_fullest_that_ends_at_an_onset(song: Song):
    times = song.seconds(song.notes["start"])
    slow = max(np.count_nonzero((times > time - 1.0) & (times <= time)) for time in times)
    assert busiest_second(song.notes, *song.tempo_map()) == (slow, song.seconds(song.end))


@given(songs)
def test_rhythm_equals_a_table_of_bars(song: Song):
    bars = Bars(song.meters, VOCABULARY.bar_steps)
    steps = sorted(set(song.notes["start"].tolist()))
    numbers, bar_steps = bars.locate(np.array(steps))
    table: dict[int, set[int]] = {}
    for number, step in zip(numbers.tolist(), bar_steps.tolist(), strict=True):
        table.setdefault(number, set()).add(step)
    lengths = {
        int(n): int(bars.lengths[bars.meter_at(bars.first_steps(np.array([n])))[0]]) for n in table
    }
    agreements = [
        1 - len(table[n] ^ table[n + 1]) / lengths[n]
        for n in table
        if n + 1 in table and lengths[n] == lengths[n + 1]
    ]
    last, onsets, on_beat, similarity = rhythm(
        song.notes, bars.starts, bars.lengths, bars.first_bars, song.steps_per_beat
    )
    assert last == max(table)
    assert onsets == len(steps)
    assert on_beat == np.count_nonzero(bars.locate(song.notes["start"])[1] % 24 == 0)
    expected = np.mean(agreements) if agreements else np.nan
    assert similarity == pytest.approx(expected, nan_ok=True)


@given(songs, st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 1)), max_size=20))
def test_added_rests_are_the_difference_between_two_streams(song: Song, changes):
    def rests(steps):
        return VOCABULARY.rest_counts(np.diff(sorted(steps), prepend=0)).sum()

    controls = np.zeros(len(changes), CONTROL)
    controls["start"], controls["kind"] = np.array(sorted(changes), int).reshape(-1, 2).T
    events = song.notes, song.meters, song.tempos
    own = [step for times in events for step in times["start"].tolist()]
    added = added_rests(events, controls, 96, int(VOCABULARY.rests[-1]))
    for kind in range(2):
        steps = controls["start"][controls["kind"] == kind].tolist()
        assert added[kind] == rests(own + steps) - rests(own)


@given(st.lists(st.tuples(st.integers(0, 2**16 - 1), st.integers(0, 15)), max_size=20))
def test_parts_are_distinct_pairs_of_track_and_channel(pairs):
    played = np.zeros(len(pairs), NOTE_DTYPE)
    for n, (track, channel) in enumerate(pairs):
        played[n]["track"], played[n]["channel"] = track, channel
    assert count_parts(played) == len({*pairs})
