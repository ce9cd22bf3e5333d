"""Attention by tiles equals attention by the dense mask, which is the definition."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tests.trainer.batches import random_batch
from trainer.model import flex
from trainer.model.memory import attention_mask

B, H, E = 2, 2, 8


def draw_segments(seed, tokens, *, ascending):
    """Segments of any lengths; visits of songs ascend along a lane, padding and empty do not."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(-2, 6, (B, tokens), generator=generator)
    starts = torch.rand(B, tokens, generator=generator) < 0.02
    latest = torch.where(starts, torch.arange(tokens), 0).cummax(dim=1).values
    ids = ids.gather(1, latest)
    return ids.sort(dim=1).values if ascending else ids


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from([(128, 0), (128, 128), (256, 384)]),
    st.booleans(),
    st.sampled_from([None, 1, 127, 128, 129, 300]),
)
def test_attention_by_tiles_equals_the_dense_mask(seed, sizes, ascending, window):
    T, M = sizes
    ids = draw_segments(seed, M + T, ascending=ascending)
    memory_ids, query_ids = ids[:, :M], ids[:, M:]
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(B, H, T, E, generator=generator)
    keys, values = torch.randn(2, B, H, M + T, E, generator=generator)
    mask = attention_mask(query_ids, memory_ids, window=window)[:, None]
    expected = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
        tiles = flex.segment_mask(query_ids, memory_ids, window)
        found = flex.attend(queries, keys, values, tiles)
    assert torch.allclose(found, expected, atol=1e-5)


def test_tiles_of_other_songs_and_of_the_future_are_skipped_and_whole_ones_need_no_mask():
    memory_ids = torch.tensor([[3] * 256])
    query_ids = torch.tensor([[3] * 128 + [4] * 128])
    tiles = flex.segment_mask(query_ids, memory_ids, None)
    assert tiles.full_kv_num_blocks.tolist() == [[[2, 0]]]  # the memory; nothing
    assert tiles.kv_num_blocks.tolist() == [[[1, 1]]]  # the diagonal
    assert tiles.kv_indices[0, 0, :, 0].tolist() == [2, 3]


@pytest.fixture
def compiled():
    """Traces and runs as torch.compile does, without generating code."""
    torch._dynamo.reset()
    yield lambda model: torch.compile(model, backend="aot_eager", fullgraph=True)
    torch._dynamo.reset()


@pytest.mark.parametrize("window", [None, 150])
def test_a_model_predicts_the_same_with_tiles(
    make_model, vocabulary, compiled, monkeypatch, window
):
    used = []
    attend = flex.attend
    monkeypatch.setattr(flex, "attend", lambda *a: used.append(len(a)) or attend(*a))
    ids = torch.tensor([[1] * 100 + [2] * 284, [5] * 384])
    batch = random_batch(vocabulary, ids)
    results = []
    for kind in ("dense", "flex"):
        model = make_model(layers=1, memory=256, attention=kind, window=window)
        run, memory = compiled(model) if kind == "flex" else model, model.empty_memory(2)
        with torch.no_grad():
            for start in (0, 128, 256):
                part = batch.map(lambda column, at=start: column[:, at : at + 128])
                output, memory = run(part, memory)
                results.append(output.token_logits)
        assert bool(used) == (kind == "flex")
    for dense, tiled in zip(results[:3], results[3:], strict=True):
        assert torch.allclose(dense, tiled, atol=1e-5)


@pytest.mark.gpu
def test_gradients_by_tiles_equal_those_by_the_dense_mask_on_a_gpu():
    generator = torch.Generator().manual_seed(0)
    ids = draw_segments(0, 640, ascending=True)
    inputs = [torch.randn(B, H, n, 64, generator=generator) for n in (256, 640, 640)]

    def by_tiles(queries, keys, values, query_ids, memory_ids):
        return flex.attend(queries, keys, values, flex.segment_mask(query_ids, memory_ids, None))

    def by_mask(queries, keys, values, query_ids, memory_ids):
        mask = attention_mask(query_ids, memory_ids, window=None)[:, None]
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)

    gradients = []
    for function in (torch.compile(by_tiles), by_mask):
        tensors = [tensor.cuda().requires_grad_() for tensor in inputs]
        function(*tensors, ids[:, 384:].cuda(), ids[:, :384].cuda()).square().sum().backward()
        gradients.append([tensor.grad for tensor in tensors])
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, atol=1e-2, rtol=1e-2)
