import numpy as np
import pytest

from trainer.judging.distances import compare, overlap, wasserstein


def values(seed, size, *, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).normal(size=size)


def test_wasserstein_of_as_many_values_is_the_mean_difference_in_order():
    first, second = values(0, 50), values(1, 50, shift=0.3)
    expected = np.abs(np.sort(first) - np.sort(second)).mean()
    assert wasserstein(first, second) == pytest.approx(expected)


def test_wasserstein_does_not_change_when_every_value_is_there_three_times():
    first, second = values(0, 20), values(1, 31)
    assert wasserstein(np.repeat(first, 3), second) == pytest.approx(wasserstein(first, second))


def test_histograms_of_the_same_values_overlap_wholly_and_far_ones_not_at_all():
    first = values(0, 40)
    assert overlap(first, first) == pytest.approx(1)
    assert overlap(first, first + 1000) == 0
    assert overlap(np.ones(3), np.ones(5)) == 1
    assert overlap(np.array([0.0, 1.0]), np.array([0.0, 0.0])) == 0.5


def test_songs_of_the_same_kind_are_as_far_as_held_out_songs_are_and_others_stand_out():
    held_out = values(0, 80)
    same, other = compare(values(1, 40), held_out), compare(values(1, 40, shift=1), held_out)
    assert same.distance.mean == pytest.approx(same.usual_distance.mean, abs=0.1)
    assert not same.stands_out
    assert other.stands_out
    assert other.distance.mean == pytest.approx(1, abs=0.25)
    assert other.overlap.mean < same.overlap.mean


def test_another_unit_changes_nothing():
    samples, held_out = values(1, 30, shift=0.5), values(0, 60)
    scaled = compare(samples * 7, held_out * 7)
    assert scaled.distance.mean == pytest.approx(compare(samples, held_out).distance.mean)


def test_songs_without_a_value_do_not_count():
    samples, held_out = values(1, 30), values(0, 60)
    holes = np.full(5, np.nan)
    assert compare(np.append(samples, holes), np.append(held_out, holes)) == compare(
        samples, held_out
    )
    assert compare(holes, held_out) is None
    assert compare(samples, held_out[:1]) is None
