import numpy as np
import pytest
import torch

from trainer.evaluation.dynamic import score_songs_dynamically
from trainer.evaluation.token_loss import score_songs


@pytest.fixture
def model(make_model):
    return make_model(velocity_head=True)


def score(model, twin, numbers, lr):
    return score_songs_dynamically(model, twin, np.array(numbers), block_size=16, lr=lr)


def test_without_learning_the_losses_are_those_of_fixed_weights(model, twin):
    fixed = score_songs(model, twin, np.arange(4), lanes=3, block_size=16)
    found = score(model, twin, range(4), 0.0)
    assert found.starts.tolist() == fixed.starts.tolist()
    assert found.heads.keys() == fixed.heads.keys()
    for name, losses in fixed.heads.items():
        assert np.allclose(found.heads[name], losses, atol=1e-5)


def test_the_first_block_of_a_song_is_scored_before_anything_is_learned(model, twin):
    fixed, learning = (score(model, twin, [2, 0], lr) for lr in (0.0, 0.1))
    for start in fixed.starts[:-1]:
        first, later = slice(start, start + 16), slice(start + 16, start + 32)
        assert np.array_equal(fixed.total[first], learning.total[first])
        assert not np.allclose(fixed.total[later], learning.total[later])


def test_a_song_is_scored_alike_whatever_comes_before_it(model, twin):
    alone, after = score(model, twin, [2], 0.1), score(model, twin, [0, 1, 2], 0.1)
    assert np.array_equal(alone.total, after.total[after.starts[2] :])


def test_the_weights_are_afterwards_what_they_were(model, twin, monkeypatch):
    before = [weight.detach().clone() for weight in model.parameters()]
    score(model, twin, [0], 0.1)

    def fail():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_songs_dynamically(model, twin, np.array([0]), block_size=16, lr=0.1, advance=fail)
    pairs = zip(before, model.parameters(), strict=True)
    assert all(torch.equal(old, new) for old, new in pairs)


def test_learning_helps_on_songs_that_repeat_themselves(model, twin):
    fixed, learning = (score(model, twin, [0, 2, 4], lr).total.sum() for lr in (0.0, 0.1))
    assert learning < 0.97 * fixed
