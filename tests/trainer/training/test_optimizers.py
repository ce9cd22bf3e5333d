import itertools

import pytest
import torch

from trainer.config import TrainConfig
from trainer.training.optimizers import Muon, lr_at, make_optimizers, orthogonalize, set_lr


def test_the_learning_rate_rises_to_its_peak_falls_and_ends_at_the_final_ratio():
    config = TrainConfig(steps=100, warmup_steps=10, lr=1.0, final_lr_ratio=0.1)
    rates = [lr_at(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == 1.0
    assert all(a < b for a, b in itertools.pairwise(rates[:11]))
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1)
    assert lr_at(500, config) == pytest.approx(0.1)


@pytest.mark.parametrize(("steps", "warmup_steps"), [(1, 0), (1, 5), (2, 1), (5, 5)])
def test_the_shortest_runs_have_a_learning_rate_too(steps, warmup_steps):
    config = TrainConfig(steps=steps, warmup_steps=warmup_steps, lr=1.0)
    assert all(0 < lr_at(step, config) <= 1 for step in range(steps))


def test_only_matrices_that_multiply_are_decayed(make_model):
    model = make_model(position_encoding="txl")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = (
        {names[id(parameter)] for parameter in group["params"]}
        for group in make_optimizers(model, TrainConfig(optimizer="adamw"))[0].param_groups
    )
    assert decayed | kept == set(names.values())
    assert "token_head.weight" in decayed
    assert "layers.0.attention.project_in.weight" in decayed
    assert {"embed.token.weight", "norm.weight", "layers.0.attention.positions.u"} <= kept
    assert not any("embed" in name or "norm" in name or "bias" in name for name in decayed)


def test_muon_has_the_matrices_of_the_layers_and_adamw_the_rest(make_model):
    model = make_model(position_encoding="t5", qk_norm=True)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    adamw, muon = make_optimizers(model, TrainConfig(optimizer="muon"))
    decayed, plain, stacked, single = (
        {names[id(parameter)] for parameter in group["params"]}
        for group in (*adamw.param_groups, *muon.param_groups)
    )
    assert decayed | plain | stacked | single == set(names.values())
    assert stacked == {f"layers.{n}.attention.project_in.weight" for n in (0, 1)}
    assert {name.removeprefix("layers.0.") for name in single if "layers.0" in name} == {
        "attention.project_out.weight",
        "mlp.project_in.weight",
        "mlp.project_out.weight",
    }
    assert decayed == {"token_head.weight", "instrument_head.project.weight"}
    assert "layers.0.attention.positions.bias" in plain


@pytest.mark.parametrize("step", [3, 50])
def test_gates_of_the_knn_memory_follow_the_schedule_at_their_own_learning_rate(make_model, step):
    model = make_model(layers=3, knn=True)
    gate, other = model.neighbours.gate, model.norm.weight
    schedule = {"steps": 100, "warmup_steps": 5, "final_lr_ratio": 0.0}
    config = TrainConfig(optimizer="adamw", lr=1e-3, gate_lr=0.05, **schedule)
    (adamw,) = make_optimizers(model, config)
    before = gate.detach().clone(), other.detach().clone()
    gate.grad, other.grad = torch.ones_like(gate), torch.ones_like(other)
    set_lr(adamw, lr_at(step, config))
    adamw.step()  # AdamW's first moves by the learning rate
    share = lr_at(step, config) / config.lr
    assert torch.allclose(before[0] - gate, torch.tensor(0.05 * share), rtol=1e-3, atol=1e-6)
    assert torch.allclose(before[1] - other, torch.tensor(1e-3 * share), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6)])
def test_orthogonalize_keeps_the_singular_vectors_and_evens_the_values(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalize(matrices)
    for matrix, result in zip(matrices, found, strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        in_its_axes = left.T @ result @ right.T
        assert torch.allclose(in_its_axes, in_its_axes.diagonal().diag(), atol=1e-4)
        assert ((in_its_axes.diagonal() > 0.6) & (in_its_axes.diagonal() < 1.25)).all()
        assert values.max() / values.min() > 2


def test_a_muon_step_written_out():
    """Momentum, Nesterov's lookahead, each stacked matrix by itself, then weight decay."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.nn.Parameter(torch.randn(6, 4, generator=generator))
    optimizer = Muon([{"params": [matrix], "stacked": 3}], lr=0.1, weight_decay=0.5)
    momentum, expected = torch.zeros(6, 4), matrix.detach().clone()
    for _ in range(3):
        gradient = torch.randn(6, 4, generator=generator)
        momentum = 0.95 * momentum + 0.05 * gradient
        wanted = 0.05 * gradient + 0.95 * momentum
        update = torch.cat([orthogonalize(part[None])[0] for part in wanted.split(2)])
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 4**0.5 * update
        matrix.grad = gradient
        optimizer.step()
    assert torch.allclose(matrix, expected, atol=1e-5)
