"""oneDNN's products equal torch's up to rounding, and no row depends on another."""

import pytest
import torch
from torch.nn import functional

from trainer.model import linear
from trainer.model.linear import HAS_ONEDNN, MIN_WORK, Linear

pytestmark = pytest.mark.usefixtures("onednn")


def make_linear(inputs, outputs, *, bias):
    torch.manual_seed(0)
    return Linear(inputs, outputs, bias=bias)


def graph(node):
    """Names of all nodes of an autograd graph."""
    yield node.name()
    for before, _ in node.next_functions:
        if before is not None:
            yield from graph(before)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 40, 24), (80, 24), (2, 2, 20, 24)])
def test_products_and_gradients_equal_those_of_torch(shape, bias):
    layer, own = make_linear(24, 56, bias=bias), make_linear(24, 56, bias=bias).double()
    x = torch.randn(shape, requires_grad=True)
    slope = torch.randn(*shape[:-1], 56)
    output = layer(x)
    assert any("lakhxl" in name for name in graph(output.grad_fn)) == HAS_ONEDNN
    output.backward(slope)
    x_own = x.detach().double().requires_grad_()
    expected = functional.linear(x_own, own.weight, own.bias)
    expected.backward(slope.double())
    pairs = [(output, expected), (x.grad, x_own.grad), (layer.weight.grad, own.weight.grad)]
    if bias:
        pairs.append((layer.bias.grad, own.bias.grad))
    for mine, exact in pairs:
        assert mine.shape == exact.shape
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=2e-5)


def test_no_row_depends_on_another():
    layer, x = make_linear(64, 96, bias=True), torch.randn(128, 64)
    spoilt = x.clone()
    spoilt[:64] = torch.nan
    assert torch.equal(layer(x)[64:], layer(spoilt)[64:])


def test_products_of_a_batch_equal_those_of_torch():
    a, b = torch.randn(3, 32, 24), torch.randn(3, 40, 24)
    torch.testing.assert_close(linear.matmul_transposed(a, b), a @ b.mT)
    torch.testing.assert_close(linear.matmul_transposed(a, b.mT.contiguous().mT), a @ b.mT)


def test_small_products_and_other_dtypes_use_torch(monkeypatch):
    def never(*_):
        raise AssertionError("oneDNN was used")

    monkeypatch.setattr(linear, "onednn_linear", never)
    layer = make_linear(24, 56, bias=True)
    layer.double()(torch.randn(80, 24, dtype=torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert make_linear(24, 56, bias=True)(torch.randn(80, 24)).dtype == torch.bfloat16
    monkeypatch.setattr(linear, "MIN_WORK", MIN_WORK)
    rows = MIN_WORK // (32 * 64)
    layer = make_linear(32, 64, bias=False)
    layer(torch.randn(rows - 1, 32))
    linear.matmul_transposed(torch.randn(2, rows - 1, 32), torch.randn(2, 64, 32))
    if HAS_ONEDNN:
        with pytest.raises(AssertionError, match="was used"):
            layer(torch.randn(rows, 32))
