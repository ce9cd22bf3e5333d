"""Tokens per second from the memory maps to batches, sampler included; memory over many steps.

Of songs as they are, as training varies them by default, and with everything that it can draw.
"""

import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset
from shards.reader import Dataset
from trainer.config import Config
from trainer.data.batches import Blocks
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.selection import select
from trainer.data.streams import Variation
from trainer.device import memory_in_use

SHAPES = ((64, 32), (32, 512), (256, 512), (128, 1024))
"""(lanes, block): of the preset tiny, one between, of small, of base and large."""
CPU = torch.device("cpu")
DEFAULT = Variation.of(Config())
VARIATIONS = {
    "as they are": Variation(),
    "by default": DEFAULT,
    "everything": replace(DEFAULT, transpose=True, tempo_range=4, drop_parts=0.2),
}


def make_loader(
    dataset: Dataset, songs: np.ndarray, lanes: int, block: int, variation: Variation
) -> Loader:
    lengths = dataset.index["tokens"].to_numpy()[songs] - 1
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail="wrap", seed=0
    )
    return Loader(sampler, Blocks(dataset, songs, block, variation), CPU)


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
    mean_length = float(data.index["tokens"].to_numpy()[songs].mean())
    print(f"{len(songs):,} songs of {mean_length:,.0f} tokens on average")
    print("| songs | lanes x block | million tokens per second of processor time | of the clock "
          "| songs per second of processor time |")  # fmt: skip
    print("|---|---|---:|---:|---:|")
    for (name, variation), (lanes, block) in product(VARIATIONS.items(), SHAPES):
        loader = make_loader(data, songs, lanes, block, variation)
        count = tokens // (lanes * block)
        cpu, clock = (count * lanes * block / 1e6 / seconds for seconds in speed(loader, count))
        loader.close()
        print(f"| {name} | {lanes} x {block} | {cpu:.1f} | {clock:.1f} "
              f"| {cpu * 1e6 / mean_length:,.0f} |", flush=True)  # fmt: skip
    loader = make_loader(data, songs, *SHAPES[0], DEFAULT)
    for step in range(1, steps + 1):
        _, position = next(loader)
        if step in (steps // 100, steps // 10, steps // 2, steps):
            mebibytes = memory_in_use(CPU) / 2**20
            print(f"step {step:,}, epoch {position['epoch']}: {mebibytes:.0f} MiB", flush=True)
    loader.close()
