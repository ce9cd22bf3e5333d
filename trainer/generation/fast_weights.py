"""A model for sampling, with its matrices in eight bits on a CPU, or in bf16 on a GPU.

Sampling one token reads every weight once, so it takes as long as reading them takes. Each row of a
matrix has a scale of its own. Up to 4 rows of inputs are multiplied in bf16, more in eight bits.

    product of 512 by 2,048, microseconds on one core of an Intel Xeon with AMX
    rows                        1     4    16
    float32                   232   399   570
    int8, inputs in bf16       71   126   479
    int8, inputs too          133   133   178
"""

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.transformer import TransformerXL

HIGHEST = 127
SMALLEST = torch.finfo(torch.float32).tiny


FEW_ROWS = 4
ZERO = 128
"""What stands for 0 in eight-bit inputs. They are unsigned, as VNNI instructions take them: without
AMX, a product of 5 signed rows by 512 x 2,048 takes 110 ms, of unsigned ones 0.12."""

HAS_PRODUCTS = hasattr(torch, "_weight_int8pack_mm") and hasattr(
    torch.ops.onednn,
    "qlinear_pointwise",  # both private: a later torch may lack them
)


def is_fast(device: torch.device) -> bool:
    """Whether products of eight-bit numbers are fast: on CPUs with instructions for them."""
    return device.type == "cpu" and HAS_PRODUCTS and torch.cpu._is_vnni_supported()


@cache
def is_exact() -> bool:
    """Whether oneDNN adds products of eight-bit numbers exactly: without VNNI, in 16 bits, not."""
    weight, ones = torch.full((32, 64), HIGHEST, dtype=torch.int8), torch.ones(32)
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    inputs = torch.full((8, 64), ZERO + HIGHEST, dtype=torch.uint8), 1.0, ZERO
    weights = packed, ones, torch.zeros(32, dtype=torch.int8), None
    output = (1.0, 0, torch.float32, "none", [], "")
    found = torch.ops.onednn.qlinear_pointwise(*inputs, *weights, *output)
    return bool((found == 64 * HIGHEST**2).all())


class Int8Linear(nn.Module):
    """A linear layer whose weights have eight bits; it cannot be trained.

    Args:
        linear: what it stands for.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        self._scales = weight.abs().amax(dim=1).clamp(min=SMALLEST) / HIGHEST
        self._weight = (weight / self._scales[:, None]).round().to(torch.int8)
        self._half_scales = self._scales.bfloat16()
        self._zeros = torch.zeros_like(self._scales, dtype=torch.int8)
        self._packed = torch.ops.onednn.qlinear_prepack(self._weight, None)
        self._bias = None if linear.bias is None else linear.bias.detach().float()

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, D), fp32."""
        rows = x.reshape(-1, x.shape[-1])
        product = self._few if rows.shape[0] <= FEW_ROWS or not is_exact() else self._many
        y = product(rows).view(*x.shape[:-1], -1)
        return y if self._bias is None else y + self._bias

    def _few(self, x: Tensor) -> Tensor:
        multiply = torch._weight_int8pack_mm  # pyright: ignore[reportPrivateImportUsage]
        return multiply(x.bfloat16(), self._weight, self._half_scales).float()

    def _many(self, x: Tensor) -> Tensor:
        scales = x.abs().amax(dim=1, keepdim=True).float().clamp(min=SMALLEST) / HIGHEST
        rounded = ((x / scales).round() + ZERO).to(torch.uint8)
        inputs = (rounded, 1.0, ZERO, self._packed, self._scales, self._zeros, None)
        output = (1.0, 0, torch.float32, "none", [], "")
        return scales * torch.ops.onednn.qlinear_pointwise(*inputs, *output)


class Bf16Linear(nn.Module):
    """A linear layer in bf16, as training on a GPU computes it; it cannot be trained.

    Args:
        linear: what it stands for.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._weight = linear.weight.detach().bfloat16()
        self._bias = None if linear.bias is None else linear.bias.detach().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, D), bf16."""
        return functional.linear(x.bfloat16(), self._weight, self._bias)


def stored_dtype(model: TransformerXL) -> torch.dtype:
    """The dtype of the keys and values that are kept: bf16 beside other weights than fp32."""
    layer = model.token_head
    is_int8 = isinstance(layer, Int8Linear) and torch.cpu._is_avx512_bf16_supported()
    is_bf16 = is_int8 or isinstance(layer, Bf16Linear)
    return torch.bfloat16 if is_bf16 else model.norm.weight.dtype


def for_sampling(model: TransformerXL, weights: str = "auto") -> TransformerXL:
    """The model as songs are sampled with; the given one is not changed.

    Args:
        model: in evaluation mode.
        weights: a setting of `SampleConfig`; auto: int8 where that is fast, bfloat16 on GPUs.
    """
    device = model.norm.weight.device
    if weights == "auto":
        is_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        weights = "int8" if is_fast(device) else "bfloat16" if is_bf16 else "float32"
    if weights == "float32":
        return model
    kind = Int8Linear if weights == "int8" else Bf16Linear
    shared: dict[int, object] = {id(weight): weight for weight in model.parameters()}
    sampled = copy.deepcopy(model, shared)  # the others stay where they are
    for module in [*sampled.modules()]:
        for name, child in [*module.named_children()]:
            if isinstance(child, nn.Linear):
                setattr(module, name, kind(child))
    return sampled
