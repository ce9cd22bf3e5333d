"""The search, against a definition that takes its time."""

import pytest
import torch

from trainer.model.knn.search import GROUP, best, look_up

B, H, T, E, N = 3, 2, 5, 8, 300
K = 4


def a_search(*, capacity=N, counts=(0, 7, N), seed=0):
    """Queries, and a store in which unused slots hold what is not a number."""
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


def slowly(queries, query_segment_ids, keys, values, segment_id, count, k):
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
def test_topk_equals_the_definition(backend, counts):
    if backend == "faiss":
        pytest.importorskip("faiss")
    search = a_search(counts=counts)
    expected, chosen = slowly(*search, K)
    mixed, weights, slots = look_up(*search, K, backend)
    assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                found = slots[b, h, t][weights[b, h, t] > 0]
                assert set(found.tolist()) == chosen[b][h][t]


def test_dense_equals_the_definition_with_all_keys():
    search = a_search()
    expected, _ = slowly(*search, N)
    mixed, weights, _ = look_up(*search, K, "dense")
    assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)
    assert weights.shape == (B, H, T, 0)


@pytest.mark.parametrize(("backend", "k"), [("topk", K), ("dense", N), ("topk", 40)])
def test_the_gradient_of_the_queries_is_that_of_the_definition(backend, k):
    queries, *rest = a_search()
    queries.requires_grad_()
    direction = torch.randn(B, H, T, E, generator=torch.Generator().manual_seed(1))
    (slowly(queries, *rest, k)[0] * direction).sum().backward()
    expected, queries.grad = queries.grad, None
    mixed, weights, _ = look_up(queries, *rest, k, backend)
    assert not weights.requires_grad
    (mixed * direction).sum().backward()
    assert torch.allclose(queries.grad, expected, atol=1e-5, rtol=0)
    assert (queries.grad[0] == 0).all()  # nothing stored
    assert (queries.grad[1, :, 3:] == 0).all()  # another song


def test_half_precision_stores_are_weighed_in_full():
    queries, segment_ids, keys, values, *rest = a_search(counts=(N, N, N))
    keys, values = keys.half(), values.half()
    mixed, _, _ = look_up(queries, segment_ids, keys, values, *rest, N, "topk")
    expected, _ = slowly(queries, segment_ids, keys.float(), values.float(), *rest, N)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", [K, 2 * GROUP * K, 2 * GROUP * K + 1, 517, 2048])
def test_best_is_topk(n):
    scores = torch.randn(3, 11, n, generator=torch.Generator().manual_seed(n))
    scores[1] = scores[1].round()  # ties
    found, at = best(scores, K)
    assert torch.equal(found.sort().values, scores.topk(K).values.sort().values)
    assert torch.equal(scores.gather(-1, at), found)
    assert all(len(set(row.tolist())) == K for row in at.flatten(0, 1))


def test_hnsw_finds_most_of_them_as_a_ring_fills_and_comes_round():
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    capacity, k, hits, wanted = 256, 8, 0, 0
    keys = torch.zeros(1, 1, capacity + 1, E)
    for count in range(64, 1100, 64):
        fresh = torch.randn(64, E, generator=generator)
        keys[0, 0, torch.arange(count - 64, count) % capacity] = fresh
        queries = torch.randn(1, 1, 32, E, generator=generator)
        search = queries, torch.zeros(1, 32, dtype=torch.long), keys, keys
        search += torch.tensor([0]), torch.tensor([count])
        _, _, exact = look_up(*search, k, "topk")
        _, weights, slots = look_up(*search, k, "hnsw")
        for t in range(32):
            found = set(slots[0, 0, t][weights[0, 0, t] > 0].tolist())
            hits, wanted = hits + len(found & set(exact[0, 0, t].tolist())), wanted + k
    assert hits / wanted > 0.9


def test_hnsw_never_answers_with_another_songs_keys():
    pytest.importorskip("faiss")
    keys = torch.randn(1, 1, 33, E, generator=torch.Generator().manual_seed(0))
    queries = torch.randn(1, 1, 4, E, generator=torch.Generator().manual_seed(1))
    for segment_id, count in ((1, 32), (2, 6)):
        query_segment_ids = torch.full((1, 4), segment_id)
        search = (
            queries,
            query_segment_ids,
            keys,
            keys,
            torch.tensor([segment_id]),
            torch.tensor([count]),
        )
        _, weights, slots = look_up(*search, 4, "hnsw")
    assert (weights > 0).all()
    assert (slots < 6).all()


def test_hnsw_notices_that_other_keys_have_come_to_lie_where_its_own_lay():
    pytest.importorskip("faiss")
    keys = torch.zeros(1, 1, 65, E)
    for seed, count in ((0, 32), (1, 40)):  # the same segment_id
        generator = torch.Generator().manual_seed(seed)
        keys[0, 0, :count] = torch.randn(count, E, generator=generator)
        queries = torch.randn(1, 1, 6, E, generator=generator)
        search = queries, torch.zeros(1, 6, dtype=torch.long), keys, keys
        search += torch.tensor([0]), torch.tensor([count])
        expected, _, _ = look_up(*search, 4, "topk")
        mixed, _, _ = look_up(*search, 4, "hnsw")
        assert torch.allclose(mixed, expected, atol=1e-5, rtol=0)
