"""What a kNN memory of 8,192 keys adds to a training step, by backend, and faiss's recall."""

import platform
import statistics
import time

import click
import torch

from benchmarks.arguments import Measurement
from benchmarks.speed.train_step import CPU_SHAPE, Training
from trainer.config import ModelConfig
from trainer.model.knn import search as knn_search
from trainer.model.knn.store import Store
from trainer.model.memory import Memory

LANES, BLOCK, K = 4, 256, 32


class KnnTraining(Training):
    """A training with a full store, if it has one."""

    def __init__(self, backend: str | None, keys: int) -> None:
        config = ModelConfig(
            **CPU_SHAPE, knn=backend is not None, knn_k=K, knn_capacity=keys,
            knn_backend=backend or "topk",
        )  # fmt: skip
        super().__init__(config, LANES, BLOCK)
        self.step()  # leaving an empty memory resets the store, so it is filled only now
        self.memory = fill_store(self.memory.flush())
        self.first = self.seconds()

    def seconds(self) -> float:
        """Train for one step; returns its seconds."""
        begun = time.perf_counter()
        self.step()
        return time.perf_counter() - begun

    def store(self) -> Store:
        """The kNN memory as it is now."""
        store = self.memory.flush().store
        assert store is not None
        return store


def fill_store(memory: Memory) -> Memory:
    """The memory with a store full of random keys of the song that plays."""
    store = memory.store
    if store is None:
        return memory
    generator = torch.Generator().manual_seed(1)
    store.keys.normal_(generator=generator)
    store.keys.div_(store.keys.norm(dim=-1, keepdim=True))
    store.values.normal_(generator=generator)
    full = torch.full_like(store.count, store.capacity)
    segment_id = torch.zeros_like(store.segment_id)
    return memory._replace(store=store._replace(segment_id=segment_id, count=full))


def recall(backend: str, keys: int) -> float:
    """Share of the exact nearest neighbours that a backend finds.

    Queries are stored keys and noise of 0.8 times their length.
    """
    store = KnnTraining(backend, keys).store()
    assert store.stored.tolist() == [keys] * LANES
    queries = store.keys[:, :, torch.randperm(keys, generator=torch.Generator().manual_seed(2))]
    queries = queries[:, :, :BLOCK] + 0.1 * torch.randn(
        queries[:, :, :BLOCK].shape, generator=torch.Generator().manual_seed(3)
    )
    segment_ids = torch.zeros(LANES, BLOCK, dtype=torch.long)
    stored = (store.keys, store.values, store.segment_id, store.count)
    exact, found = (
        knn_search.look_up(queries, segment_ids, *stored, K, name)[2] for name in ("topk", backend)
    )
    return float((exact.unsqueeze(-1) == found.unsqueeze(-2)).any(-1).float().mean())


@click.command(cls=Measurement)
@click.option("--rounds", default=5, show_default=True)
@click.option("--keys", default=8192, show_default=True, help="Keys in the store.")
@click.option("--backends", default="topk,faiss", show_default=True)
def command(rounds: int, keys: int, backends: str) -> None:
    """Time training steps without kNN memory and with each backend, in turns, on the CPU.

    6 layers, width 384, 6 heads, T = M = 256, 4 lanes, fp32, AdamW, random tokens; every lane's
    store is full from the first step on. A cost is the median over rounds of the difference to the
    step without kNN in the same round, as a share of it. Recall is of the 32 nearest random keys.
    """
    print(platform.processor() or platform.machine(), f"{torch.get_num_threads()} threads")
    plain, others = KnnTraining(None, keys), {n: KnnTraining(n, keys) for n in backends.split(",")}
    bases, costs = [], {name: [] for name in others}
    for _ in range(rounds):
        base = plain.seconds()
        bases.append(base)
        for name, training in others.items():
            costs[name].append(training.seconds() / base - 1)
    print(f"without: {1000 * statistics.median(bases):.0f} ms per step, {keys:,} keys")
    for name, shares in costs.items():
        print(
            f"{name:6} +{statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%}), "
            f"first step {others[name].first:.1f} s, recall {recall(name, keys):.4f}"
        )
