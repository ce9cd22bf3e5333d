"""Exact nearest neighbours among stored keys, and the mixture of their values.

`look_up` is a custom operator, opaque to torch.compile, with another for its gradient: how much
each lane has stored is known only at run time, and searching no more than that is most of the
speed. It computes

    score[b, h, t, s] = queries[b, h, t] · keys[b, h, s]    slot s in use, of the same segment
    mixed[b, h, t]    = sum over the chosen s of softmax(score)[s] * values[b, h, s]

where the chosen are the `k` with the highest scores. A query whose segment has nothing stored gets
zeros. Only the queries get a gradient.

Conventions
    B lanes, H attention heads, T queries, E head width
    N slots in a store; one more behind them is never read
    n slots in use

Source: Wu et al. 2022, Memorizing Transformers. https://arxiv.org/abs/2203.08913
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shards.errors import SettingError
from trainer.model.linear import matmul_transposed

GROUP = 16
"""Scores per group of `top_k`: of 8, 16, 32 and 64 the fastest at 8,192 keys and k = 32."""


def check_backend(name: str) -> None:
    """Refuse a backend that is not installed.

    Raises:
        SettingError: it needs faiss, which is not installed.
    """
    if name == "faiss" and find_spec("faiss") is None:
        raise SettingError(
            f"knn_backend {name} needs faiss: pip install 'lakhxl[knn]', or use topk"
        )


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest scores of each row and their indices, unsorted: a faster torch.topk.

    Each row is split into groups of 16. The k highest scores are in the k groups with the highest
    maxima: if one were in another group, each of those k groups would hold a score no lower. So the
    selection, whose time grows with the length, works on two short rows instead of a long one.

    Args:
        scores: shape (..., n), n >= k.
        k: number of scores to select.

    Returns:
        Scores and indices, each shape (..., k).
    """
    n = scores.shape[-1]
    if n <= 2 * GROUP * k:
        return select(scores, k)
    groups = n // GROUP
    grouped = scores[..., : groups * GROUP].unflatten(-1, (GROUP, groups))
    _, chosen = select(grouped.amax(dim=-2), k)  # (..., k)
    inside = grouped.gather(-1, chosen.unsqueeze(-2).expand(*chosen.shape[:-1], GROUP, k)).flatten(
        -2
    )
    if groups * GROUP < n:
        inside = torch.cat([inside, scores[..., groups * GROUP :]], dim=-1)
    best, at = select(inside, k)
    index = at // k * groups + chosen.gather(-1, at % k)  # rows after the last group: next line
    return best, torch.where(at < GROUP * k, index, at - GROUP * k + groups * GROUP)


def select(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk, unsorted; on a CPU by numpy, whose partition is vectorized.

    Of 512 scores it selects the best 32 in a third of torch's time, on a CPU with AVX-512.
    """
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return scores.topk(k, dim=-1, sorted=False)
    best = np.argpartition(scores.numpy(), scores.shape[-1] - k, axis=-1)[..., -k:]
    at = torch.from_numpy(np.ascontiguousarray(best))
    return scores.gather(-1, at), at


class Search(NamedTuple):
    """One lane, the heads of it that are searched together, and its slots in use."""

    lane: int
    heads: slice
    stored: int


def searches(
    queries: Tensor, query_segment_ids: Tensor, keys: Tensor, segment_id: Tensor, count: Tensor
) -> Iterator[Search]:
    """Split a search into parts.

    One head at a time on the CPU, where its scores then fit the cache; all heads of a lane on other
    devices. Only the song that a block starts with can have stored tokens: songs that begin within
    the block are new.
    """
    heads, capacity = queries.shape[1], keys.shape[2] - 1
    together = 1 if queries.device.type == "cpu" else heads
    stored = torch.where(query_segment_ids[:, 0] == segment_id, count.clamp(max=capacity), 0)
    for lane, number in enumerate(stored.tolist()):
        if number:
            for head in range(0, heads, together):
                yield Search(lane, slice(head, head + together), number)


@torch.library.custom_op("lakhxl::knn_look_up", mutates_args=())
def look_up(
    queries: Tensor,
    query_segment_ids: Tensor,
    keys: Tensor,
    values: Tensor,
    segment_id: Tensor,
    count: Tensor,
    k: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Find each query's nearest neighbours and mix their values; see above.

    Args:
        queries: shape (B, H, T, E), fp32, scaled for the softmax.
        query_segment_ids: shape (B, T).
        keys, values: shape (B, H, N + 1, E); unused slots may hold anything.
        segment_id, count: shape (B,); whose tokens each lane has stored, and how many so far.
        k: neighbours per query.
        backend: one of `trainer.config.KNN_BACKENDS`.

    Returns:
        Mixed values, shape (B, H, T, E), fp32; the neighbours' weights and slots, each shape
        (B, H, T, k), with weight 0 for none.
    """
    find = _find_by_faiss if backend == "faiss" else _find
    mixed = queries.new_zeros(queries.shape)
    weights = queries.new_zeros(*queries.shape[:3], k)
    slots = torch.zeros(weights.shape, dtype=torch.int64, device=queries.device)
    for lane, heads, stored in searches(queries, query_segment_ids, keys, segment_id, count):
        taken = min(k, stored)
        scores, found = find(queries[lane, heads], keys[lane, heads, :stored], taken)
        probs = scores.softmax(dim=-1)
        weights[lane, heads, :, :taken], slots[lane, heads, :, :taken] = probs, found
        mixed[lane, heads] = _weighted_rows(values[lane, heads], found, probs)
    is_same = (query_segment_ids == segment_id[:, None])[:, None, :, None]
    return mixed * is_same, weights * is_same, slots


@look_up.register_fake
def _look_up_shapes(
    queries: Tensor, segment_ids: Tensor, keys: Tensor, values: Tensor,
    segment_id: Tensor, count: Tensor, k: int, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    shape = (*queries.shape[:3], k)
    return (
        torch.empty_like(queries, memory_format=torch.contiguous_format),
        queries.new_empty(shape),
        queries.new_empty(shape, dtype=torch.int64),
    )


def _find(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(H, T, E), (H, n, E) -> the k highest scores, fp32, and their slots, each (H, T, k)."""
    scores, slots = top_k(matmul_transposed(queries.to(keys.dtype), keys), k)
    if keys.dtype != torch.float32:  # selected in half precision, computed again in full
        scores = (_rows(keys, slots).float() @ queries.unsqueeze(-1)).squeeze(-1)
    return scores, slots


def _find_by_faiss(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """As `_find`, by faiss on the CPU, from any device."""
    import faiss  # optional: of the extra `knn`

    all_scores, all_slots = [], []
    for head_queries, head_keys in zip(queries.detach(), keys, strict=True):
        queries_array, keys_array = head_queries.cpu().numpy(), head_keys.float().cpu().numpy()
        scores, slots = faiss.knn(queries_array, keys_array, k, metric=faiss.METRIC_INNER_PRODUCT)
        all_scores.append(torch.from_numpy(scores))
        all_slots.append(torch.from_numpy(slots))
    return torch.stack(all_scores).to(queries.device), torch.stack(all_slots).to(queries.device)


def _rows(table: Tensor, slots: Tensor) -> Tensor:
    """(H, N, E), (H, T, k) -> (H, T, k, E)."""
    H, N, E = table.shape
    heads = torch.arange(H, device=table.device)[:, None, None] * N
    flat = table.reshape(H * N, E)
    return flat.index_select(0, (heads + slots).flatten()).view(*slots.shape, E)


def _weighted_rows(table: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
    """(H, N, E), (H, T, k), (H, T, k) -> sums of rows, (H, T, E), fp32."""
    if table.dtype == torch.float32 and len(table) == 1:  # no copy of the rows
        sums = functional.embedding_bag(
            slots[0], table[0], mode="sum", per_sample_weights=weights[0].contiguous()
        )
        return sums[None]
    return (weights.unsqueeze(-2) @ _rows(table, slots).float()).squeeze(-2)


@torch.library.custom_op("lakhxl::knn_query_grad", mutates_args=())
def _query_grad(
    grad: Tensor,
    queries: Tensor,
    query_segment_ids: Tensor,
    keys: Tensor,
    values: Tensor,
    segment_id: Tensor,
    count: Tensor,
    weights: Tensor,
    slots: Tensor,
) -> Tensor:
    """Gradient of the queries: that of a softmax over the chosen keys, the choice being fixed."""
    result = torch.zeros_like(queries)
    grad = grad * (query_segment_ids == segment_id[:, None])[:, None, :, None]
    for lane, heads, _ in searches(queries, query_segment_ids, keys, segment_id, count):
        probs, found = weights[lane, heads], slots[lane, heads]
        probs_grad = (
            _rows(values[lane, heads], found).float() * grad[lane, heads].unsqueeze(-2)
        ).sum(dim=-1)
        scores_grad = probs * (probs_grad - (probs * probs_grad).sum(-1, keepdim=True))
        result[lane, heads] = _weighted_rows(keys[lane, heads], found, scores_grad)
    return result


@_query_grad.register_fake
def _query_grad_shape(grad: Tensor, queries: Tensor, *rest: Tensor) -> Tensor:
    return torch.empty_like(queries, memory_format=torch.contiguous_format)


def _save_for_backward(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]
) -> None:
    _, weights, slots = output
    ctx.mark_non_differentiable(weights, slots)
    ctx.save_for_backward(*inputs[:6], weights, slots)


def _backward(ctx: Any, grad: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    return _query_grad(grad, *ctx.saved_tensors), *[None] * 7


look_up.register_autograd(_backward, setup_context=_save_for_backward)
