"""One attention over memory and block.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H heads, E = C / H head width
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from trainer.model.linear import Linear
from trainer.model.position_encoding import SCHEMES

Recall = Callable[[Tensor, Tensor], Tensor]
"""What is remembered beyond the memory: takes queries, before rotation, and what they found in
memory and block, both shape (B, H, T, E); returns what to make of it, of the same shape."""


class Attention(nn.Module):
    """Multi-head attention of a block's tokens over the memory and the block itself.

    Args:
        width: C.
        heads: H; divides C.
        positions: name in `trainer.model.position_encoding.SCHEMES`.
        dropout: share of attention weights dropped in training.
        qk_norm: bring queries and keys to length 1, times what each head learns.
    """

    def __init__(
        self, width: int, heads: int, positions: str, dropout: float, *, qk_norm: bool = False
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project_in = Linear(width, 3 * width, bias=False)
        self.sharpness = QueryKeyNorm(heads, width // heads) if qk_norm else None
        self.positions = SCHEMES[positions](width, heads)
        self.project_out = Linear(width, width, bias=False)

    def forward(
        self,
        x: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
        mask: Tensor,
        table: Any,
        recall: Recall | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: shape (B, T, C).
            past_keys, past_values: the layer's memory, shape (B, H, M, E).
            mask: shape (B, 1, T, K), bool, True where a query sees a key.
            table: the position scheme's, for K keys.
            recall: where there is more to remember than the memory holds.

        Returns:
            The result, shape (B, T, C); and all keys, before rotation, and values, each shape
            (B, H, K, E), for the memory to pick from.
        """
        queries, keys, values = self.project(x)
        keys = torch.cat([past_keys.to(keys.dtype), keys], dim=2)
        values = torch.cat([past_values.to(values.dtype), values], dim=2)
        placed_queries, placed_keys, bias = self.positions(queries, keys, table)
        if bias is not None:
            mask = torch.where(mask, bias, -torch.inf).to(queries.dtype)
        mixed = functional.scaled_dot_product_attention(
            placed_queries,
            placed_keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        if recall is not None:
            mixed = recall(queries, mixed)
        return self.project_out(rearrange(mixed, "b h t e -> b t (h e)")), keys, values

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of a block's tokens, (B, T, C) -> (B, H, T, E) each."""
        queries, keys, values = rearrange(
            self.project_in(x), "b t (three h e) -> three b h t e", three=3, h=self.heads
        ).unbind()
        if self.sharpness is not None:
            queries, keys = self.sharpness(queries, keys)
        return queries, keys, values


class QueryKeyNorm(nn.Module):
    """Queries and keys of root mean square 1, and how sharply each head looks, which it learns.

    Scores can then not grow without bound, and a head's temperature is one number.

    Source: Henry et al. 2020, Query-Key Normalization. https://arxiv.org/abs/2010.04245
    """

    def __init__(self, heads: int, head_width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(heads, 1, head_width))

    def forward(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, T, E) each -> the same, same dtype."""
        size = (queries.shape[-1],)
        queries = functional.rms_norm(queries, size) * self.scale
        return queries.to(keys.dtype), functional.rms_norm(keys, size)
