"""A beat that onsets follow is kept; another one is replaced, and no onset moves in seconds."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.beat import TICKS_PER_BEAT, main_bpm, repair_beat
from pipeline.clean.grid_fit import grid_fit
from pipeline.clean.onset_period import strongest_period
from pipeline.clean.quantize import quantize
from pipeline.midi import CONTROL_DTYPE, METER_DTYPE, NOTE_DTYPE, TEMPO_DTYPE, Recording
from shards.vocabulary import CodecSettings, Vocabulary

STEPS = 12
RANDOM_SEEDS = range(5)


def recording(ticks, *, beat=480, tempos=(), meters=(), controls=()):
    """A recording of one piano: a note of 10 ticks at each of the ticks."""
    notes = np.zeros(len(ticks), NOTE_DTYPE)
    notes["start"] = np.sort(ticks)
    notes["end"], notes["pitch"], notes["velocity"] = notes["start"] + 10, 60, 64
    bends = np.zeros(len(controls), CONTROL_DTYPE)
    bends["tick"] = controls
    stated = np.array(list(tempos), TEMPO_DTYPE), np.array(list(meters), METER_DTYPE)
    return Recording(notes, beat, *stated, bends, "strict")


def slow_seconds(played, ticks):
    """The definition: the time of each tick, tempo by tempo."""
    changes = [(0, 500_000), *played.tempos.tolist()]
    changes.append((max([*ticks, changes[-1][0]]) + 1, 0))
    return [
        sum(
            max(min(tick, stop) - start, 0) * tempo / 1e6 / played.ticks_per_beat
            for (start, tempo), (stop, _) in pairwise(changes)
        )
        for tick in ticks
    ]


def onset_times(played):
    """Seconds of each onset from the first."""
    seconds = np.array(slow_seconds(played, played.notes["start"].tolist()))
    return seconds - seconds[0]


def played_at(bpm, *, seed=0, jitter=0.005, seconds=60.0, beat=480):
    """Beats and two of three sixteenths between them, in a file that states 120 instead."""
    random = np.random.default_rng(seed)
    times = np.arange(0.3, seconds, 15 / bpm)
    is_beat = np.arange(len(times)) % 4 == 0
    times = times[is_beat | (random.random(len(times)) < 2 / 3)]
    times = times + random.normal(0, jitter, len(times))
    return recording(np.rint(times * 2 * beat).astype(np.int64), beat=beat)


def freely_played(seed, onsets=200):
    return recording(np.random.default_rng(seed).choice(100_000, onsets, replace=False))


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("bpm", [81.3, 97.1, 133.7, 158.9])
def test_a_constant_tempo_is_found_within_a_thousandth(bpm, seed):
    found, beat = repair_beat(played_at(bpm, seed=seed), "all", STEPS)
    assert beat.repair == "constant_tempo"
    assert main_bpm(found) == pytest.approx(bpm, rel=1e-3)
    assert beat.fit_before.error_ms == pytest.approx(500 / STEPS / 4, rel=0.2)  # as at random
    starts = found.notes["start"].copy()
    fit = grid_fit(starts, found.tempos, found.ticks_per_beat, STEPS)
    assert repr(beat.fit) == repr(fit)
    assert fit.error_ms < 5
    assert fit.beat_alignment > 0.8


@pytest.mark.parametrize("seed", RANDOM_SEEDS)
@pytest.mark.parametrize("onsets", [100, 200, 2000])
def test_onsets_at_random_have_no_tempo(seed, onsets):
    played = freely_played(seed, onsets)
    assert repair_beat(played, "all", STEPS)[0] is played


def test_a_song_that_fits_its_beat_is_the_same_object():
    for bpm in (40, 47, 120, 250, 300):
        tempos = [(0, round(6e7 / bpm)), (40_000, 500_000)]
        played = recording(np.arange(0, 60_000, 120) + 1, tempos=tempos, meters=[(0, 7, 8)])
        assert repair_beat(played, "all", STEPS)[0] is played


@given(
    tempos=st.lists(
        st.tuples(st.integers(0, 60_000), st.integers(100_000, 16_777_215)), max_size=4
    ),
    beat=st.sampled_from([1, 7, 96, 480]),
    bpm=st.floats(3.6, 400),
)
def test_doubling_and_halving_move_no_onset(tempos, beat, bpm):
    tempos = sorted(dict(tempos).items())
    tempos = [(0, round(6e7 / bpm)), *(row for row in tempos if row[0])]
    played = recording(np.arange(0, 60 * beat, max(beat // 4, 1)), beat=beat, tempos=tempos)
    repaired, found = repair_beat(played, "exact", STEPS)
    stated = main_bpm(played)
    if found.repair == "doubled":
        assert stated < 40
        assert 79.9 < main_bpm(repaired) < 160.1
    elif found.repair == "none":
        assert stated >= 40
    assert onset_times(repaired) == pytest.approx(onset_times(played), abs=1e-3)


def test_a_new_tempo_moves_no_onset_against_another():
    played = played_at(97.1)
    sections = [(0, 500_000), (20_000, 612_345), (40_000, 400_001)]
    warped = recording(played.notes["start"], tempos=sections)
    for before in (played, warped):
        after, _ = repair_beat(before, "all", STEPS)
        assert onset_times(after) == pytest.approx(onset_times(before), abs=1e-3)
    assert repair_beat(played, "all", STEPS)[0].ticks_per_beat == TICKS_PER_BEAT


def test_controls_keep_their_distance_to_the_notes():
    played = played_at(97.1)
    at = played.notes["start"][[3, 50, 100]]
    bent = recording(played.notes["start"], controls=[0, *(at + 5)])
    after, _ = repair_beat(bent, "all", STEPS)
    moved = np.array(slow_seconds(after, after.controls["tick"].tolist()))
    notes = np.array(slow_seconds(after, after.notes["start"][[3, 50, 100]].tolist()))
    assert 0 <= after.controls["tick"][0] <= after.notes["start"][0]
    assert moved[1:] - notes == pytest.approx(np.full(3, 5 / 960), abs=1.1e-3)


def test_notes_that_meet_on_one_tick_are_in_the_order_of_recordings():
    played = played_at(97.1, beat=30_000)
    notes = np.repeat(played.notes, 2)
    notes["track"][::2], notes["start"][1::2] = 1, notes["start"][1::2] + 1  # a sixtieth of a ms
    after = repair_beat(dataclasses.replace(played, notes=notes), "all", STEPS)[0].notes
    keys = after[["start", "track"]].tolist()
    assert keys == sorted(keys)
    assert len(np.unique(after["start"])) < len(after)


def bar_lines(played, end):
    vocabulary = Vocabulary(CodecSettings(steps_per_beat=STEPS))
    song = quantize(played, vocabulary).song
    meters = [*song.meters.tolist(), (end, 4, 4)]
    return [
        step
        for (start, *meter), (stop, *_) in pairwise(meters)
        for step in range(start, stop, vocabulary.bar_steps[tuple(meter)])
    ]


def test_a_doubled_beat_keeps_meters_and_every_bar_line():
    meters = [(0, 3, 4), (12 * 480, 64, 128), (24 * 480, 4, 4)]
    slow = recording(np.arange(0, 40 * 480, 60), tempos=[(0, 6_000_000)], meters=meters)
    after, beat = repair_beat(slow, "all", STEPS)
    assert (beat.repair, main_bpm(after)) == ("doubled", 80)
    assert after.meters[["numerator", "denominator"]].tolist() == [(3, 4), (64, 128), (4, 4)]
    before = {8 * step for step in bar_lines(slow, 40 * STEPS)}  # 10 to 80 bpm: 8 beats for one
    assert before < {*bar_lines(after, 8 * 40 * STEPS)}


def test_a_halved_beat_has_bars_as_long_as_before():
    meters = [(0, 4, 4), (16 * 480, 3, 4), (28 * 480, 6, 8)]
    fast = recording(np.arange(0, 40 * 480, 480), tempos=[(0, 187_500)], meters=meters)
    after, beat = repair_beat(fast, "all", STEPS)
    assert (beat.repair, main_bpm(after)) == ("halved", 80)
    assert after.meters[["numerator", "denominator"]].tolist() == [(1, 4), (3, 16), (3, 16)]
    lines = [step // 4 for step in bar_lines(fast, 40 * STEPS)]
    assert bar_lines(after, 10 * STEPS) == lines


def test_a_fast_beat_stays_where_a_longer_one_fits_worse():
    fast = recording(np.arange(0, 40 * 480, 40), tempos=[(0, 146_341)])  # twelfths of a beat
    assert repair_beat(fast, "all", STEPS)[0] is fast


@pytest.mark.parametrize("late", [-15, 1, 21])
def test_a_song_beside_the_grid_is_shifted_onto_it(late):
    sections = [(0, 600_000), (3840, 500_000), (9600, 700_000)]
    beside = np.arange(960, 30_000, 120) + late
    played = recording(beside, tempos=sections, meters=[(0, 3, 4)], controls=[0, 5000])
    after, beat = repair_beat(played, "all", STEPS)
    if late == 1:
        assert after is played  # 1 ms: nothing to mend
        return
    assert beat.repair == "shifted"
    assert (after.notes["start"] % 120 == 0).all()
    assert after.controls["tick"].tolist() == [max(-late, 0), 5000 - late]
    assert after.meters.tolist() == played.meters.tolist()
    assert onset_times(after) == pytest.approx(onset_times(played), abs=1e-9)


def test_offbeats_beside_the_grid_stay_offbeats():
    after, _ = repair_beat(recording(np.arange(240, 60_000, 480) + 21), "all", STEPS)
    assert (after.notes["start"] % 480 == 240).all()


def test_a_song_is_not_shifted_to_before_the_start_of_its_file():
    played = recording(np.array([5, *range(501, 20_000, 120)]))
    assert repair_beat(played, "all", STEPS)[0] is played


def test_syncopation_and_swing_are_not_shifted():
    offbeats = recording(np.arange(240, 60_000, 480))
    swing = recording(np.concatenate([np.arange(0, 60_000, 480), np.arange(310, 60_000, 480)]))
    for played in (offbeats, swing):
        assert repair_beat(played, "all", STEPS)[0] is played


def test_each_mode_does_no_more_than_it_says():
    slow = recording(np.arange(0, 40 * 480, 60), tempos=[(0, 6_000_000)])
    assert repair_beat(slow, "none", STEPS)[0] is slow
    assert repair_beat(slow, "exact", STEPS)[1].repair == "doubled"
    clickless = played_at(97.1)
    assert repair_beat(clickless, "exact", STEPS)[0] is clickless


@pytest.mark.parametrize("microseconds", [1, 5_000, 16_777_215])
@pytest.mark.parametrize("beat", [1, 32_767])
def test_absurd_times_are_bounded(microseconds, beat):
    ticks = np.random.default_rng(0).choice(2**31 - 20, 300, replace=False)
    played = recording(ticks, beat=beat, tempos=[(0, microseconds)])
    repaired, _ = repair_beat(played, "all", STEPS)
    assert repaired.ticks_per_beat <= 2**20
    assert (np.diff(repaired.notes["start"]) >= 0).all()
    assert repaired.notes["start"][0] >= 0


def test_the_strongest_period_equals_its_slow_definition():
    onsets = np.sort(np.random.default_rng(1).uniform(0, 8, 60))
    rate, length = strongest_period(onsets)
    rates = np.arange(4 / 3, 12, 1e-3)
    slow = np.abs(np.exp(2j * np.pi * rates[:, None] * onsets).mean(axis=1))
    assert length == pytest.approx(slow.max(), rel=0.01)
    assert rate == pytest.approx(rates[slow.argmax()], abs=0.02)
