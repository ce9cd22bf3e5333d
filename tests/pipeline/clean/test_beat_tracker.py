"""Beats of music played freely are found; the onsets stay where they were, in seconds."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from pipeline.clean.beat import TICKS_PER_BEAT, repair_beat
from pipeline.clean.beat_tracker import _best_beats, track_beats, tracked_beats
from pipeline.midi import CONTROL_DTYPE, METER_DTYPE, NOTE_DTYPE, TEMPO_DTYPE, Recording

STEPS = 24
RUBATO = [(shape, bpm, depth) for shape in ("waves", "walk") for bpm, depth in
          [(87, 0.1), (103, 0.2), (113, 0.15), (139, 0.1)]]  # fmt: skip
TOLERANCE = 0.07
"""Seconds, as in MIREX."""


def beat_times(shape, bpm, depth, seed, beats=200):
    """Seconds of beats whose tempo changes by up to `depth` either way."""
    random, i = np.random.default_rng(seed), np.arange(beats)
    if shape == "waves":
        faster = np.sin(2 * np.pi * i / random.uniform(24, 40) + random.uniform(0, 6))
    else:
        faster = np.cumsum(random.normal(0, 1, beats))
        faster -= np.linspace(faster[0], faster[-1], beats)
        faster /= np.abs(faster).max()
    return 1 + np.cumsum(60 / bpm * np.exp(depth * faster))


def played(beats, seed=0, jitter=0.005):
    """Sixteenths, some left out, and a bass note every four beats, in a file that states 120."""
    random = np.random.default_rng(seed)
    sixteenths = np.arange(4 * len(beats) - 3)
    chance = np.array([0.9, 0.15, 0.6, 0.15])[sixteenths % 4]
    sixteenths = sixteenths[random.random(len(sixteenths)) < chance]
    bass = np.arange(0, len(beats), 4)
    at = np.concatenate([sixteenths / 4, bass])
    times = np.interp(at, np.arange(len(beats)), beats) + random.normal(0, jitter, len(at))
    notes = np.zeros(len(at), NOTE_DTYPE)
    notes["start"] = np.rint(times * 960)
    notes["end"], notes["velocity"] = notes["start"] + 200, 64
    notes["pitch"] = np.repeat([60, 36], [len(sixteenths), len(bass)])
    return recording(notes)


def recording(notes):
    notes = notes[np.lexsort([notes["pitch"], notes["start"]])]
    nothing = [np.zeros(0, dtype) for dtype in (TEMPO_DTYPE, METER_DTYPE, CONTROL_DTYPE)]
    return Recording(notes, 480, *nothing, "strict")


def found_beats(tracked, original):
    """Seconds of each beat of a tracked recording, by the clock of the original."""
    ticks = tracked.notes["start"]
    seconds = original.notes["start"] / 960
    return np.interp(np.arange(ticks[0], ticks[-1]) // TICKS_PER_BEAT * TICKS_PER_BEAT, ticks,
                     seconds)[::TICKS_PER_BEAT]  # fmt: skip


def f_measure(found, true):
    """Of beats within TOLERANCE of each other."""
    distance = np.abs(found[:, None] - true)
    precision = np.mean(distance.min(axis=1) <= TOLERANCE)
    recall = np.mean(distance.min(axis=0) <= TOLERANCE)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def up_to_octave(found, true):
    between = np.interp(np.arange(0, len(found) - 0.75, 0.5), np.arange(len(found)), found)
    return max(f_measure(beats, true) for beats in (found, found[::2], found[1::2], between))


def sixteenths_error(played):
    """Median distance of onsets to sixteenths, in sixteenths; 0.25 at random."""
    position = 4 * played.notes["start"] / played.ticks_per_beat
    return np.median(np.abs(position - np.rint(position)))


def seconds_of(tracked):
    """The definition: the sum of the beats before, each as long as its tempo says."""
    ticks = np.append(tracked.tempos["tick"], tracked.notes["start"].max() + 1)
    at = np.concatenate([[0], np.cumsum(np.diff(ticks) * tracked.tempos["microseconds"])])
    return np.interp(tracked.notes["start"], ticks, at / 1e6 / tracked.ticks_per_beat)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("shape", "bpm", "depth"), RUBATO)
def test_beats_of_free_playing_are_found_and_no_onset_moves(shape, bpm, depth, seed):
    true = beat_times(shape, bpm, depth, seed)
    original = played(true, seed)
    tracked, beat = repair_beat(original, "all", STEPS)
    assert beat.fit_before.unaligned
    assert beat.repair == "tracked"
    assert not beat.fit.unaligned
    weights = np.ones(len(original.notes))
    onsets, number = np.unique(original.notes["start"] / 960, return_inverse=True)
    assert up_to_octave(track_beats(onsets, np.bincount(number, weights)), true) > 0.9
    assert sixteenths_error(original) > 0.2
    assert sixteenths_error(tracked) < 0.1
    before, after = original.notes["start"] / 960, seconds_of(tracked)
    assert after - after[0] == pytest.approx(before - before[0], abs=1e-3)


def test_bars_start_on_the_bass():
    tracked, beat = repair_beat(played(beat_times("waves", 100, 0.15, 0)), "all", STEPS)
    assert beat.repair == "tracked"
    bass = tracked.notes["start"][tracked.notes["pitch"] == 36] / (4 * TICKS_PER_BEAT)
    assert np.mean(np.abs(bass - np.rint(bass)) < 0.05) > 0.9


def test_the_order_of_notes_that_start_together_makes_no_difference():
    original = played(beat_times("walk", 110, 0.1, 1))
    chords = np.repeat(original.notes, 3)
    chords["pitch"] += np.tile([0, 4, 7], len(original.notes)).astype(np.uint8)
    random = np.random.default_rng(0)
    shuffled = chords[np.lexsort([random.random(len(chords)), chords["start"]])]
    one, _ = repair_beat(recording(chords), "all", STEPS)
    other, _ = repair_beat(dataclasses.replace(original, notes=shuffled), "all", STEPS)
    assert one.tempos.tolist() == other.tempos.tolist()
    assert np.array_equal(one.notes["start"], other.notes["start"])


def test_a_song_with_rests_has_beats_in_them():
    true = beat_times("waves", 100, 0.1, 2)
    original = played(true)
    seconds = original.notes["start"] / 960
    silent = (seconds % 40 > 30) & (seconds % 40 < 34)
    tracked, beat = repair_beat(recording(original.notes[~silent]), "all", STEPS)
    assert beat.repair == "tracked"
    assert sixteenths_error(tracked) < 0.1
    assert 6e7 / tracked.tempos["microseconds"].max() > 60


@pytest.mark.parametrize("onsets", [80, 200, 1000, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_onsets_at_random_follow_no_beats(onsets, seed):
    random = np.random.default_rng(seed)
    times = np.sort(random.uniform(0, 120, onsets))
    assert tracked_beats(times, random.uniform(0.1, 3, onsets)) is None


@pytest.mark.parametrize("times", [[0, 9], [0, 0.001, 8], [3, 3.2, 3.4, 3.6, 7000]])
def test_few_onsets_follow_no_beats(times):
    assert tracked_beats(np.array(times), np.ones(len(times))) is None


def best_score(strength, period, tightness):
    """The definition: of all sequences of frames that begin and end within a period."""

    def best(t):
        before = [
            best(s) - tightness * np.log((t - s) / period) ** 2
            for s in range(t)
            if period / 1.6 - 1 < t - s <= 1.6 * period + 1
        ]
        return strength[t] + max([0.0] * (t < period / 1.6) + before, default=-np.inf)

    return max(best(t) for t in range(len(strength) - int(period / 1.6), len(strength)))


@pytest.mark.parametrize("seed", range(10))
def test_dynamic_programming_finds_the_beats_with_the_best_score(seed):
    strength = np.random.default_rng(seed).random(24)
    path = np.zeros(24, np.int64)
    beats = _best_beats(strength, path, np.array([5.0]), 1, 2.0)
    score = strength[beats].sum() - sum(
        2.0 * np.log((b - a) / 5) ** 2 for a, b in pairwise(beats.tolist())
    )
    assert score == pytest.approx(best_score(strength, 5.0, 2.0))
