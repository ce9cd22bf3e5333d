import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

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
    assert decayed == {
        "token_head.weight",
        "instrument_head.mix.weight",
        "instrument_head.project.weight",
    }
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


@pytest.mark.parametrize("shape", [(5, 8), (4, 9), (6, 6)])
def test_orthogonalize_keeps_the_singular_vectors_and_evens_the_values(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalize(matrices)
    for matrix, result in zip(matrices, found, strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        in_its_axes = left.T @ result @ right.T
        assert torch.allclose(in_its_axes, in_its_axes.diagonal().diag(), atol=1e-4)
        assert ((in_its_axes.diagonal() > 0.6) & (in_its_axes.diagonal() < 1.25)).all()
        assert values.max() / values.min() > 2


def slow_direction(matrix):
    """One matrix by itself, as Jordan 2024 defines it; root mean square about 0.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    x = x if matrix.shape[0] <= matrix.shape[1] else x.T
    return 0.2 * max(matrix.shape) ** 0.5 * x


def slow_muon_step(matrix, momentum, gradient, *, stacked, lr, weight_decay):
    """Momentum, Nesterov's lookahead, each stacked matrix by itself, then weight decay."""
    momentum = 0.95 * momentum + 0.05 * gradient
    wanted = 0.05 * gradient + 0.95 * momentum
    update = torch.cat([slow_direction(part) for part in wanted.chunk(stacked)])
    return matrix * (1 - lr * weight_decay) - lr * update, momentum


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)], ids=["number", "tensor"])
def test_muon_equals_its_definition_one_matrix_at_a_time(lr):
    generator = torch.Generator().manual_seed(0)
    shapes = {(18, 6): 3, (6, 6): 1, (24, 6): 1, (6, 24): 1, (5, 7): 1}
    matrices = [
        (torch.nn.Parameter(torch.randn(shape, generator=generator)), stacked)
        for shape, stacked in shapes.items()
        for _ in range(2)
    ]
    groups = [
        {"params": [matrix for matrix, n in matrices if n == stacked], "stacked": stacked}
        for stacked in (3, 1)
    ]
    optimizer = Muon(groups, lr=lr, weight_decay=0.5)
    expected = [(matrix.detach().clone(), torch.zeros_like(matrix)) for matrix, _ in matrices]
    for step in range(4):
        for number, (matrix, stacked) in enumerate(matrices):
            matrix.grad = None
            if number == step:  # a matrix without a gradient stays as it is
                continue
            matrix.grad = torch.randn(matrix.shape, generator=generator)
            expected[number] = slow_muon_step(
                *expected[number], matrix.grad, stacked=stacked, lr=0.1, weight_decay=0.5
            )
        optimizer.step()
    for (matrix, _), (wanted, momentum) in zip(matrices, expected, strict=True):
        assert torch.allclose(matrix, wanted, atol=1e-6, rtol=1e-6)
        assert torch.allclose(optimizer.state[matrix]["momentum"], momentum, atol=1e-6)


def test_muon_takes_as_many_calls_for_many_layers_as_for_few(make_model):
    """Each call takes a GPU's host microseconds; views take none of the GPU."""
    calls = []
    for layers in (2, 6):
        model = make_model(layers=layers)
        _, muon = make_optimizers(model, TrainConfig(optimizer="muon"))
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        muon.step()  # makes the momenta
        with CountKernels() as counted:
            muon.step()
        calls.append(counted.calls - layers)  # queries, keys and values are joined in each layer
    assert calls[0] == calls[1]


class CountKernels(TorchDispatchMode):
    """Counts the operations that compute; views do not."""

    def __enter__(self):
        self.calls = 0
        return super().__enter__()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls += not function.is_view and "unsafe_view" not in str(function)
        return function(*args, **(kwargs or {}))
