"""What a kNN memory of 8,192 keys adds to a training step, by backend; what faiss finds of them.

    python -m benchmarks.knn_cost [--rounds 5] [--keys 8192] [--backends topk,dense,faiss]

6 layers, width 384, 6 heads, T = M = 256, 4 lanes, fp32, AdamW, random tokens; every lane's store
is full from the first step on. Each round takes a step without kNN and one with each backend, in
turns, so that a busy machine is busy for all; a cost is the median over rounds of the difference to
the step without, in the same round, as a share of it. Recall: of the exact k = 32 nearest, for
queries that are stored keys and noise of 0.8 times their length; keys are random.
"""

import argparse
import platform
import statistics
import time

import torch

from benchmarks.training_speed import CPU_SHAPE, VOCABULARY, random_batch
from trainer.config import ModelConfig, TrainConfig
from trainer.model.knn import search as knn_search
from trainer.model.memory import Memory
from trainer.model.transformer import TransformerXL
from trainer.training import optimizers as optim
from trainer.training.trainer import score

LANES, BLOCK, K = 4, 256, 32


class Training:
    """A model in training on one song without end."""

    def __init__(self, backend: str | None, keys: int) -> None:
        config = ModelConfig(
            **CPU_SHAPE, qk_norm=True, knn=backend is not None, knn_k=K, knn_capacity=keys,
            knn_backend=backend or "topk",
        )  # fmt: skip
        self.model = TransformerXL(config.for_vocabulary(VOCABULARY))
        self.model.initialize(torch.Generator().manual_seed(0))
        (self.optimizer,) = optim.make_optimizers(self.model, TrainConfig(optimizer="adamw"))
        self.batch = random_batch(LANES, BLOCK, torch.device("cpu"))
        self.memory = self.model.empty_memory(LANES)
        self.step()  # what leaves an empty memory empties the store, so it is filled only now
        self.memory = self.filled(self.memory.settled())
        self.first = self.step()

    def filled(self, memory: Memory) -> Memory:
        """With a store full of random keys, of the song that is played."""
        if memory.store is None:
            return memory
        generator = torch.Generator().manual_seed(1)
        store = memory.store
        store.keys.normal_(generator=generator)
        store.keys.div_(store.keys.norm(dim=-1, keepdim=True))
        store.values.normal_(generator=generator)
        full = torch.full_like(store.count, store.capacity)
        return memory._replace(
            store=store._replace(segment_id=torch.zeros_like(store.segment_id), count=full)
        )

    def step(self) -> float:
        """Seconds of a step; hnsw builds its graphs in the first with a full store."""
        begun = time.perf_counter()
        _, tally, self.memory = score(self.model, self.batch, self.memory.settled())
        tally.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return time.perf_counter() - begun


def recall(backend: str, keys: int) -> float:
    """Share of the exact min_distance neighbours that a backend finds, in its model's own store."""
    store = Training(backend, keys).memory.settled().store
    assert store.stored.tolist() == [keys] * LANES
    queries = store.keys[:, :, torch.randperm(keys, generator=torch.Generator().manual_seed(2))]
    queries = queries[:, :, :BLOCK] + 0.1 * torch.randn(
        queries[:, :, :BLOCK].shape, generator=torch.Generator().manual_seed(3)
    )
    segment_ids = torch.zeros(LANES, BLOCK, dtype=torch.long)

    def found(name: str) -> torch.Tensor:
        arguments = (
            queries,
            segment_ids,
            store.keys,
            store.values,
            store.segment_id,
            store.count,
            K,
            name,
        )
        return knn_search.look_up(*arguments)[2]

    exact, some = found("topk"), found(backend)
    return float((exact.unsqueeze(-1) == some.unsqueeze(-2)).any(-1).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keys", type=int, default=8192)
    parser.add_argument("--backends", default="topk,dense,faiss")
    options = parser.parse_args()
    names = options.backends.split(",")
    print(platform.processor() or platform.machine(), f"{torch.get_num_threads()} threads")
    plain, others = Training(None, options.keys), {n: Training(n, options.keys) for n in names}
    bases, costs = [], {name: [] for name in names}
    for _ in range(options.rounds):
        base = plain.step()
        bases.append(base)
        for name, training in others.items():
            costs[name].append(training.step() / base - 1)
    print(f"without: {1000 * statistics.median(bases):.0f} ms a step, {options.keys:,} keys")
    for name, shares in costs.items():
        low, high = min(shares), max(shares)
        print(f"{name:6} +{statistics.median(shares):.1%} ({low:.1%} to {high:.1%})", end="")
        print(f", first step {others[name].first:.1f} s", end="")
        print(f", recall {recall(name, options.keys):.4f}" if name != "dense" else "")


if __name__ == "__main__":
    main()
