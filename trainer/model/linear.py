"""Matrix products by the library that is faster: oneDNN, on a CPU and in fp32.

torch multiplies fp32 matrices on a CPU by MKL, which keeps its fast kernels for Intel's own: on an
AMD EPYC with AVX-512 it reaches 103 GFLOP/s on a core and oneDNN, which torch carries as well, 230
(2,048 x 384 by 384 x 1,536). Everywhere else, and in bf16, torch chooses well by itself.

Conventions
    N rows, C columns in, D columns out
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HAS_ONEDNN = torch.backends.mkldnn.is_available()
"""Asked once: torch.compile cannot see through the question."""

LEAST_WORK = 1 << 22
"""Multiplications, N C D, below which going to oneDNN by way of Python costs more than it saves."""


class Linear(nn.Linear):
    """`nn.Linear`, with `linear` for the product; the same parameters by the same names."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, D)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b, as `functional.linear`, which says it slower.

    Args:
        x: shape (…, C).
        weight: shape (D, C).
        bias: shape (D,), or None.
    """
    if not suits(x, len(weight)):
        return functional.linear(x, weight, bias)
    return product(x.flatten(0, -2), weight, bias).unflatten(0, x.shape[:-1])


def times_transposed(a: Tensor, b: Tensor) -> Tensor:
    """a bᵀ for each of a batch of matrices, (S, N, C) and (S, D, C) -> (S, N, D); no gradient."""
    if not suits(a[0], b.shape[1]):
        return a @ b.mT
    if len(a) == 1:  # stacking would copy it
        return product(a[0], b[0], None)[None]
    return torch.stack([product(left, right, None) for left, right in zip(a, b, strict=True)])


def suits(x: Tensor, columns: int) -> bool:
    """Whether oneDNN is there, and the faster one for such a factor and so many columns out."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and HAS_ONEDNN
        and x.numel() * columns >= LEAST_WORK
        and not torch.is_autocast_enabled("cpu")
    )


@torch.library.custom_op("lakhxl::product", mutates_args=())
def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b by oneDNN, (N, C) and (D, C) -> (N, D); any strides.

    An operator of its own, for torch.compile takes the one inside for a frozen model's.
    """
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@product.register_fake
def _shape(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _gradient(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
    """dx = dy W, dW = dyᵀ x, db = sum of dy."""
    x, weight = ctx.saved_tensors
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad
    return (
        product(slope, weight.t(), None) if wants_x else None,
        product(slope.t(), x.t(), None) if wants_weight else None,
        slope.sum(0) if wants_bias else None,
    )


product.register_autograd(_gradient, setup_context=_keep)
