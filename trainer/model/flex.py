"""Attention by segments with torch's FlexAttention: tiles without an allowed pair are skipped.

`trainer.model.memory.attention_mask` is the definition; here the same rule is evaluated tile by
tile, and within a tile only where it says yes and no. Needs torch.compile: as it is,
FlexAttention computes all scores and keeps them.

Conventions
    B lanes, H attention heads, E head width
    T queries, M keys in the memory, K = M + T keys; query t stands at key M + t
    a tile has TILE queries and TILE keys

Source: Dong et al. 2024, Flex Attention. https://arxiv.org/abs/2412.05496
"""

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

TILE = 128
"""Queries and keys of a tile, FlexAttention's own default."""

FROM_KEYS = 2048
"""Keys from which on it wins. On an H200, forward and backward, with T = M, 8 heads of 64: at 1,024
keys 0.73 ms against 0.71 of the dense mask; at 2,048, 12 heads, 2.41 against 3.14."""


def segment_mask(
    query_segment_ids: Tensor, memory_segment_ids: Tensor, window: int | None
) -> BlockMask:
    """The mask rule as tiles, made by a few operations on the device.

    Args:
        query_segment_ids: shape (B, T); T a multiple of TILE.
        memory_segment_ids: shape (B, M), likewise.
        window: as for `attention_mask`.
    """
    M, T = memory_segment_ids.shape[1], query_segment_ids.shape[1]
    keys = torch.cat([memory_segment_ids, query_segment_ids], dim=1)

    def is_allowed(lane: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = query + M - key
        allowed = (distance >= 0) & (query_segment_ids[lane, query] == keys[lane, key])
        return allowed if window is None else allowed & (distance < window)

    some, every = _tiles(query_segment_ids, keys, window)
    return BlockMask.from_kv_blocks(
        *_listed(some & ~every),
        *_listed(every),
        BLOCK_SIZE=TILE,
        mask_mod=is_allowed,
        seq_lengths=(T, M + T),
    )


def _tiles(queries: Tensor, keys: Tensor, window: int | None) -> tuple[Tensor, Tensor]:
    """Which tiles may have an allowed pair, and which have no other; each (B, T / TILE, K / TILE).

    Two tiles share a segment only if the ranges of their segment_ids overlap, whatever their order.
    """
    B, T, K = *queries.shape, keys.shape[1]
    query_low, query_high = queries.view(B, T // TILE, TILE).aminmax(dim=-1)
    key_low, key_high = keys.view(B, K // TILE, TILE).aminmax(dim=-1)
    is_same = (query_low[:, :, None] <= key_high[:, None]) & (
        key_low[:, None] <= query_high[:, :, None]
    )
    is_one = (
        (query_low == query_high)[:, :, None]
        & (key_low == key_high)[:, None]
        & (query_low[:, :, None] == key_low[:, None])
    )
    device = queries.device
    first_query = TILE * torch.arange(T // TILE, device=device)[:, None] + K - T
    nearest = first_query - TILE * torch.arange(K // TILE, device=device)  # first query, first key
    some, every = nearest > -TILE, nearest >= TILE - 1
    if window is not None:
        some, every = some & (nearest - (TILE - 1) < window), every & (nearest + TILE - 1 < window)
    return some & is_same, every & is_one


def _listed(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """The number of marked tiles in each row, and their columns first, of (B, rows, columns)."""
    counts = tiles.sum(dim=-1, dtype=torch.int32)[:, None]
    order = (~tiles).to(torch.int8).argsort(dim=-1, stable=True).to(torch.int32)[:, None]
    return counts.contiguous(), order.contiguous()


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: BlockMask) -> Tensor:
    """Attention of (B, H, T, E) over (B, H, K, E) each -> (B, H, T, E)."""
    mixed = flex_attention(queries, keys, values, block_mask=mask)
    assert isinstance(mixed, Tensor)
    return mixed
