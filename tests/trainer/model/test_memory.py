"""The memory and its mask: laws of the whole model."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.batches import random_batch
from trainer.data.batches import EMPTY, PADDING, Batch
from trainer.model.memory import (
    Memory,
    attention_mask,
    join_lanes,
    memory_tensors,
    previous_inputs,
    split_lanes,
)

pytestmark = pytest.mark.usefixtures("onednn")  # tested with oneDNN where it is available
SCHEMES = ["rope_music", "rope", "txl", "t5"]


def cut(batch, start, stop):
    return batch.map(lambda column: column[:, start:stop])


def play(model, batch, edges, *, length):
    """Logits of a batch fed in blocks, and the memory at the end."""
    memory = model.empty_memory(batch.tokens.shape[0], length=length)
    parts = []
    for start, stop in itertools.pairwise(edges):
        output, memory = model(cut(batch, start, stop), memory)
        parts.append(torch.cat([output.token_logits, output.instrument_logits], dim=-1))
    return torch.cat(parts, dim=1), memory


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("positions", SCHEMES)
@pytest.mark.parametrize("edges", [[0, 40], [0, 8, 16, 24, 32, 40], [0, 1, 2, 17, 39, 40]])
def test_any_cutting_into_blocks_equals_one_pass(make_model, vocabulary, positions, qk_norm, edges):
    model = make_model(position_encoding=positions, qk_norm=qk_norm)
    segment_ids = torch.tensor([[7] * 40, [3] * 15 + [4] * 25])  # the second lane changes songs
    batch = random_batch(vocabulary, segment_ids)
    whole, _ = play(model, batch, [0, 40], length=0)
    in_blocks, _ = play(model, batch, edges, length=40)
    assert torch.allclose(in_blocks, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("positions", SCHEMES)
def test_a_window_no_longer_than_the_memory_makes_cuts_inattention_mask(
    make_model, vocabulary, positions
):
    model = make_model(position_encoding=positions, window=9)
    batch = random_batch(vocabulary, torch.zeros(1, 40, dtype=torch.long))
    whole, _ = play(model, batch, [0, 40], length=0)
    in_blocks, _ = play(model, batch, [0, 10, 20, 30, 40], length=9)
    assert torch.allclose(in_blocks, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", [5, 10**9 + 7, 2**32 - 20, 10**15])
def test_predictions_are_as_exact_after_any_number_of_tokens(make_model, vocabulary, place):
    model = make_model(qk_norm=True)
    batch = random_batch(vocabulary, torch.zeros(2, 40, dtype=torch.long))
    expected, _ = play(model, batch, [0, 40], length=0)
    memory, found = model.empty_memory(2, length=40), []
    memory = memory._replace(place=memory.place + place)
    for start in range(0, 40, 8):
        output, memory = model(cut(batch, start, start + 8), memory)
        found.append(torch.cat([output.token_logits, output.instrument_logits], dim=-1))
    assert memory.place.tolist() == [place + 40] * 2
    assert torch.allclose(torch.cat(found, dim=1), expected, atol=1e-5, rtol=0)


def test_a_key_in_the_memory_is_never_rotated_again(make_model, vocabulary):
    model = make_model()
    batch = random_batch(vocabulary, torch.zeros(1, 12, dtype=torch.long))
    _, first = play(model, batch, [0, 6], length=12)
    _, later = play(model, batch, [0, 6, 9, 12], length=12)
    for layer in range(2):
        assert torch.equal(first.keys[layer][:, :, -6:], later.keys[layer][:, :, :6])


def test_the_memory_is_used(make_model, vocabulary):
    batch = random_batch(vocabulary, torch.zeros(1, 20, dtype=torch.long))
    with_memory, _ = play(make_model(), batch, [0, 10, 20], length=10)
    without, _ = play(make_model(), batch, [0, 10, 20], length=0)
    assert torch.allclose(with_memory[:, :10], without[:, :10], atol=1e-5)
    assert not torch.allclose(with_memory[:, 10:], without[:, 10:], atol=1e-2)


@pytest.mark.parametrize("positions", SCHEMES)
@pytest.mark.parametrize("garbage", [torch.nan, torch.inf, 1e30])
def test_a_lane_that_starts_a_song_equals_a_fresh_lane_bit_for_bit(
    make_model, vocabulary, positions, garbage
):
    model = make_model(position_encoding=positions)
    batch = random_batch(vocabulary, torch.full((2, 6), 5))
    fresh = model.empty_memory(2)
    dirty = fresh._replace(
        keys=tuple(torch.full_like(keys, garbage) for keys in fresh.keys),
        values=tuple(torch.full_like(values, garbage) for values in fresh.values),
        segment_ids=torch.full_like(fresh.segment_ids, 4),
    )
    expected, expected_memory = model(batch, fresh)
    found, found_memory = model(batch, dirty)
    assert torch.equal(found.token_logits, expected.token_logits)
    assert torch.equal(found.instrument_logits, expected.instrument_logits)
    (found.token_logits.sum() + found.instrument_logits.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    for found_layer, expected_layer in zip(found_memory.keys, expected_memory.keys, strict=True):
        assert torch.equal(found_layer[:, :, -6:], expected_layer[:, :, -6:])


@pytest.mark.parametrize("positions", SCHEMES)
@pytest.mark.parametrize("again", [False, True], ids=["another song", "the same song again"])
def test_no_gradient_reaches_another_segment(make_model, vocabulary, positions, again):
    model = make_model(position_encoding=positions)
    batch = random_batch(vocabulary, torch.tensor([[1] * 5 + [2] * 7]))
    if again:  # the same tokens, bars and steps in both segments
        batch = Batch(
            *(column[:, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6]] for column in batch[:4]),
            segment_ids=batch.segment_ids,
            targets=batch.targets,
        )
    inputs = []
    model.embed.register_forward_hook(lambda *call: inputs.append(call[2]) or call[2].retain_grad())
    output, _ = model(batch, model.empty_memory(1))
    (
        output.token_logits[:, 5:].square().sum() + output.instrument_logits[:, 5:].square().sum()
    ).backward()
    gradient = inputs[0].grad[0]
    assert (gradient[:5] == 0).all()
    assert (gradient[5:] != 0).any(dim=-1).all()


def test_a_repeated_song_is_predicted_as_the_first_time(make_model, vocabulary):
    model = make_model()
    first = random_batch(vocabulary, torch.full((1, 10), 1))
    second = first._replace(segment_ids=torch.full((1, 10), 2))
    expected, memory = model(first, model.empty_memory(1))
    found, _ = model(second, memory)
    assert torch.allclose(found.token_logits, expected.token_logits, atol=1e-5, rtol=0)


def test_the_future_changes_nothing(make_model, vocabulary):
    model = make_model()
    batch = random_batch(vocabulary, torch.zeros(1, 10, dtype=torch.long))
    other = random_batch(vocabulary, torch.zeros(1, 10, dtype=torch.long), seed=1)
    mixed = Batch(
        *(torch.cat([a[:, :6], b[:, 6:]], 1) for a, b in zip(batch[:5], other[:5], strict=True))
    )
    here, _ = model(batch, model.empty_memory(1))
    there, _ = model(mixed, model.empty_memory(1))
    assert torch.equal(here.token_logits[:, :6], there.token_logits[:, :6])


@given(
    st.lists(st.sampled_from([3, 4, PADDING]), min_size=1, max_size=12),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.lists(st.integers(0, 3), min_size=12, max_size=12),
    st.integers(0, 12),
)
def test_the_token_before_is_known_where_it_is_of_the_same_song_and_not_hidden(
    segments, masked, distances, cut_at
):
    T, none = len(segments), (0, 9)
    tokens, segment_ids = torch.arange(T)[None] + 10, torch.tensor(segments)[None]
    batch = Batch(
        tokens, tokens % 7, tokens, tokens, segment_ids,
        masked_inputs=torch.tensor(masked[:T])[None],
        min_distance=torch.tensor(distances[:T])[None],
    )  # fmt: skip
    expected = [
        (10 + t - 1, (10 + t - 1) % 7)
        if t and segments[t] == segments[t - 1] and not masked[t - 1] and distances[t] <= 1
        else none
        for t in range(T)
    ]
    memory, found = Memory.empty(layers=1, lanes=1, heads=1, length=0, head_width=1), []
    for start, stop in itertools.pairwise([0, min(cut_at, T), T]):
        part = cut(batch, start, stop)
        pairs = torch.stack(previous_inputs(part, memory, none), dim=-1)[0]
        found += [tuple(pair) for pair in pairs.tolist()]
        if stop > start:
            memory = memory._replace(last=memory.append(memory.keys, memory.values, part).last)
    assert found == expected


def test_the_mask_rule_written_out():
    seen = attention_mask(torch.tensor([[8, 8, 9, 9]]), torch.tensor([[EMPTY, 7, 8]]), window=None)
    assert seen[0].int().tolist() == [
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1, 1],
    ]
    narrow = attention_mask(torch.tensor([[8, 8, 8]]), torch.tensor([[8, 8]]), window=2)
    assert narrow[0].int().tolist() == [[0, 1, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]


def test_no_row_is_empty_and_padding_never_sees_an_unwritten_slot():
    for window in (1, None):
        seen = attention_mask(torch.full((1, 3), PADDING), torch.full((1, 4), EMPTY), window=window)
        assert seen.any(dim=-1).all()
        assert not seen[:, :, :4].any()


def test_the_memory_keeps_its_shape_and_no_graph(make_model, vocabulary):
    model = make_model()
    memory = model.empty_memory(2)
    for T in (5, 12, 30):
        batch = random_batch(vocabulary, torch.zeros(2, T, dtype=torch.long))
        _, memory = model(batch, memory)
        for layer in (*memory.keys, *memory.values):
            assert layer.shape == (2, 2, 12, 8)
            assert layer.is_contiguous()
            assert not layer.requires_grad
            assert layer.untyped_storage().nbytes() == layer.nbytes
    assert memory.segment_ids.tolist() == [[0] * 12] * 2


def test_the_memory_is_no_part_of_the_module(make_model):
    model = make_model()
    assert all(name.endswith("parts") for name, _ in model.named_buffers())
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_no_key_nearer_than_min_distance_is_attended_to(make_model):
    min_distance = torch.tensor([[0, 1, 1, 3]])
    seen = attention_mask(
        torch.tensor([[8, 8, 9, 9]]), torch.tensor([[8]]), window=None, min_distance=min_distance
    )
    assert seen[0].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0],  # nothing is left of its song: itself
        [0, 0, 0, 0, 1],
    ]


def test_lanes_are_split_and_joined_again(make_model, vocabulary):
    model = make_model()
    batch = random_batch(vocabulary, torch.arange(4)[:, None].expand(4, 10).contiguous())
    _, memory = model(batch, model.empty_memory(4))
    parts = split_lanes(memory, 2)
    found = [model(batch.lanes(2 * n, 2 * n + 2), part) for n, part in enumerate(parts)]
    expected, expected_memory = model(batch, memory)
    joined = join_lanes([part for _, part in found])
    assert torch.allclose(
        torch.cat([part.token_logits for part, _ in found]),
        expected.token_logits,
        atol=1e-6,
        rtol=0,
    )
    for name, tensor in memory_tensors(expected_memory).items():
        assert torch.allclose(memory_tensors(joined)[name], tensor, atol=1e-6), name
