"""Which stored keys a query is most like, and what their values say.

One operator, `look_up`, that torch.compile takes as it is: how much each lane has stored is
known only at run time, and searching no more than that is most of the speed. It is

    score[b, h, t, n] = queries[b, h, t] · keys[b, h, n]       n < stored, of the same segment_id
    mixed[b, h, t]    = sum over the chosen n of softmax(score)[n] * values[b, h, n]

where the chosen are all (dense) or the `k` with the highest scores (the others). A query that
has nothing stored gets zeros. The gradient reaches the queries alone.

Conventions
    B lanes, H heads, T queries, E head width
    N slots in a store; one more lies behind them and is never read
    n slots in use

Source: Wu et al. 2022, Memorizing Transformers. https://arxiv.org/abs/2203.08913
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.model.knn.faiss_index import by_faiss
from trainer.model.linear import times_transposed

"""topk and faiss find the same keys, hnsw most of them; dense takes all there are."""

_library = torch.library.Library("lakhxl", "FRAGMENT")
"""Of operators. `torch.library.custom_op` would do with less, but its first call imports the whole
compiler: 10 seconds, also where nothing is compiled."""

GROUP = 16
"""Scores in a group of `best`: of 8, 16, 32 and 64 the fastest at 8,192 keys and k = 32."""


def best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The highest scores of each row and where they are, in any order: torch.topk, but faster.

    The row is dealt into groups of 16. The k highest scores lie in the k groups with the
    highest maxima: were one in another group, these k would each hold a score no lower. So
    what selects, in a time that grows with the length, sees two short rows in place of one long.

    Args:
        scores: shape (..., n), n >= k.
        k: how many.

    Returns:
        Scores and indices, each shape (..., k).
    """
    n = scores.shape[-1]
    if n <= 2 * GROUP * k:
        return select(scores, k)
    groups = n // GROUP
    dealt = scores[..., : groups * GROUP].unflatten(-1, (GROUP, groups))
    _, chosen = select(dealt.amax(dim=-2), k)  # (..., k)
    inside = dealt.gather(-1, chosen.unsqueeze(-2).expand(*chosen.shape[:-1], GROUP, k)).flatten(-2)
    if groups * GROUP < n:
        inside = torch.cat([inside, scores[..., groups * GROUP :]], dim=-1)
    found, at = select(inside, k)
    place = at // k * groups + chosen.gather(-1, at % k)  # where it is no left-over
    return found, torch.where(at < GROUP * k, place, at - GROUP * k + groups * GROUP)


def select(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """torch.topk, unsorted; on a CPU by numpy, whose partition compares many scores at a time.

    Of 512 scores it finds the best 32 in a third of torch's time, on a CPU with AVX-512.
    """
    if scores.device.type != "cpu" or scores.dtype != torch.float32:
        return scores.topk(k, dim=-1, sorted=False)
    found = np.argpartition(scores.numpy(), scores.shape[-1] - k, axis=-1)[..., -k:]
    at = torch.from_numpy(np.ascontiguousarray(found))
    return scores.gather(-1, at), at


class Part(NamedTuple):
    """The lane, and the heads of it that are searched at a time; `stored` slots are in use."""

    lane: int
    heads: slice
    stored: int


def parts(
    queries: Tensor, query_segment_ids: Tensor, keys: Tensor, segment_id: Tensor, count: Tensor
) -> Iterator[Part]:
    """What there is to search.

    A head at a time on the CPU, where its scores then stay in the cache; all heads of a lane on
    other devices. A lane's store holds one segment_id alone, that of the song which the block goes
    on with, if any: a song that begins in the block has nothing stored yet.
    """
    heads, capacity = queries.shape[1], keys.shape[2] - 1
    at_once = 1 if queries.device.type == "cpu" else heads
    stored = torch.where(query_segment_ids[:, 0] == segment_id, count.clamp(max=capacity), 0)
    for lane, number in enumerate(stored.tolist()):
        if number:
            for head in range(0, heads, at_once):
                yield Part(lane, slice(head, head + at_once), number)


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
    """Search, and mix the values of what was found; see above.

    Args:
        queries: shape (B, H, T, E), fp32, scaled as the softmax is to have them.
        query_segment_ids: shape (B, T).
        keys, values: shape (B, H, N + 1, E); slots from the stored number on may hold anything.
        segment_id, count: shape (B,); whose tokens each lane has stored, and how many so far.
        k: neighbours of a query.
        backend: one of `trainer.config.KNN_BACKENDS`.

    Returns:
        Mixed values, shape (B, H, T, E), fp32; the neighbours' weights and slots, each shape
        (B, H, T, k), weight 0 where there is none; for dense, of width 0.
    """
    return torch.ops.lakhxl.knn_look_up(
        queries, query_segment_ids, keys, values, segment_id, count, k, backend
    )


def _look_up(
    queries: Tensor,
    query_segment_ids: Tensor,
    keys: Tensor,
    values: Tensor,
    segment_id: Tensor,
    count: Tensor,
    k: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    B, H, T, E = queries.shape
    width = 0 if backend == "dense" else k
    mixed = queries.new_zeros(B, H, T, E)
    weights = queries.new_zeros(B, H, T, width)
    slots = torch.zeros(B, H, T, width, dtype=torch.int64, device=queries.device)
    for part in parts(queries, query_segment_ids, keys, segment_id, count):
        lane, heads, stored = part
        sought = queries[lane, heads]
        if backend == "dense":
            said = values[lane, heads, :stored].float()
            chances = _all_weights(sought, keys[lane, heads, :stored])
            mixed[lane, heads] = times_transposed(chances, said.mT)
            continue
        taken = min(k, stored)
        if backend == "topk":
            scores, found = _exact(sought, keys[lane, heads, :stored], taken)
        else:
            whose = int(segment_id[lane]), int(count[lane])
            scores, found = by_faiss(backend, sought, keys[lane, heads], *whose, taken)
        chances = scores.softmax(dim=-1)
        weights[lane, heads, :, :taken], slots[lane, heads, :, :taken] = chances, found
        mixed[lane, heads] = _weighted_rows(values[lane, heads], found, chances)
    seen = query_segment_ids == segment_id[:, None]
    return mixed * seen[:, None, :, None], weights * seen[:, None, :, None], slots


def _look_up_shapes(
    queries: Tensor,
    query_segment_ids: Tensor,
    keys: Tensor,
    values: Tensor,
    segment_id: Tensor,
    count: Tensor,
    k: int,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (*queries.shape[:3], 0 if backend == "dense" else k)
    return (
        torch.empty_like(queries, memory_format=torch.contiguous_format),
        queries.new_empty(shape),
        queries.new_empty(shape, dtype=torch.int64),
    )


def _exact(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """(H, T, E), (H, n, E) -> the k highest scores, fp32, and their slots, each (H, T, k)."""
    scores, found = best(times_transposed(queries.to(keys.dtype), keys), k)
    if keys.dtype != torch.float32:  # chosen in half precision, weighed in full
        scores = (_rows(keys, found).float() @ queries.unsqueeze(-1)).squeeze(-1)
    return scores, found


def _all_weights(queries: Tensor, keys: Tensor) -> Tensor:
    """(H, T, E), (H, n, E) -> softmax over all stored keys, (H, T, n)."""
    return times_transposed(queries, keys.float()).softmax(dim=-1)


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


def _slope(
    gradient: Tensor,
    queries: Tensor,
    query_segment_ids: Tensor,
    keys: Tensor,
    values: Tensor,
    segment_id: Tensor,
    count: Tensor,
    weights: Tensor,
    slots: Tensor,
) -> Tensor:
    """Gradient of the queries: of a softmax over the chosen keys, the choice being given."""
    result = torch.zeros_like(queries)
    gradient = gradient * (query_segment_ids == segment_id[:, None])[:, None, :, None]
    dense = weights.shape[-1] == 0
    for lane, heads, stored in parts(queries, query_segment_ids, keys, segment_id, count):
        arriving = gradient[lane, heads]
        if dense:
            stored_keys = keys[lane, heads, :stored].float()
            chances = _all_weights(queries[lane, heads], stored_keys)
            worth = times_transposed(arriving, values[lane, heads, :stored].float())
            slope = chances * (worth - (chances * worth).sum(-1, keepdim=True))
            result[lane, heads] = times_transposed(slope, stored_keys.mT)
            continue
        chances, found = weights[lane, heads], slots[lane, heads]
        worth = (_rows(values[lane, heads], found).float() * arriving.unsqueeze(-2)).sum(dim=-1)
        slope = chances * (worth - (chances * worth).sum(-1, keepdim=True))
        result[lane, heads] = _weighted_rows(keys[lane, heads], found, slope)
    return result


def _slope_shapes(gradient: Tensor, queries: Tensor, *rest: Tensor) -> Tensor:
    return torch.empty_like(queries, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, weights, slots = output
    ctx.mark_non_differentiable(weights, slots)
    ctx.save_for_backward(*inputs[:6], weights, slots)


def _backward(ctx: Any, gradient: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    return torch.ops.lakhxl.knn_slope(gradient, *ctx.saved_tensors), *[None] * 7


_SEARCH = "Tensor queries, Tensor segment_ids, Tensor keys, Tensor values, Tensor segment_id, Tensor count"
_library.define(f"knn_look_up({_SEARCH}, int k, str backend) -> (Tensor, Tensor, Tensor)")
_library.define(f"knn_slope(Tensor gradient, {_SEARCH}, Tensor weights, Tensor slots) -> Tensor")
_library.impl("knn_look_up", _look_up, "CompositeExplicitAutograd")
_library.impl("knn_slope", _slope, "CompositeExplicitAutograd")
torch.library.register_fake("lakhxl::knn_look_up", _look_up_shapes, lib=_library)
torch.library.register_fake("lakhxl::knn_slope", _slope_shapes, lib=_library)
torch.library.register_autograd("lakhxl::knn_look_up", _backward, setup_context=_keep, lib=_library)
