"""One token of every lane through the model: what `TransformerXL.attend` computes, in few calls.

An operation on one token takes less time than calling it. So queries and keys are normalized and
rotated together, and where they are stored, and which of them are attended to, is the caller's.

Conventions
    B lanes, C model width, H attention heads, E head width
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from trainer.model.attention import Attention, Retrieve
from trainer.model.transformer import TransformerXL

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Stores a layer's new keys and values and attends to those stored: takes the number of the layer,
queries, keys and values, each of shape (B, H, E); returns the mixture, of the same shape."""


def one_token(
    model: TransformerXL,
    x: Tensor,
    table: tuple[Tensor, Tensor],
    attend: Attend,
    retrieve: tuple[int, Retrieve] | None = None,
) -> Tensor:
    """The normalized output of the last layer.

    Args:
        model: in evaluation mode, with rotary positions.
        x: the embedded token, shape (B, 1, C).
        table: of the rotation, for its place.
        attend: see `Attend`.
        retrieve: the layer that uses the kNN memory, and how; see `Attention.forward`.

    Returns:
        shape (B, 1, C).
    """
    cosines, sines = table
    turn = torch.cat([cosines, cosines], dim=-1), torch.cat([-sines, sines], dim=-1)
    first_values = None
    for number, layer in enumerate(model.layers):
        attention = layer.attention
        pair, values = _project(attention, layer.attention_norm(x), first_values)
        first_values = values if number == 0 else first_values
        queries, keys = _rotate(pair, *turn).unbind(1)
        mixed = attend(number, queries, keys, values)
        if retrieve is not None and retrieve[0] == number:
            given = (each[:, :, None] for each in (pair[:, 0], pair[:, 1], mixed))
            mixed = retrieve[1](*given)[:, :, 0]
        x = x + attention.project_out(mixed.flatten(1)[:, None])
        x = x + layer.mlp(layer.mlp_norm(x))
    return model.norm(x)


def _project(attention: Attention, x: Tensor, first_values: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `Attention.project`: queries beside keys, shape (B, 2, H, E), and values, (B, H, E)."""
    projected = attention.project_in(x).view(len(x), 3, attention.heads, -1)
    pair, values = projected[:, :2], projected[:, 2]
    mix = attention.value_mix
    if mix is not None and first_values is not None:
        values = (mix[0] * values + mix[1] * first_values).to(pair.dtype)
    if attention.qk_norm is not None:
        pair = functional.rms_norm(pair, pair.shape[-1:])
        pair[:, 0] *= attention.qk_norm.logit_scale[:, 0]
    return pair, values


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """As `position_encoding.rotate`, to the last bit, with half as many operations.

    Args:
        x: shape (B, 2, H, E).
        cosines, sines: twice those of the table; the first sines with a minus. Shape (…, E).
    """
    turned = x.roll(x.shape[-1] // 2, dims=-1) * sines
    return (x * cosines + turned).to(x.dtype)
