"""Matrix products by the faster library: in fp32 on a CPU, that is oneDNN.

torch multiplies fp32 matrices on a CPU by MKL, whose fast kernels are for Intel CPUs only: on an
AMD EPYC with AVX-512 it reaches 103 GFLOP/s per core, and oneDNN, which torch includes as well, 230
(2,048 x 384 by 384 x 1,536). Everywhere else, and in bf16, torch's own choice is good.

Conventions
    N rows, C input features, D output features
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn,
    "_linear_pointwise",  # private: a later torch may lack it
)
"""A constant, because torch.compile cannot trace the check."""

MIN_WORK = 1 << 22
"""Multiplications, N C D, below which calling oneDNN through Python costs more than it saves."""


class Linear(nn.Linear):
    """`nn.Linear` that uses oneDNN where it is faster; checkpoints are interchangeable."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, D)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b: a faster `functional.linear`.

    Args:
        x: shape (…, C).
        weight: shape (D, C).
        bias: shape (D,), or None.
    """
    if not prefers_onednn(x, len(weight)):
        return functional.linear(x, weight, bias)
    return onednn_linear(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


def matmul_transposed(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ for each of a batch of matrices, (S, N, C) and (S, D, C) -> (S, N, D); no gradient."""
    if not prefers_onednn(a[0], b.shape[1]):
        return a @ b.mT
    if len(a) == 1:  # stacking would copy it
        return onednn_linear(a[0], b[0], None)[None]
    return torch.stack([onednn_linear(left, right, None) for left, right in zip(a, b, strict=True)])


def prefers_onednn(x: Tensor, columns: int) -> bool:
    """Whether oneDNN is available and faster for x Wᵀ with D = `columns`."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and HAS_ONEDNN
        and x.numel() * columns >= MIN_WORK
        and not torch.is_autocast_enabled("cpu")
    )


@torch.library.custom_op("lakhxl::onednn_linear", mutates_args=())
def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b by oneDNN, (N, C) and (D, C) -> (N, D); any strides.

    Wrapped in a custom operator: torch.compile takes the private one for part of a frozen model,
    whose weights are constants.
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@onednn_linear.register_fake
def _shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _save_inputs(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy W, dW = dyᵀ x, db = sum of dy."""
    x, weight = ctx.saved_tensors
    needs_x, needs_weight, needs_bias = ctx.needs_input_grad
    return (
        onednn_linear(grad, weight.t(), None) if needs_x else None,
        onednn_linear(grad.t(), x.t(), None) if needs_weight else None,
        grad.sum(0) if needs_bias else None,
    )


onednn_linear.register_autograd(_backward, setup_context=_save_inputs)
