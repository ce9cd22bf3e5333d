"""One attention over memory and block.

Conventions
    B lanes, T tokens in a block, M tokens in the memory, K = M + T keys
    C model width, H heads, E = C / H head width
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from trainer.positions import SCHEMES


class Attention(nn.Module):
    """Multi-head attention of a block's tokens over the memory and the block itself.

    Args:
        width: C.
        heads: H; divides C.
        positions: name in `trainer.positions.SCHEMES`.
        dropout: share of attention weights dropped in training.
    """

    def __init__(self, width: int, heads: int, positions: str, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.project_in = nn.Linear(width, 3 * width, bias=False)
        self.positions = SCHEMES[positions](width, heads)
        self.project_out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Tensor, past_keys: Tensor, past_values: Tensor, mask: Tensor, table: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend.

        Args:
            x: shape (B, T, C).
            past_keys, past_values: the layer's memory, shape (B, H, M, E).
            mask: shape (B, 1, T, K), bool, True where a query sees a key.
            table: the position scheme's, for K keys.

        Returns:
            The result, shape (B, T, C); and all keys, before rotation, and values, each shape
            (B, H, K, E), for the memory to pick from.
        """
        queries, keys, values = rearrange(
            self.project_in(x), "b t (three h e) -> three b h t e", three=3, h=self.heads
        ).unbind()
        keys = torch.cat([past_keys.to(keys.dtype), keys], dim=2)
        values = torch.cat([past_values.to(values.dtype), values], dim=2)
        queries, placed_keys, bias = self.positions(queries, keys, table)
        if bias is not None:
            mask = bias.masked_fill(~mask, -torch.inf).to(queries.dtype)
        mixed = functional.scaled_dot_product_attention(
            queries,
            placed_keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.project_out(rearrange(mixed, "b h t e -> b t (h e)")), keys, values
