"""Tokens a second from the memory maps to batches, sampler included; and memory over many steps.

    python -m benchmarks.loader DATASET [STEPS]

One process: the loader's thread, and a loop that does nothing but ask for the next batch, on the
CPU. By processor time of both, and by the clock, which a busy machine slows down. Then STEPS
(100,000) batches of the smallest shape, and what the process holds in main memory on the way.
"""

import sys
import time

import numpy as np
import torch

from shards import open_dataset
from trainer.data.batches import Blocks
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.selection import select
from trainer.device import memory_in_use

SHAPES = ((64, 32), (16, 256), (32, 512), (32, 1024))
CPU = torch.device("cpu")
TOKENS = 20_000_000


def make(data: object, numbers: np.ndarray, lanes: int, block: int) -> Loader:
    lengths = data.index["tokens"].to_numpy()[numbers] - 1
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail="wrap", seed=0
    )
    return Loader(sampler, Blocks(data, numbers, block), CPU)


def speed(loader: Loader, tokens: int) -> tuple[float, float]:
    """Tokens a second of processor time, and of the clock."""
    for _ in range(100):
        next(loader)
    steps = TOKENS // tokens
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in range(steps):
        next(loader)
    spent = time.process_time() - cpu, time.perf_counter() - clock
    return tuple(steps * tokens / seconds for seconds in spent)


def main(dataset: str, steps: str = "100000") -> None:
    torch.set_num_threads(1)
    data = open_dataset(dataset)
    numbers = select(data, "train")
    print("| lanes x block | million tokens a second of processor time | of the clock |")
    print("|---|---:|---:|")
    for lanes, block in SHAPES:
        loader = make(data, numbers, lanes, block)
        cpu, clock = speed(loader, lanes * block)
        loader.close()
        print(f"| {lanes} x {block} | {cpu / 1e6:.1f} | {clock / 1e6:.1f} |", flush=True)
    loader, whole = make(data, numbers, *SHAPES[0]), int(steps)
    for step in range(1, whole + 1):
        _, position = next(loader)
        if step in (whole // 100, whole // 10, whole // 2, whole):
            mebibytes = memory_in_use(CPU) / 2**20
            print(f"step {step:,}, epoch {position['epoch']}: {mebibytes:.0f} MiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
