import gc
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shards.errors import ShardError
from trainer.data.batches import Blocks, collate
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler

CPU = torch.device("cpu")


def parts(songs, *, lanes=3, block=16, seed=2, mode="join"):
    lengths = [len(songs.song(number)) - 1 for number in range(len(songs))]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode=mode, tail="wrap", seed=seed
    )
    return sampler, Blocks(songs, np.arange(len(songs)), block)


def assert_same(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        assert (a is None and b is None) or torch.equal(a, b), name


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8")  # more than there are cores
@pytest.mark.parametrize("workers", [0, 2, 8])
def test_a_torch_data_loader_gives_the_same_batches_whatever_its_workers(dataset, workers):
    sampler, blocks = parts(dataset)
    loader = DataLoader(blocks, batch_sampler=sampler, num_workers=workers, collate_fn=collate)
    own = Loader(*parts(dataset), CPU)
    batches = list(loader)
    assert len(batches) > 5
    for batch in batches:
        assert_same(batch, next(own)[0])


@pytest.mark.parametrize("mode", ["crop", "pad", "join"])
@pytest.mark.parametrize("span", [1, 200, 1 << 16])  # tokens: one step, four of them, an epoch
def test_steps_fetched_together_are_those_fetched_one_by_one(dataset, monkeypatch, mode, span):
    monkeypatch.setattr("trainer.data.prefetch.SPAN", span)
    sampler, blocks = parts(dataset, mode=mode)
    loader = Loader(*parts(dataset, mode=mode), CPU)
    columns = blocks.columns(3)
    for _ in range(3):
        epoch = sampler.epoch
        for step, pieces in enumerate(sampler.walk()):
            blocks.fill(columns, pieces)
            batch, position = next(loader)
            assert_same(batch, columns.to(CPU))
            assert position == {"epoch": epoch, "step": step + 1}
        assert step > 5


def test_a_batch_in_hand_does_not_change_when_the_next_is_made(dataset):
    loader = Loader(*parts(dataset), CPU)
    batch, _ = next(loader)
    before = batch.segment_ids.clone(), batch.tokens.clone()
    for _ in range(20):
        next(loader)
    assert torch.equal(batch.segment_ids, before[0])
    assert torch.equal(batch.tokens, before[1])


def test_devices_that_share_the_lanes_get_the_batch_between_them(dataset):
    whole, first, second = (
        Loader(*parts(dataset, lanes=4), CPU, lanes=lanes)
        for lanes in (None, slice(0, 2), slice(2, 4))
    )
    for _ in range(20):
        batch, position = next(whole)
        (one, one_position), (other, _) = next(first), next(second)
        assert position == one_position
        assert_same(batch.lanes(0, 2), one)
        assert_same(batch.lanes(2, 4), other)


def test_a_damaged_dataset_is_the_trainers_error_and_not_lost_in_the_thread(twin, monkeypatch):
    def damaged(number):
        raise ShardError("tokens-00000.npy is missing")

    monkeypatch.setattr(twin, "song", damaged)
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(lengths, 2, block_size=4, mode="join", tail="wrap")
    with pytest.raises(ShardError, match="is missing"):
        next(Loader(sampler, Blocks(twin, np.arange(8), 4), CPU))


@pytest.mark.parametrize("end", ["forgotten", "closed"])
def test_the_thread_has_ended_when_its_loader_has(dataset, monkeypatch, end):
    # one still at work while Python shuts down aborts the process
    def threads():
        return sum(thread.name == "loader" for thread in threading.enumerate())

    gc.collect()  # those of other tests
    before = threads()
    sampler, blocks = parts(dataset)
    fill = blocks.fill

    def slow(*arguments):
        time.sleep(0.05)
        fill(*arguments)

    monkeypatch.setattr(blocks, "fill", slow)
    loader = Loader(sampler, blocks, CPU)
    assert threads() == before + 1
    if end == "closed":
        loader.close()
    else:
        del loader
    assert threads() == before


def test_waiting_is_measured(dataset, monkeypatch):
    sampler, blocks = parts(dataset)
    fill, asked, now = blocks.fill, threading.Event(), [7.0]

    def clock():
        seen = now[0]
        asked.set()
        return seen

    def slow(*arguments):
        assert asked.wait(10)
        now[0] += 5
        fill(*arguments)

    monkeypatch.setattr(blocks, "fill", slow)
    monkeypatch.setattr("trainer.data.prefetch.time", SimpleNamespace(perf_counter=clock))
    loader = Loader(sampler, blocks, CPU)
    next(loader)
    assert loader.waited == 5
