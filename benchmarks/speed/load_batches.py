"""Tokens per second from the memory maps to batches, sampler included; memory over many steps."""

import time
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset
from shards.reader import Dataset
from trainer.data.batches import Blocks
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.selection import select
from trainer.device import memory_in_use

SHAPES = ((64, 32), (16, 256), (32, 512), (32, 1024))
"""(lanes, block)"""
CPU = torch.device("cpu")


def make_loader(dataset: Dataset, songs: np.ndarray, lanes: int, block: int) -> Loader:
    lengths = dataset.index["tokens"].to_numpy()[songs] - 1
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail="wrap", seed=0
    )
    return Loader(sampler, Blocks(dataset, songs, block), CPU)


def speed(loader: Loader, steps: int) -> tuple[float, float]:
    """Seconds of processor time and of the clock for so many batches, after a hundred others."""
    for _ in range(100):
        next(loader)
    cpu, clock = time.process_time(), time.perf_counter()
    for _ in range(steps):
        next(loader)
    return time.process_time() - cpu, time.perf_counter() - clock


@click.command(cls=Measurement)
@dataset_argument
@click.option("--tokens", default=20_000_000, show_default=True, help="Tokens per shape.")
@click.option("--steps", default=100_000, show_default=True, help="Batches to watch memory over.")
def command(dataset: Path, tokens: int, steps: int) -> None:
    """Load batches of DATASET on the CPU: the loader's thread, and a loop that only asks for more.

    Speed is given by processor time of both and by the clock, which other programs slow down.
    Then the resident memory of the process over many batches of the smallest shape.
    """
    torch.set_num_threads(1)
    data = open_dataset(dataset)
    songs = select(data, "train")
    print("| lanes x block | million tokens per second of processor time | of the clock |")
    print("|---|---:|---:|")
    for lanes, block in SHAPES:
        loader = make_loader(data, songs, lanes, block)
        count = tokens // (lanes * block)
        cpu, clock = (count * lanes * block / 1e6 / seconds for seconds in speed(loader, count))
        loader.close()
        print(f"| {lanes} x {block} | {cpu:.1f} | {clock:.1f} |", flush=True)
    loader = make_loader(data, songs, *SHAPES[0])
    for step in range(1, steps + 1):
        _, position = next(loader)
        if step in (steps // 100, steps // 10, steps // 2, steps):
            mebibytes = memory_in_use(CPU) / 2**20
            print(f"step {step:,}, epoch {position['epoch']}: {mebibytes:.0f} MiB", flush=True)
    loader.close()
