"""Attention of a block's tokens over memory and block.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H attention heads, E = C / H head width
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask

from trainer.model import flex
from trainer.model.linear import Linear
from trainer.model.position_encoding import SCHEMES

Retrieve = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Mixes in what the kNN memory holds: takes the block's queries and keys, before rotation, and the
result of attention over memory and block, and returns the mixture; each of shape (B, H, T, E)."""


class Attention(nn.Module):
    """Multi-head attention over the memory and the block itself.

    Args:
        width: C.
        heads: H; divides C.
        position_encoding: name in `trainer.model.position_encoding.SCHEMES`.
        qk_norm: normalize queries and keys.
        value_residual: mix the first layer's values into this layer's, by two learned weights.

    Sources
        value_residual  Zhou et al. 2024, Value Residual Learning. https://arxiv.org/abs/2410.17897
    """

    def __init__(
        self,
        width: int,
        heads: int,
        position_encoding: str,
        *,
        qk_norm: bool,
        value_residual: bool,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.value_mix = nn.Parameter(torch.full((2,), 0.5)) if value_residual else None
        self.project_in = Linear(width, 3 * width, bias=False)
        self.qk_norm = QueryKeyNorm(heads, width // heads) if qk_norm else None
        self.positions = SCHEMES[position_encoding](width, heads)
        self.project_out = Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        mask: Tensor | BlockMask,
        table: Any,
        first_values: Tensor | None = None,
        retrieve: Retrieve | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: shape (B, T, C).
            past_keys, past_values: the layer's memory, shape (B, H, M, E).
            mask: shape (B, 1, T, K), bool, True where a query attends to a key; or the same as
                tiles, of `trainer.model.flex`, without a position encoding that has a bias.
            table: the position encoding's, for K keys and the places of the block.
            first_values: the first layer's values of the block, shape (B, H, T, E); None there.
            retrieve: of the layer that uses the kNN memory.

        Returns:
            The result, shape (B, T, C); and all keys, as they are compared with queries, and
            values, each of shape (B, H, K, E), for the next memory.
        """
        queries, keys, values = self.project(x, first_values)
        encoded_queries, encoded_keys, bias = self.positions(queries, keys, table)
        all_keys = torch.cat([past_keys.to(values.dtype), encoded_keys.to(values.dtype)], dim=2)
        all_values = torch.cat([past_values.to(values.dtype), values], dim=2)
        encoded_queries = encoded_queries.to(values.dtype)
        if encoded_queries.is_cuda:
            encoded_queries = token_major(encoded_queries)
        if isinstance(mask, Tensor):
            if bias is not None:
                mask = torch.where(mask, bias, -torch.inf).to(values.dtype)
            mixed = functional.scaled_dot_product_attention(
                encoded_queries, all_keys, all_values, attn_mask=mask
            )
        else:
            mixed = flex.attend(encoded_queries, all_keys, all_values, mask)
        if retrieve is not None:
            mixed = retrieve(queries, keys, mixed)
        return self.project_out(rearrange(mixed, "b h t e -> b t (h e)")), all_keys, all_values

    def project(
        self, x: Tensor, first_values: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a block's tokens, (B, T, C) -> (B, H, T, E) each."""
        queries, keys, values = rearrange(
            self.project_in(x), "b t (three h e) -> three b h t e", three=3, h=self.heads
        ).unbind()
        if self.value_mix is not None and first_values is not None:
            values = self.value_mix[0] * values + self.value_mix[1] * first_values
            values = values.to(keys.dtype)
        if self.qk_norm is not None:
            queries, keys = self.qk_norm(queries, keys)
        return queries, keys, values


def token_major(x: Tensor) -> Tensor:
    """The same (B, H, T, E), laid out as (B, T, H, E) is.

    Attention kernels of a GPU give their result the layout of the queries, and in this one it goes
    into the next product, and its gradient comes back, without a copy.
    """
    return x.transpose(1, 2).contiguous().transpose(1, 2)


class QueryKeyNorm(nn.Module):
    """Normalizes queries and keys to root mean square 1, and scales queries by a learned vector.

    The norm bounds the logits; the vector, one per head, says how sharply the head attends.

    Source: Henry et al. 2020, Query-Key Normalization, who use L2 norms and one learned number.
        https://arxiv.org/abs/2010.04245
    """

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.ones(heads, 1, head_width))

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, T, E) each -> the same, same dtype."""
        size = (queries.shape[-1],)
        queries = functional.rms_norm(queries, size) * self.logit_scale
        return queries.to(keys.dtype), functional.rms_norm(keys, size)
