import gc
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from shards.errors import ShardError
from tests.trainer.batches import assert_same_batch
from trainer.data.batches import Blocks, collate
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler

CPU = torch.device("cpu")


def make_parts(dataset, *, lanes=3, block=16, seed=2, mode="join"):
    lengths = [len(dataset.song(number)) - 1 for number in range(len(dataset))]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode=mode, tail="wrap", seed=seed
    )
    return sampler, Blocks(dataset, np.arange(len(dataset)), block)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8")  # more than there are cores
@pytest.mark.parametrize("workers", [0, 2, 8])
def test_a_torch_data_loader_gives_the_same_batches_whatever_its_workers(dataset, workers):
    sampler, blocks = make_parts(dataset)
    loader = DataLoader(blocks, batch_sampler=sampler, num_workers=workers, collate_fn=collate)
    own = Loader(*make_parts(dataset), CPU)
    batches = list(loader)
    assert len(batches) > 5
    for batch in batches:
        assert_same_batch(batch, next(own)[0])


@pytest.mark.parametrize("mode", ["crop", "pad", "join"])
@pytest.mark.parametrize("tokens", [1, 200, 1 << 16])  # one step, four steps, an epoch
def test_steps_fetched_together_are_those_fetched_one_by_one(dataset, monkeypatch, mode, tokens):
    monkeypatch.setattr("trainer.data.prefetch.FETCH_TOKENS", tokens)
    monkeypatch.setattr("trainer.data.prefetch.FETCH_LENGTH", 1)
    sampler, blocks = make_parts(dataset, mode=mode)
    loader = Loader(*make_parts(dataset, mode=mode), CPU)
    buffer = blocks.buffer(3)
    for _ in range(3):
        epoch = sampler.epoch
        for step, spans in enumerate(sampler.iter_steps()):
            blocks.fill(buffer, spans)
            batch, position = next(loader)
            assert_same_batch(batch, buffer.to(CPU))
            assert position == {"epoch": epoch, "step": step + 1}
        assert step > 5


def test_a_batch_does_not_change_when_later_ones_are_made(dataset):
    loader = Loader(*make_parts(dataset), CPU)
    batch, _ = next(loader)
    before = batch.segment_ids.clone(), batch.tokens.clone()
    for _ in range(20):
        next(loader)
    assert torch.equal(batch.segment_ids, before[0])
    assert torch.equal(batch.tokens, before[1])


def test_devices_that_share_the_lanes_get_the_whole_batch_together(dataset):
    whole, first, second = (
        Loader(*make_parts(dataset, lanes=4), CPU, lanes=lanes)
        for lanes in (None, slice(0, 2), slice(2, 4))
    )
    for _ in range(20):
        batch, position = next(whole)
        (one, one_position), (other, _) = next(first), next(second)
        assert position == one_position
        assert_same_batch(batch.lanes(0, 2), one)
        assert_same_batch(batch.lanes(2, 4), other)


def test_the_thread_passes_on_the_error_of_a_damaged_dataset(twin, monkeypatch):
    def damaged(number):
        raise ShardError("tokens-00000.npy is missing")

    monkeypatch.setattr(twin, "song", damaged)
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(lengths, 2, block_size=4, mode="join", tail="wrap")
    with pytest.raises(ShardError, match="is missing"):
        next(Loader(sampler, Blocks(twin, np.arange(8), 4), CPU))


@pytest.mark.parametrize("end", ["deleted", "closed"])
def test_the_thread_ends_with_its_loader(dataset, monkeypatch, end):
    # a thread that still runs while Python shuts down aborts the process
    def threads():
        return sum(thread.name == "loader" for thread in threading.enumerate())

    gc.collect()  # those of other tests
    before = threads()
    sampler, blocks = make_parts(dataset)
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
    sampler, blocks = make_parts(dataset)
    fill, asked, now = blocks.fill, threading.Event(), [7.0]

    def clock():
        seen = now[0]
        asked.set()
        return seen

    def slow(*arguments):
        assert asked.wait(10)
        now[0] = 12.0  # the thread may fill a second buffer before the first is noticed
        fill(*arguments)

    monkeypatch.setattr(blocks, "fill", slow)
    monkeypatch.setattr("trainer.data.prefetch.time", SimpleNamespace(perf_counter=clock))
    loader = Loader(sampler, blocks, CPU)
    next(loader)
    assert loader.waited == 5
