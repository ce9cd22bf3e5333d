import math
from itertools import pairwise

import numpy as np
import pytest

from shards.song import METER, NOTE, TEMPO, Song, sort_notes
from shards.vocabulary import CodecSettings, Vocabulary
from trainer.judging.music_metrics import METRICS, BarredSong, compute_metrics

BAR_STEPS = Vocabulary(CodecSettings(steps_per_beat=12)).bar_steps
BAR = 48


def song_of(rows, meters=((0, 4, 4),)):
    notes = sort_notes(np.array(rows, NOTE))
    return Song(notes, np.array([*meters], METER), np.array([(0, 500_000)], TEMPO), 12)


def metrics_of(rows, **settings):
    return compute_metrics(BarredSong(song_of(rows, **settings), BAR_STEPS))


def random_rows(seed, *, bars=12, notes=60):
    """With empty bars, notes that cross bar lines, and drums."""
    random = np.random.default_rng(seed)
    starts = np.sort(
        random.choice([0, 6, 12, 18, 24], notes) + BAR * random.integers(0, bars, notes)
    )
    return [
        (start, random.integers(1, 70), random.choice([0, 33, 128]), random.integers(30, 90), 80)
        for start in starts.tolist()
    ]


def slow_metrics(rows):
    """Each metric by its definition, step by step and bar by bar, in 4/4."""
    rows = [row.tolist() for row in song_of(rows).notes]
    pitched = [row for row in rows if row[2] < 128]
    count = max(row[0] for row in rows) // BAR + 1
    of_bar = [[row for row in rows if row[0] // BAR == bar] for bar in range(count)]

    def entropies(width):
        width = min(width, count)
        for first in range(count - width + 1):
            window = of_bar[first : first + width]
            classes = [row[3] % 12 for bar in window for row in bar if row[2] < 128]
            if classes:
                shares = [classes.count(k) / len(classes) for k in set(classes)]
                yield -sum(share * math.log2(share) for share in shares)

    def sounding(step, some=pitched):
        return [row for row in some if row[0] <= step < row[0] + row[1]]

    def sounds_in(bar, some):
        return any(sounding(step, some) for step in range(bar * BAR, (bar + 1) * BAR))

    last = max(row[0] + row[1] for row in rows)
    at_once = [len(sounding(step)) for step in range(last) if sounding(step)]
    grooves = [
        np.isin(np.arange(BAR), [row[0] % BAR for row in bar]).astype(float) for bar in of_bar
    ]
    scales = [{(tonic + k) % 12 for k in (0, 2, 4, 5, 7, 9, 11)} for tonic in range(12)]
    parts = [
        [row for row in rows if min(row[2], 128) == instrument]
        for instrument in {min(row[2], 128) for row in rows}
    ]
    contents = [sorted((row[0] % BAR, *row[1:4]) for row in bar) for bar in of_bar if bar]
    return {
        "pitch_class_entropy_1": np.mean([*entropies(1)]),
        "pitch_class_entropy_4": np.mean([*entropies(4)]),
        "scale_consistency": max(
            np.mean([row[3] % 12 in scale for row in pitched]) for scale in scales
        ),
        "pitch_range": max(row[3] for row in pitched) - min(row[3] for row in pitched),
        "groove_consistency": 1 - np.mean([abs(a - b).mean() for a, b in pairwise(grooves)]),
        "note_length": np.mean([row[1] for row in pitched]) / 12,
        "notes_per_bar": len(rows) / count,
        "polyphony": np.mean(at_once),
        "instruments": len(parts),
        "silent_bars": np.mean(
            [not sounds_in(bar, part) for part in parts for bar in range(count)]
        ),
        "empty_bars": np.mean([not sounds_in(bar, rows) for bar in range(count)]),
        "repeated_bars": np.mean([content in contents[:n] for n, content in enumerate(contents)]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_every_metric_equals_its_slow_definition(seed):
    rows = random_rows(seed, bars=(12, 5, 40, 3, 20)[seed], notes=(60, 8, 20, 90, 30)[seed])
    found = metrics_of(rows)
    assert [*found] == [*METRICS]
    assert found == pytest.approx(slow_metrics(rows))


def test_a_scale_fits_its_key_fully_and_a_chromatic_one_does_not():
    in_f_minor = [65 + k for k in (0, 2, 3, 5, 7, 8, 10)]
    assert (
        metrics_of([(n, 1, 0, p, 80) for n, p in enumerate(in_f_minor)])["scale_consistency"] == 1
    )
    chromatic = [(n, 1, 0, 60 + n, 80) for n in range(12)]
    assert metrics_of(chromatic)["scale_consistency"] == pytest.approx(7 / 12)
    assert metrics_of(chromatic)["pitch_class_entropy_1"] == pytest.approx(math.log2(12))


def test_transposing_changes_no_metric():
    rows = [row for row in random_rows(3) if row[2] < 128]
    higher = [(*row[:3], row[3] + 5, row[4]) for row in rows]
    assert metrics_of(higher) == pytest.approx(metrics_of(rows))


def test_a_bar_played_four_times_counts_as_repeated_and_keeps_its_groove():
    rows = [(BAR * bar + step, 6, 0, 60 + step, 80) for bar in range(4) for step in (0, 12, 30)]
    found = metrics_of(rows)
    assert found["repeated_bars"] == 3 / 4
    assert found["groove_consistency"] == 1


def test_a_held_note_fills_the_bars_it_sounds_in():
    rows = [(0, 2 * BAR, 0, 60, 80), (4 * BAR, 6, 128, 35, 80)]
    found = metrics_of(rows)
    assert found["empty_bars"] == 2 / 5  # the third and the fourth of five
    assert found["silent_bars"] == pytest.approx((3 / 5 + 4 / 5) / 2)


def test_groove_compares_only_bars_of_the_same_length():
    rows = [(0, 6, 0, 60, 80), (BAR, 6, 0, 60, 80), (BAR + 36, 6, 0, 60, 80)]
    assert math.isnan(metrics_of(rows[:2], meters=((0, 4, 4), (BAR, 3, 4)))["groove_consistency"])
    found = metrics_of(rows, meters=((0, 4, 4), (BAR, 3, 4)))
    assert found["groove_consistency"] == 1  # the two bars of 3/4


def test_metrics_of_pitch_are_undefined_for_drums_alone():
    found = metrics_of([(0, 6, 128, 35, 80), (BAR, 6, 130, 37, 80)])
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {
        "pitch_class_entropy_1",
        "pitch_class_entropy_4",
        "scale_consistency",
        "pitch_range",
        "note_length",
        "polyphony",
    }
