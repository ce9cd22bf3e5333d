import numpy as np
import pytest

from trainer.judging.distances import compare, overlap, wasserstein


def values(seed, size, *, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).normal(size=size)


def test_wasserstein_of_equal_sizes_is_the_mean_difference_of_sorted_values():
    first, second = values(0, 50), values(1, 50, shift=0.3)
    expected = np.abs(np.sort(first) - np.sort(second)).mean()
    assert wasserstein(first, second) == pytest.approx(expected)


def test_repeating_every_value_does_not_change_wasserstein():
    first, second = values(0, 20), values(1, 31)
    assert wasserstein(np.repeat(first, 3), second) == pytest.approx(wasserstein(first, second))


def test_equal_histograms_overlap_fully_and_disjoint_ones_not_at_all():
    first = values(0, 40)
    assert overlap(first, first) == pytest.approx(1)
    assert overlap(first, first + 1000) == 0
    assert overlap(np.ones(3), np.ones(5)) == 1
    assert overlap(np.array([0.0, 1.0]), np.array([0.0, 0.0])) == 0.5


def test_only_samples_of_another_distribution_exceed_the_reference():
    held_out = values(0, 80)
    same, other = compare(values(1, 40), held_out), compare(values(1, 40, shift=1), held_out)
    assert same is not None
    assert other is not None
    assert same["reference_distance"] is not None
    reference = same["reference_distance"]["mean"]
    assert same["distance"]["mean"] == pytest.approx(reference, abs=0.1)
    assert not same["exceeds_reference"]
    assert other["exceeds_reference"]
    assert other["distance"]["mean"] == pytest.approx(1, abs=0.25)
    assert other["overlap"]["mean"] < same["overlap"]["mean"]


def test_few_held_out_songs_are_no_reference():
    samples = values(1, 40, shift=9)
    for songs, is_enough in ((2, False), (15, False), (16, True)):
        found = compare(samples, values(0, songs))
        assert found is not None
        assert (found["reference_distance"] is not None) == is_enough
        assert found["exceeds_reference"] == is_enough


def test_the_distance_does_not_depend_on_the_unit():
    samples, held_out = values(1, 30, shift=0.5), values(0, 60)
    plain, scaled = compare(samples, held_out), compare(samples * 7, held_out * 7)
    assert plain is not None
    assert scaled is not None
    assert scaled["distance"]["mean"] == pytest.approx(plain["distance"]["mean"])


def test_undefined_values_are_left_out():
    samples, held_out = values(1, 30), values(0, 60)
    undefined = np.full(5, np.nan)
    assert compare(np.append(samples, undefined), np.append(held_out, undefined)) == compare(
        samples, held_out
    )
    assert compare(undefined, held_out) is None
    assert compare(samples, held_out[:1]) is None
