import math

import numpy as np
import pytest

from trainer.evaluation.interval import MIN_SONGS, ratio_interval, student_quantile


@pytest.mark.parametrize("songs", [MIN_SONGS, 12, 20, 50])
def test_the_interval_holds_the_true_mean_in_about_95_percent_of_samples(songs):
    """Skewed losses, and songs of which the longest has twenty times the targets of the median."""
    random, held, draws = np.random.default_rng(1), 0, 1000
    for _ in range(draws):
        counts = random.lognormal(8.5, 0.9, songs)
        means = random.lognormal(0.6, 0.4, songs)
        low, high = ratio_interval(means * counts, counts) or (0.0, 0.0)
        held += low <= math.exp(0.6 + 0.4**2 / 2) <= high
    assert 0.925 <= held / draws <= 0.97


def test_songs_without_such_targets_do_not_count():
    sums, counts = np.arange(1.0, 21), np.full(20, 4)
    counts[MIN_SONGS:] = 0
    sums[MIN_SONGS:] = 0
    assert ratio_interval(sums, counts) == ratio_interval(sums[:MIN_SONGS], counts[:MIN_SONGS])
    counts[0] = 0
    assert ratio_interval(sums, counts) is None


def test_the_unit_of_the_losses_and_of_the_counts_does_not_matter():
    sums, counts = np.arange(1.0, 13), np.arange(20, 8, -1)
    low, high = ratio_interval(sums, counts) or (0.0, 0.0)
    assert ratio_interval(8 * sums, 2 * counts) == pytest.approx((4 * low, 4 * high))
    assert 0 < low < sums.sum() / counts.sum() < high


def test_equal_losses_give_an_interval_of_width_zero():
    counts = np.arange(1, 11)
    assert ratio_interval(0.5 * counts, counts) == pytest.approx((0.5, 0.5))


def test_an_interval_of_losses_that_are_all_one_songs_is_not_invented():
    assert ratio_interval(np.array([5.0] + [0.0] * 9), np.ones(10)) is None


@pytest.mark.parametrize(
    ("degrees", "expected"), [(2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_students_quantiles_are_those_of_the_tables(degrees, expected):
    assert student_quantile(degrees) == pytest.approx(expected, rel=0.01)
