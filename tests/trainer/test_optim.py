import itertools

import pytest

from trainer.config import TrainConfig
from trainer.optim import make_optimizers, rate


def test_the_rate_rises_to_its_peak_falls_and_ends_at_the_final_share():
    config = TrainConfig(steps=100, warmup=10, learning_rate=1.0, final_rate=0.1)
    rates = [rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1)
    assert rate(500, config) == pytest.approx(0.1)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0), (1, 5), (2, 1), (5, 5)])
def test_the_shortest_runs_have_a_rate_too(steps, warmup):
    config = TrainConfig(steps=steps, warmup=warmup, learning_rate=1.0)
    assert all(0 < rate(step, config) <= 1 for step in range(steps))


def test_only_matrices_that_multiply_are_decayed(make_model):
    model = make_model(positions="txl")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = (
        {names[id(parameter)] for parameter in group["params"]}
        for group in make_optimizers(model, TrainConfig())[0].param_groups
    )
    assert decayed | kept == set(names.values())
    assert "token_head.weight" in decayed
    assert "layers.0.attention.project_in.weight" in decayed
    assert {"embed.token.weight", "norm.weight", "layers.0.attention.positions.u"} <= kept
    assert not any("embed" in name or "norm" in name or "bias" in name for name in decayed)
