import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from trainer.evaluation.token_loss import score_songs
from trainer.generation.fast_weights import FEW_ROWS, Int8Linear, for_sampling, is_fast

needs_fast = pytest.mark.skipif(
    not is_fast(torch.device("cpu")), reason="needs a CPU with products of eight-bit numbers"
)


@needs_fast
@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_a_product_is_off_by_what_rounding_can_do_at_most(rows, bias):
    generator = torch.Generator().manual_seed(0)
    linear = nn.Linear(64, 32, bias=bias)
    linear.weight.data[3] = 0.0
    linear.weight.data[4] *= 1000  # has a scale of its own
    x = torch.randn(rows, 2, 64, generator=generator)[:, :1]
    x[0] *= 1000
    exact, found = linear(x), Int8Linear(linear)(x)
    sizes = functional.linear(x.abs(), linear.weight.abs())
    bound = x.abs().sum(-1, keepdim=True) * linear.weight.abs().amax(1) / 127 / 2
    if rows <= FEW_ROWS:
        bound = bound + 3 * 2**-8 * sizes  # of inputs, scales and the sum, in bf16
    else:
        bound = bound + linear.weight.abs().sum(1) * x.abs().amax(-1, keepdim=True) / 127 / 2
    assert ((exact - found).abs() <= 1.1 * bound + 1e-5).all()


@pytest.mark.parametrize("weights", [pytest.param("int8", marks=needs_fast), "bfloat16"])
def test_the_loss_stays(make_model, twin, weights):
    model = make_model(velocity_head=True, d_model=32)
    losses = [
        score_songs(each, twin, np.arange(6), lanes=3, block_size=16).total.mean()
        for each in (model, for_sampling(model, weights))
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


@needs_fast
def test_the_model_itself_stays_as_it_was(make_model):
    model = make_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sampled = for_sampling(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(isinstance(module, Int8Linear) for module in model.modules())
    assert not any(isinstance(module, nn.Linear) for module in sampled.modules())
    assert sampled.embed.token.weight is model.embed.token.weight


def test_where_it_would_not_be_fast_the_model_is_taken_as_it_is(make_model, monkeypatch):
    model = make_model()
    assert for_sampling(model, "float32") is model
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert for_sampling(model, "auto") is model


SATURATING = """
import torch
from torch import nn
from trainer.generation.fast_weights import Int8Linear

linear = nn.Linear(512, 64, bias=False).requires_grad_(False)
linear.weight.fill_(0.1)
inputs = torch.ones(16, 512)
assert torch.allclose(Int8Linear(linear)(inputs), linear(inputs), rtol=0.01)
"""


@needs_fast
@pytest.mark.parametrize("most", ["AVX2", "AVX512_CORE", "DEFAULT"])
def test_sums_are_right_without_the_instructions_too(most):
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": most}
    subprocess.run([sys.executable, "-c", SATURATING], env=environment, check=True)
