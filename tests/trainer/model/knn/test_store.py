"""The store of the kNN memory: which keys it holds, and what is retrieved."""

import copy
import sys

import pytest
import torch
from torch.nn import functional

from shards.errors import SettingError
from trainer.model.knn.store import NearestNeighbours, Store, to_stored

H, E, T, M = 2, 8, 4, 6


def feed(store, segment_ids, *, seed=0, length=M, memory=None):
    """Play blocks of random keys; yields the store that each block sees, and the block's keys.

    `segment_ids` has shape (B, tokens).
    """
    B, tokens = segment_ids.shape
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(B, H, tokens, E, generator=generator)
    values = torch.randn(B, H, tokens, E, generator=generator)
    past = torch.zeros(B, H, length, E), torch.full((B, length), -1)
    past_values = torch.zeros(B, H, length, E)
    for start in range(0, tokens, T):
        here = slice(start, start + T)
        store = store.flush()
        yield store, keys, values, start
        all_keys = torch.cat([past[0], keys[:, :, here]], 2)
        all_values = torch.cat([past_values, values[:, :, here]], 2)
        all_segment_ids = torch.cat([past[1], segment_ids[:, here]], 1)
        store = store.append(segment_ids[:, here] * 10, keys[:, :, here])
        store = store.truncate(all_values, all_segment_ids, length)
        past = all_keys[:, :, -length:], all_segment_ids[:, -length:]
        past_values = all_values[:, :, -length:]


def empty(lanes, capacity):
    return Store.empty(lanes=lanes, heads=H, capacity=capacity, head_width=E, length=M, layer=0)


def stored_tokens(store, keys, values, lane):
    """Numbers of the tokens in the slots in use, in order; checks that values belong to keys."""
    n = int(store.stored[lane])
    wanted = to_stored(functional.normalize(keys[lane], dim=-1)).float()
    stored_values = to_stored(values[lane]).float()
    found = []
    for slot in range(n):
        same = (store.keys[lane, 0, slot] == wanted[0]).all(-1).nonzero()
        token = int(same)
        assert torch.equal(store.keys[lane, :, slot], wanted[:, token])
        assert torch.equal(store.values[lane, :, slot], stored_values[:, token])
        found.append(token)
    return found


@pytest.mark.parametrize("capacity", [100, 10])
def test_the_store_holds_exactly_what_left_the_memory_of_the_current_song(capacity):
    segment_ids = torch.stack(
        [
            torch.full((48,), 1),  # one long song
            torch.tensor([1] * 15 + [2] * 33),  # songs change within a block
            torch.tensor([1] * 20 + [2] * 2 + [3] * 26),  # one is shorter than the block
            torch.tensor([1] * 24 + [-2] * 4 + [2] * 20),  # padding in between
        ]
    )
    for store, keys, values, start in feed(empty(4, capacity), segment_ids):
        for lane in range(4):
            out = list(range(max(start - M, 0)))
            last = int(segment_ids[lane, out[-1]]) if out else -1
            expected = [t for t in out if segment_ids[lane, t] == last >= 0][-capacity:]
            assert sorted(stored_tokens(store, keys, values, lane)) == expected
            if expected:
                assert store.segment_id[lane] == last


def test_the_last_tokens_of_a_block_longer_than_the_ring_are_stored():
    store = Store.empty(lanes=1, heads=H, capacity=3, head_width=E, length=0, layer=0)
    keys = torch.randn(1, H, 8, E, generator=torch.Generator().manual_seed(0))
    segment_ids, bars = torch.zeros(1, 8, dtype=torch.long), torch.arange(8)[None]
    store = store.append(bars, keys).truncate(keys, segment_ids, 0).flush()
    assert sorted(stored_tokens(store, keys, keys, 0)) == [5, 6, 7]
    assert sorted(store.bars[0, :3].tolist()) == [5, 6, 7]


def test_stored_keys_find_themselves_while_the_ring_wraps_twenty_times():
    capacity, layer = 16, NearestNeighbours(H, 1, "topk")
    segment_ids = torch.full((2, capacity * 22), 3)
    hits = {}
    with torch.no_grad():
        for store, keys, _, start in feed(empty(2, capacity), segment_ids):
            inside = list(range(max(start - M - capacity, 0), max(start - M, 0)))
            for first in range(0, len(inside), T):
                asked = keys[:, :, inside[first : first + T]]
                queries = asked.shape[2]
                _, _, slots = layer(asked, asked, segment_ids[:, :queries], store)
                wanted = torch.tensor(inside[first : first + T]) % capacity
                right = (slots[..., 0] == wanted).float().mean()
                hits.setdefault((start - M) // capacity, []).append(float(right))
    assert len(hits) >= 20
    assert {period: min(shares) for period, shares in hits.items()} == dict.fromkeys(hits, 1.0)


def test_unused_slots_are_never_read():
    store = empty(1, 10)
    for tensor in (store.keys, store.values):
        tensor.fill_(torch.nan)
    segment_ids = torch.tensor([[1] * 20 + [2] * 20])
    layer = NearestNeighbours(H, 3, "topk")
    for filled, keys, _, start in feed(store, segment_ids):
        here = slice(start, start + T)
        mixed, weights, _ = layer(keys[:, :, here], keys[:, :, here], segment_ids[:, here], filled)
        assert mixed.isfinite().all()
        assert weights.isfinite().all()


def test_a_lane_does_not_depend_on_the_others():
    segment_ids = torch.tensor([[1] * 40, [4] * 13 + [5] * 27])
    layer = NearestNeighbours(H, 3, "topk")
    for store, keys, _, start in feed(empty(2, 10), segment_ids):
        queries, asking = keys[:, :, start : start + T], segment_ids[:, start : start + T]
        store.keys[1], store.values[1] = torch.nan, torch.nan
        both, _, _ = layer(queries, queries, asking, store)
        alone, _, _ = layer(queries[:1], queries[:1], asking[:1], store.lanes(0, 1))
        assert torch.equal(both[:1], alone)


def test_with_nothing_stored_the_attention_is_unchanged_bit_for_bit():
    layer = NearestNeighbours(H, 3, "topk")
    local = torch.randn(2, H, T, E, generator=torch.Generator().manual_seed(0))
    store = empty(2, 10)
    for filled, *_ in feed(store, torch.tensor([[1] * 40, [-2] * 40])):
        store = filled
    song_begins = torch.tensor([[1, 1, 2, 2], [2, 2, 2, 2]])
    mixed, _, _ = layer(local, local, song_begins, store)
    assert torch.equal(mixed[0, :, 2:], local[0, :, 2:])
    assert torch.equal(mixed[1], local[1])
    assert not torch.equal(mixed[0, :, :2], local[0, :, :2])


def test_gate_logit_scale_and_queries_have_gradients_and_the_store_has_none():
    layer = NearestNeighbours(H, 3, "topk")
    segment_ids = torch.full((1, 40), 1)
    for filled, *_ in feed(empty(1, 10), segment_ids):
        store = filled
    queries = torch.randn(1, H, T, E, requires_grad=True)
    mixed, _, _ = layer(queries, torch.zeros(1, H, T, E), segment_ids[:, :T], store)
    mixed.square().sum().backward()
    for learned in (layer.gate, layer.log_logit_scale, queries):
        assert (learned.grad != 0).all()
    assert not store.keys.requires_grad


def test_the_gate_mixes_by_head():
    layer = NearestNeighbours(H, 1, "topk")
    layer.gate.data = torch.tensor([-200.0, 200.0])
    segment_ids = torch.full((1, 40), 1)
    for filled, *_ in feed(empty(1, 10), segment_ids):
        store = filled
    local = torch.zeros(1, H, T, E)
    queries = torch.randn(1, H, T, E)
    mixed, _, slots = layer(queries, local, segment_ids[:, :T], store)
    assert torch.equal(mixed[0, 0], local[0, 0])
    assert torch.allclose(mixed[0, 1], store.values[0, 1, slots[0, 1, :, 0]])


def test_flushing_twice_equals_flushing_once():
    segment_ids = torch.tensor([[1] * 17 + [2] * 23])
    for store, *_ in feed(empty(1, 10), segment_ids):
        last = store
    keys = torch.randn(1, H, M + T, E)
    left = last.append(torch.zeros(1, T), keys[:, :, :T])
    left = left.truncate(keys, torch.full((1, M + T), 2), M)
    once = copy.deepcopy(left.flush())
    twice = left.flush()
    assert torch.equal(once.count, twice.count)
    assert torch.equal(once.keys[:, :, :-1], twice.keys[:, :, :-1])


def test_lanes_are_views_and_store_into_the_whole():
    segment_ids = torch.tensor([[1] * 24, [2] * 24])
    whole = [store for store, *_ in feed(empty(2, 30), segment_ids)][-1]
    keys = torch.randn(2, H, M + T, E)
    left = whole.append(segment_ids[:, :T], keys[:, :, :T])
    left = left.truncate(keys, segment_ids[:, : M + T], M)
    parts = [left.lanes(lane, lane + 1).flush() for lane in range(2)]
    assert torch.equal(left.flush().keys, whole.keys)
    assert [int(part.count) for part in parts] == left.flush().count.tolist()
    assert parts[1].keys.data_ptr() == whole.keys[1].data_ptr()


def test_bars_travel_with_their_tokens():
    segment_ids = torch.tensor([[1] * 20 + [2] * 20])
    for store, keys, values, _ in feed(empty(1, 30), segment_ids):
        for slot, token in enumerate(stored_tokens(store, keys, values, 0)):
            assert int(store.bars[0, slot]) == 10 * int(segment_ids[0, token])


def test_a_backend_that_is_not_installed_is_refused_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)  # as where it is missing
    with pytest.raises(SettingError, match=r"pip install 'lakhxl\[knn\]'"):
        NearestNeighbours(2, 4, "faiss")
    NearestNeighbours(2, 4, "topk")
