"""oneDNN's products are torch's own, to rounding, and no row of them looks at another."""

import pytest
import torch
from torch.nn import functional

from trainer.model import linear
from trainer.model.linear import HAS_ONEDNN, LEAST_WORK, Linear

pytestmark = pytest.mark.usefixtures("onednn")


def made(inputs, outputs, *, bias):
    torch.manual_seed(0)
    return Linear(inputs, outputs, bias=bias)


def graph(node):
    """Names of all that the gradient goes through."""
    yield node.name()
    for before, _ in node.next_functions:
        if before is not None:
            yield from graph(before)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(2, 40, 24), (80, 24), (2, 2, 20, 24)])
def test_product_and_gradients_are_those_of_torch(shape, bias):
    layer, own = made(24, 56, bias=bias), made(24, 56, bias=bias).double()
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


def test_no_row_looks_at_another():
    layer, x = made(64, 96, bias=True), torch.randn(128, 64)
    spoilt = x.clone()
    spoilt[:64] = torch.nan
    assert torch.equal(layer(x)[64:], layer(spoilt)[64:])


def test_products_of_a_batch_are_those_of_torch():
    a, b = torch.randn(3, 32, 24), torch.randn(3, 40, 24)
    torch.testing.assert_close(linear.times_transposed(a, b), a @ b.mT)
    torch.testing.assert_close(linear.times_transposed(a, b.mT.contiguous().mT), a @ b.mT)


def test_small_products_and_what_is_not_fp32_are_left_to_torch(monkeypatch):
    def never(*_):
        raise AssertionError("oneDNN was asked")

    monkeypatch.setattr(linear, "product", never)
    layer = made(24, 56, bias=True)
    layer.double()(torch.randn(80, 24, dtype=torch.float64))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert made(24, 56, bias=True)(torch.randn(80, 24)).dtype == torch.bfloat16
    monkeypatch.setattr(linear, "LEAST_WORK", LEAST_WORK)
    rows = LEAST_WORK // (32 * 64)
    layer = made(32, 64, bias=False)
    layer(torch.randn(rows - 1, 32))
    linear.times_transposed(torch.randn(2, rows - 1, 32), torch.randn(2, 64, 32))
    if HAS_ONEDNN:
        with pytest.raises(AssertionError, match="was asked"):
            layer(torch.randn(rows, 32))
