"""The search, compared with its slow definition."""

import pytest
import torch

from trainer.model.knn.search import GROUP, look_up, top_k

B, H, T, E, N = 3, 2, 5, 8, 300
K = 4


def make_search(*, capacity=N, counts=(0, 7, N), seed=0):
    """Queries, and a store whose unused slots hold NaN."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(B, H, capacity + 1, E, generator=generator)
    values = torch.randn(B, H, capacity + 1, E, generator=generator)
    for lane, count in enumerate(counts):
        keys[lane, :, min(count, capacity) :] = torch.nan
        values[lane, :, min(count, capacity) :] = torch.nan
    queries = torch.randn(B, H, T, E, generator=generator)
    segment_ids = torch.tensor([5, 6, 7])
    query_segment_ids = segment_ids[:, None].repeat(1, T)
    query_segment_ids[1, 3:] = 8  # a song that begins in the block
    return queries, query_segment_ids, keys, values, segment_ids, torch.tensor(counts)


def by_definition(queries, query_segment_ids, keys, values, segment_id, count, k):
    """The definition, one query at a time."""
    mixed = torch.zeros(B, H, T, E)
    chosen = [[[set() for _ in range(T)] for _ in range(H)] for _ in range(B)]
    for b in range(B):
        n = min(int(count[b]), keys.shape[2] - 1)
        for h in range(H):
            for t in range(T):
                if n == 0 or query_segment_ids[b, t] != segment_id[b]:
                    continue
                scores = torch.stack([queries[b, h, t] @ keys[b, h, i] for i in range(n)])
                order = scores.argsort(descending=True)[:k]
                weights = scores[order].softmax(0)
                mixed[b, h, t] = sum(
                    w * values[b, h, i] for w, i in zip(weights, order, strict=True)
                )
                chosen[b][h][t] = set(order.tolist())
    return mixed, chosen


@pytest.mark.parametrize("backend", ["topk", "faiss"])
@pytest.mark.parametrize("counts", [(0, 7, N), (1, 2 * GROUP * K + 5, 2 * N + 1)])
def test_the_search_equals_the_definition(backend, counts):
    if backend == "faiss":
        pytest.importorskip("faiss")
    search = make_search(counts=counts)
    expected, chosen = by_definition(*search, K)
    mixed, weights, slots = look_up(*search, K, backend)
    assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                found = slots[b, h, t][weights[b, h, t] > 0]
                assert set(found.tolist()) == chosen[b][h][t]


@pytest.mark.parametrize(("backend", "k"), [("topk", K), ("faiss", K), ("topk", 40)])
def test_the_gradient_of_the_queries_is_that_of_the_definition(backend, k):
    if backend == "faiss":
        pytest.importorskip("faiss")
    queries, *rest = make_search()
    queries.requires_grad_()
    direction = torch.randn(B, H, T, E, generator=torch.Generator().manual_seed(1))
    (by_definition(queries, *rest, k)[0] * direction).sum().backward()
    expected, queries.grad = queries.grad, None
    mixed, weights, _ = look_up(queries, *rest, k, backend)
    assert not weights.requires_grad
    (mixed * direction).sum().backward()
    assert torch.allclose(queries.grad, expected, atol=1e-5, rtol=0)
    assert (queries.grad[0] == 0).all()  # nothing is stored
    assert (queries.grad[1, :, 3:] == 0).all()  # another song


def test_scores_of_half_precision_stores_are_computed_in_full():
    queries, segment_ids, keys, values, *rest = make_search(counts=(N, N, N))
    keys, values = keys.half(), values.half()
    mixed, _, _ = look_up(queries, segment_ids, keys, values, *rest, N, "topk")
    expected, _ = by_definition(queries, segment_ids, keys.float(), values.float(), *rest, N)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [K, 2 * GROUP * K, 2 * GROUP * K + 1, 517, 2048])
def test_top_k_equals_that_of_torch(n):
    scores = torch.randn(3, 11, n, generator=torch.Generator().manual_seed(n))
    scores[1] = scores[1].round()  # ties
    found, at = top_k(scores, K)
    assert torch.equal(found.sort().values, scores.topk(K).values.sort().values)
    assert torch.equal(scores.gather(-1, at), found)
    assert all(len(set(row.tolist())) == K for row in at.flatten(0, 1))
