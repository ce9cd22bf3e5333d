"""The kNN memory in the model and its training: nothing leaks, and nothing is lost."""

import dataclasses

import numpy as np
import pytest
import torch

from shards.errors import LakhxlError
from tests.trainer.batches import random_batch
from trainer.generation.incremental import IncrementalModel
from trainer.training.trainer import Trainer

CPU = torch.device("cpu")
T, M = 8, 12


@pytest.fixture
def model(make_model):
    """A model whose gates give the store much weight."""
    model = make_model(layers=3, knn=True, knn_k=4, knn_capacity=20)
    model.neighbours.gate.data = torch.tensor([0.5, 1.0])
    return model


def block(batch, start):
    return batch.map(lambda column: column[:, start : start + T])


@torch.no_grad()
def play(model, batch):
    """Logits, and the flushed memory at the end."""
    memory, parts = model.empty_memory(len(batch.tokens), dtype=model.norm.weight.dtype), []
    for start in range(0, batch.tokens.shape[1], T):
        output, memory = model(block(batch, start), memory.flush())
        parts.append(output.token_logits)
    return torch.cat(parts, 1), memory.flush()


def test_the_store_has_an_effect_once_tokens_left_the_memory(model, make_model, vocabulary):
    batch = random_batch(vocabulary, torch.zeros(1, 64, dtype=torch.long))
    found, _ = play(model, batch)
    plain = make_model(layers=3)
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "neigh" not in k})
    expected, _ = play(plain, batch)
    assert torch.equal(found[:, : M + T - M % T], expected[:, : M + T - M % T])
    assert not torch.allclose(found[:, M + T :], expected[:, M + T :], atol=1e-3)


def test_a_lane_that_starts_a_song_equals_a_fresh_lane_bit_for_bit(model, vocabulary):
    _, dirty = play(model, random_batch(vocabulary, torch.zeros(2, 64, dtype=torch.long)))
    for tensor in (dirty.store.keys, dirty.store.values):
        tensor.fill_(torch.nan)
    batch = random_batch(vocabulary, torch.full((2, T), 5), seed=1)
    expected, _ = model(batch, model.empty_memory(2)._replace(place=dirty.place))
    found, memory = model(batch, dirty)
    assert torch.equal(found.token_logits, expected.token_logits)
    found.token_logits.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert memory.flush().store.stored.tolist() == [20, 20]  # the old song has not all left yet


def test_a_song_that_begins_in_the_block_does_not_see_the_old_songs_store(model, vocabulary):
    _, memory = play(model, random_batch(vocabulary, torch.zeros(1, 64, dtype=torch.long)))
    batch = random_batch(vocabulary, torch.tensor([[0] * 3 + [1] * 5]), seed=1)
    with torch.no_grad():
        before, _ = model(batch, memory)
        memory.store.values.normal_()
        memory.store.keys.normal_()
        after, _ = model(batch, memory)
    assert torch.equal(before.token_logits[:, 3:], after.token_logits[:, 3:])
    assert not torch.allclose(before.token_logits[:, :3], after.token_logits[:, :3], atol=1e-3)


def test_a_song_that_begins_inside_a_block_is_stored_from_its_first_token(model, vocabulary):
    segment_ids = torch.tensor([[0] * 19 + [1] * 45])
    batch = random_batch(vocabulary, segment_ids)
    found, memory = play(model.double(), batch)
    assert memory.store.segment_id.tolist() == [1]
    assert memory.store.count.tolist() == [64 - M - 19]
    alone, _ = play(model, batch.map(lambda column: column[:, 16:]))
    assert torch.allclose(found[:, 19:], alone[:, 3:], atol=1e-5, rtol=0)


def test_a_repeated_song_is_predicted_as_the_first_time(model, vocabulary):
    once = random_batch(vocabulary, torch.zeros(1, 40, dtype=torch.long))
    twice = once.map(lambda column: torch.cat([column, column], 1))
    twice = twice._replace(segment_ids=torch.tensor([[0] * 40 + [1] * 40]))
    expected, _ = play(model.double(), once)  # in 32 bits, other places round by up to 3e-5
    found, _ = play(model, twice)
    assert torch.allclose(found[:, 40:], expected, atol=1e-5, rtol=0)


def test_token_by_token_predictions_equal_those_of_whole_blocks(model, vocabulary):
    batch = random_batch(vocabulary, torch.zeros(1, 60, dtype=torch.long))
    padded = batch.map(lambda column: torch.cat([column, column[:, :4]], 1))
    expected, _ = play(model.double(), padded)  # in 32 bits nearly equal scores change places
    inputs = torch.stack([*batch[:4], torch.zeros(1, 60, dtype=torch.long)]).numpy()
    stream, found = IncrementalModel(model, T), []
    for part in np.split(inputs, [7, 8, 9, 25, *range(26, 60)], axis=2):
        found.append(stream.feed(part).token_logits)
    assert torch.allclose(torch.cat(found, 1), expected[:, :60], atol=1e-5, rtol=0)


def with_knn(config, **changes):
    model = {"layers": 3, "knn": True, "knn_capacity": 30, "knn_k": 4}
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        train=dataclasses.replace(config.train, **changes),
    )


def everything(trainer):
    """Copies of all tensors of a checkpoint and the file beside it."""
    store = trainer.memory.flush().store
    used = [
        tensor[lane, :, :slots]
        for tensor in (store.keys, store.values)
        for lane, slots in enumerate(store.stored.tolist())
    ]
    return [*(tensor.detach().clone() for tensor in trainer.tensors().values()), *used]


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(everything(one), everything(other), strict=True))


def losses(trainer, steps):
    return [float(trainer.train_step().loss) for _ in range(steps)]


@pytest.mark.parametrize(("stopped_at", "groups"), [(3, 1), (17, 3)])
def test_a_resumed_training_equals_an_unbroken_one_bit_for_bit(
    dataset, config, tmp_path, stopped_at, groups
):
    config = with_knn(config, accumulate=groups)
    unbroken = Trainer(dataset, config, CPU)
    losses(unbroken, stopped_at)
    seal = unbroken.save_knn_memory(tmp_path / "store.bin")
    saved = {name: tensor.detach().clone() for name, tensor in unbroken.tensors().items()}
    state = dict(unbroken.state())
    expected = losses(unbroken, 8)
    assert unbroken.knn_metrics()["knn_queries"] > 0
    resumed = Trainer(dataset, config, CPU)
    resumed.load(saved, state, knn_memory=(tmp_path / "store.bin", seal))
    assert losses(resumed, 8) == expected
    assert_same(resumed, unbroken)


def test_the_file_of_another_step_is_refused(dataset, config, tmp_path):
    trainer = Trainer(dataset, with_knn(config), CPU)
    losses(trainer, 4)
    saved, state = trainer.tensors(), trainer.state()
    losses(trainer, 1)
    seal = trainer.save_knn_memory(tmp_path / "later.bin")
    resumed = Trainer(dataset, with_knn(config), CPU)
    with pytest.raises(LakhxlError, match="belongs to another run or step"):
        resumed.load(saved, state, knn_memory=(tmp_path / "later.bin", seal))


def test_training_with_and_without_evaluation_is_bit_identical(dataset, config):
    looked_at, left_alone = (Trainer(dataset, with_knn(config), CPU) for _ in range(2))
    for _ in range(6):
        looked_at.train_step()
        looked_at.evaluate()
        left_alone.train_step()
    assert_same(looked_at, left_alone)
    assert looked_at.evaluate().means() == looked_at.evaluate().means()


def test_groups_of_lanes_retrieve_the_same(dataset, config):
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, dropout=0.0))
    whole, parts = (Trainer(dataset, with_knn(config, accumulate=n), CPU) for n in (1, 3))
    assert losses(whole, 8) == pytest.approx(losses(parts, 8), abs=1e-5)
    one, other = (t.memory.flush().store for t in (whole, parts))
    assert one.count.tolist() == other.count.tolist()


def test_the_board_is_told_what_is_found(dataset, config):
    trainer = Trainer(dataset, with_knn(config), CPU)
    losses(trainer, 6)
    figures = trainer.knn_metrics()
    assert {"knn_gate_0", "knn_gate_1", "knn_stored", "knn_queries", "knn_bars_back"} == {*figures}
    assert 0 < figures["knn_stored"] <= 30
    assert figures["knn_bars_back"] > 0
    assert trainer.knn_search_seconds() > 0
