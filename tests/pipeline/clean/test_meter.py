"""Music in three is told from music in four by how it repeats; a stated meter is never changed."""

import dataclasses
import math

import numpy as np
import pytest

from pipeline.clean.meter import LAGS, MAX_BEATS, MIN_BEATS, _measure, infer_meter
from pipeline.clean.quantize import quantize
from pipeline.midi import CONTROL_DTYPE, METER_DTYPE, NOTE_DTYPE, TEMPO_DTYPE, Recording
from shards.bars import Bars
from shards.vocabulary import Vocabulary

VOCABULARY = Vocabulary()
BEAT = 480


def recording(rows, meters=()):
    """A recording of rows (start in beats, duration in beats, pitch)."""
    rows = np.array(sorted(rows))
    notes = np.zeros(len(rows), NOTE_DTYPE)
    notes["start"] = np.rint(rows[:, 0] * BEAT)
    notes["end"] = notes["start"] + np.rint(rows[:, 1] * BEAT).astype(np.int64)
    notes["pitch"], notes["velocity"] = rows[:, 2], 64
    return Recording(
        notes,
        BEAT,
        np.zeros(0, TEMPO_DTYPE),
        np.array(list(meters), METER_DTYPE),
        np.zeros(0, CONTROL_DTYPE),
        "strict",
    )


def music(beats_per_bar, *, pickup=0, beats=96, seed=0):
    """A bass note and a long one on each bar line, chords on the other beats, a random melody."""
    random = np.random.default_rng(seed)
    rows = []
    for beat in range(beats):
        is_bar_line = (beat - pickup) % beats_per_bar == 0
        rows += (
            [(beat, 2, 36), (beat, 2, 72)] if is_bar_line else [(beat, 0.4, 60), (beat, 0.4, 64)]
        )
        rows += [(beat + k / 4, 0.2, 76) for k in range(1, 4) if random.random() < 0.3]
    return recording(rows)


def meters_of(played):
    inferred, _ = infer_meter(played, True)
    return inferred.meters[["numerator", "denominator"]].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_three_is_told_from_two_and_four(seed):
    assert meters_of(music(3, seed=seed)) == [(3, 4)]
    assert meters_of(music(6, seed=seed)) == [(3, 4)]
    assert meters_of(music(4, seed=seed)) == []
    assert meters_of(music(2, seed=seed)) == []
    assert meters_of(music(8, seed=seed)) == []


@pytest.mark.parametrize("seed", range(5))
def test_onsets_at_random_are_in_no_meter(seed):
    random = np.random.default_rng(seed)
    rows = zip(random.uniform(0, 200, 2000), random.uniform(0, 2, 2000), [60] * 2000, strict=True)
    played = recording(rows)
    inferred, meter = infer_meter(played, True)
    assert inferred is played
    assert abs(meter.triple) < 0.2


@pytest.mark.parametrize("pickup", [0, 1, 2])
def test_bars_start_on_the_bass_after_a_pickup(pickup):
    inferred, _ = infer_meter(music(3, pickup=pickup), True)
    song = quantize(inferred, VOCABULARY).song
    first = [(0, pickup, 4)] if pickup else []
    assert song.meters.tolist() == [*first, (pickup * song.steps_per_beat, 3, 4)]
    bass = song.notes["start"][song.notes["pitch"] == 36]
    assert (Bars(song.meters, VOCABULARY.bar_steps).locate(bass)[1] == 0).all()


def test_without_a_bass_bars_start_with_the_file():
    rows = [(beat, [1.0, 1.0, 1.05][beat % 3], 60) for beat in range(96)]
    rows += [(beat + k / 4, 0.2, 76) for beat in range(0, 96, 3) for k in (1, 2, 3)]
    assert meters_of(recording(rows)) == [(3, 4)]


@pytest.mark.parametrize("stated", [[(0, 4, 4)], [(7 * BEAT, 5, 8)]])
def test_a_stated_meter_is_kept(stated):
    waltz = music(3)
    played = dataclasses.replace(waltz, meters=np.array(stated, METER_DTYPE))
    inferred, meter = infer_meter(played, True)
    assert inferred is played
    assert meter.stated
    assert meter.triple > 0.5
    assert infer_meter(waltz, False)[0] is waltz
    assert not infer_meter(waltz, False)[1].stated


def test_the_fit_is_positive_for_the_right_kind_of_meter():
    _, three = infer_meter(music(3), False)
    _, four = infer_meter(music(4), False)
    for meter in ((3, 4), (6, 8), (12, 8), (3, 2)):
        assert three.fit(*meter) == three.triple > 0 > four.fit(*meter)
    for meter in ((4, 4), (2, 4), (2, 2), (1, 4), (4, 2)):
        assert four.fit(*meter) == -four.triple > 0 > three.fit(*meter)
    for meter in ((5, 4), (7, 8), (5, 8)):
        assert three.fit(*meter) is None


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 1, 60)],
        [(beat, 1, 60) for beat in range(MIN_BEATS - 1)],
        [(beat, 1, 60) for beat in range(100)],
    ],
)
def test_where_nothing_changes_the_fit_is_undefined(rows):
    played = recording(rows)
    inferred, meter = infer_meter(played, True)
    assert inferred is played
    assert math.isnan(meter.triple)
    assert meter.fit(4, 4) is None


def slow_triple(rows):
    """The definition, by sixteenths of rows on a grid."""
    first = int(min(row[0] for row in rows))
    last = int(max(row[0] for row in rows))
    strength = {}
    for start, duration, pitch in rows:
        slot = round(4 * (start - first))
        weight = (min(duration, 4) + 0.125) * (3 if pitch < 48 else 1)
        strength[slot] = strength.get(slot, 0) + weight
    beats = last - first + 1
    table = np.sqrt([[strength.get(4 * b + s, 0) for s in range(4)] for b in range(beats)])
    table -= table.mean(axis=0)
    r = {lag: (table[lag:] * table[:-lag]).sum() / (beats - lag) for lag in (3, 4, 6, 8)}
    return (r[3] + r[6] - r[4] - r[8]) / 2 / ((table**2).sum() / beats)


@pytest.mark.parametrize("seed", range(5))
def test_the_measure_equals_its_slow_definition(seed):
    random = np.random.default_rng(seed)
    rows = [
        (int(start) / 4, int(duration) / 4, int(pitch))
        for start, duration, pitch in zip(
            random.integers(8, 240, 300), random.integers(1, 30, 300),
            random.integers(30, 80, 300), strict=True,
        )
    ]  # fmt: skip
    triple, _ = _measure(recording(rows).notes, BEAT, LAGS)
    assert triple == pytest.approx(slow_triple(rows))


@pytest.mark.parametrize("beat", [1, 32_767])
def test_absurd_times_are_bounded(beat):
    notes = np.repeat(recording([(0, 1, 60)]).notes, 1000)
    notes["start"] = np.sort(np.random.default_rng(0).integers(0, 2**40, 1000))
    notes["end"] = notes["start"] + 2**40
    triple, weights = _measure(notes, beat, LAGS)
    assert abs(triple) < 2
    assert weights.sum() <= 1000 * 3 * (4 + 0.125)
    assert MAX_BEATS < 2**20
