import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.generation.logits import (
    keep_min_p,
    keep_top_k,
    keep_top_p,
    sample,
    softmax,
    with_temperature,
)

LOGITS = st.lists(st.one_of(st.floats(-20, 20), st.just(-np.inf)), min_size=1, max_size=12).filter(
    lambda logits: max(logits) > -np.inf
)
FILTERS = {
    "cold": lambda logits: with_temperature(logits, 0.5),
    "zero": lambda logits: with_temperature(logits, 0),
    "coldest": lambda logits: with_temperature(logits, 5e-324),
    "top_k": lambda logits: keep_top_k(logits, 3),
    "top_p": lambda logits: keep_top_p(logits, 0.7),
    "top_p 0": lambda logits: keep_top_p(logits, 0.0),
    "min_p": lambda logits: keep_min_p(logits, 0.2),
}


def kept(logits):
    return np.flatnonzero(np.isfinite(logits)).tolist()


@pytest.mark.parametrize("name", FILTERS)
@given(logits=LOGITS)
def test_a_filter_only_removes_and_never_the_likeliest(name, logits):
    logits = np.array(logits)
    after = FILTERS[name](logits)
    assert set(kept(after)) <= set(kept(logits))
    assert after.argmax() == logits.argmax()
    assert np.isfinite(after.max())


@given(logits=LOGITS, k=st.integers(1, 15))
def test_top_k_keeps_k_and_none_less_likely_than_one_it_drops(logits, k):
    logits = np.array(logits)
    after = kept(keep_top_k(logits, k))
    dropped = [n for n in kept(logits) if n not in after]
    assert len(after) == min(k, len(kept(logits)))
    assert not dropped or logits[after].min() >= logits[dropped].max()


@given(logits=LOGITS, p=st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_that_sum_to_it(logits, p):
    logits = np.array(logits)
    after, probs = kept(keep_top_p(logits, p)), softmax(np.array(logits))
    assert probs[after].sum() >= p - 1e-9
    assert probs[after].sum() - probs[after].min() < p + 1e-9
    dropped = [n for n in kept(logits) if n not in after]
    assert not dropped or logits[after].min() >= logits[dropped].max()


@given(logits=LOGITS, ratio=st.floats(0.01, 1.0))
def test_min_p_is_relative_to_the_likeliest(logits, ratio):
    probs = softmax(np.array(logits))
    after = kept(keep_min_p(np.array(logits), ratio))
    clear = np.abs(probs / probs.max() - ratio) > 1e-9  # rounding decides the others
    expected = probs >= ratio * probs.max()
    assert all((n in after) == expected[n] for n in np.flatnonzero(clear).tolist())


@given(logits=LOGITS, first=st.floats(0.1, 5), second=st.floats(0.1, 5))
def test_two_temperatures_are_their_product(logits, first, second):
    logits = np.array(logits)
    twice = with_temperature(with_temperature(logits, first), second)
    assert np.allclose(softmax(twice), softmax(with_temperature(logits, first * second)))


@given(logits=LOGITS)
def test_neutral_settings_change_nothing(logits):
    logits = np.array(logits)
    for same in (with_temperature(logits, 1.0), keep_top_k(logits, 0), keep_top_p(logits, 1.0)):
        assert np.array_equal(same, logits)
    assert np.array_equal(keep_min_p(logits, 0.0), logits)


def test_ties_go_to_the_lower_class():
    assert kept(keep_top_k(np.zeros(5), 2)) == [0, 1]
    assert kept(keep_top_p(np.zeros(4), 0.5)) == [0, 1]
    assert kept(with_temperature(np.zeros(3), 0)) == [0]


def test_sampling_inverts_the_cumulative_distribution():
    probs = np.array([0.0, 2.0, 0.0, 1.0, 1.0, 0.0])  # of any sum
    assert [sample(probs, u) for u in (0.0, 0.49, 0.5, 0.74, 0.75, 0.999)] == [
        1, 1, 3, 3, 4, 4,
    ]  # fmt: skip
    assert sample(np.full(10, 0.1), np.nextafter(1, 0)) == 9


@pytest.mark.parametrize("name", FILTERS)
def test_rows_are_filtered_and_sampled_as_each_alone(name):
    random = np.random.default_rng(0)
    rows = random.normal(size=(7, 592)) * 3
    rows[random.random(rows.shape) < 0.3] = -np.inf
    together = FILTERS[name](rows)
    assert np.array_equal(together, [FILTERS[name](row) for row in rows])
    probs, u = softmax(together), random.random(7)
    assert np.array_equal(probs, [softmax(row) for row in together])
    assert sample(probs, u).tolist() == [int(sample(*each)) for each in zip(probs, u, strict=True)]
