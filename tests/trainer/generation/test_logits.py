import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.generation.logits import (
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    to_chances,
    with_temperature,
)

SCORES = st.lists(st.one_of(st.floats(-20, 20), st.just(-np.inf)), min_size=1, max_size=12).filter(
    lambda scores: max(scores) > -np.inf
)
STEPS = {
    "cold": lambda scores: with_temperature(scores, 0.5),
    "zero": lambda scores: with_temperature(scores, 0),
    "top_k": lambda scores: keep_top_k(scores, 3),
    "top_p": lambda scores: keep_top_p(scores, 0.7),
    "top_p 0": lambda scores: keep_top_p(scores, 0.0),
    "min_p": lambda scores: keep_min_p(scores, 0.2),
}


def kept(scores):
    return np.flatnonzero(np.isfinite(scores)).tolist()


@pytest.mark.parametrize("step", STEPS)
@given(scores=SCORES)
def test_a_step_only_takes_away_and_never_the_likeliest(step, scores):
    scores = np.array(scores)
    after = STEPS[step](scores)
    assert set(kept(after)) <= set(kept(scores))
    assert after.argmax() == scores.argmax()
    assert np.isfinite(after.max())


@given(scores=SCORES, k=st.integers(1, 15))
def test_top_k_keeps_k_and_none_less_likely_than_one_it_drops(scores, k):
    scores = np.array(scores)
    after = kept(keep_top_k(scores, k))
    dropped = [n for n in kept(scores) if n not in after]
    assert len(after) == min(k, len(kept(scores)))
    assert not dropped or scores[after].min() >= scores[dropped].max()


@given(scores=SCORES, p=st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_that_reach_it(scores, p):
    scores = np.array(scores)
    after, chances = kept(keep_top_p(scores, p)), to_chances(np.array(scores))
    assert chances[after].sum() >= p - 1e-9
    assert chances[after].sum() - chances[after].min() < p + 1e-9
    dropped = [n for n in kept(scores) if n not in after]
    assert not dropped or scores[after].min() >= scores[dropped].max()


@given(scores=SCORES, share=st.floats(0.01, 1.0))
def test_min_p_measures_by_the_likeliest(scores, share):
    chances = to_chances(np.array(scores))
    after = kept(keep_min_p(np.array(scores), share))
    clear = np.abs(chances / chances.max() - share) > 1e-9  # rounding decides the others
    expected = chances >= share * chances.max()
    assert all((n in after) == expected[n] for n in np.flatnonzero(clear).tolist())


@given(scores=SCORES, first=st.floats(0.1, 5), second=st.floats(0.1, 5))
def test_two_temperatures_are_their_product(scores, first, second):
    scores = np.array(scores)
    twice = with_temperature(with_temperature(scores, first), second)
    assert np.allclose(to_chances(twice), to_chances(with_temperature(scores, first * second)))


@given(scores=SCORES)
def test_nothing_asked_for_changes_nothing(scores):
    scores = np.array(scores)
    for same in (with_temperature(scores, 1.0), keep_top_k(scores, 0), keep_top_p(scores, 1.0)):
        assert np.array_equal(same, scores)
    assert np.array_equal(keep_min_p(scores, 0.0), scores)


def test_equal_chances_go_by_class():
    assert kept(keep_top_k(np.zeros(5), 2)) == [0, 1]
    assert kept(keep_top_p(np.zeros(4), 0.5)) == [0, 1]
    assert kept(with_temperature(np.zeros(3), 0)) == [0]


def test_each_class_is_as_wide_as_its_chance():
    chances = np.array([0.0, 2.0, 0.0, 1.0, 1.0, 0.0])  # of any sum
    assert [draw(chances, place) for place in (0.0, 0.49, 0.5, 0.74, 0.75, 0.999)] == [
        1, 1, 3, 3, 4, 4,
    ]  # fmt: skip
    assert draw(np.full(10, 0.1), np.nextafter(1, 0)) == 9
