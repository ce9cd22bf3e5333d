"""From a dataset of a million songs on disk to the first batch of training.

The dataset repeats a small one: its arrays are linked under the numbers of other shards, and its
rows of the index refer to these. There is no ledger, which training does not read.
"""

import os
import shutil
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import click
import pyarrow as pa

from benchmarks.arguments import Measurement, dataset_argument
from benchmarks.speed.load_batches import DEFAULT, make_loader
from benchmarks.tables import with_columns
from shards import open_dataset
from shards.layout import ARRAYS, INDEX, VOCABULARY, array_file
from shards.writer import write_manifest, write_table
from trainer.data.selection import select

Result = TypeVar("Result")

LANES, BLOCK = 32, 512


def repeat_dataset(path: Path, folder: Path, songs: int) -> Path:
    """Make a dataset that holds the songs of another one so often that there are so many."""
    small = open_dataset(path)
    copies = -(-songs // len(small))
    shard, cluster = (small.index[name].to_numpy() for name in ("shard", "cluster"))
    shards, clusters = int(shard.max()) + 1, int(cluster.max()) + 1
    (large := folder / "large").mkdir(parents=True)
    tables, files = [], {}
    for copy in range(copies):
        moved = {"shard": shard + copy * shards, "cluster": cluster + copy * clusters}
        columns = {name: pa.array(numbers) for name, numbers in moved.items()}
        tables.append(with_columns(small.index, **columns))
        for number in set(shard.tolist()):
            for array in ARRAYS:
                name, link = array_file(array, number), array_file(array, number + copy * shards)
                os.link(path / name, large / link)
                files[link] = small.manifest["files"][name]
    files[INDEX] = write_table(large / INDEX, pa.concat_tables(tables).combine_chunks())
    shutil.copy(path / VOCABULARY, large)
    manifest = {name: value for name, value in small.manifest.items() if name != "checksum"}
    write_manifest(large, {**manifest, "files": files})
    return large


def timed(what: str, call: Callable[[], Result]) -> Result:
    """Call a function, and print how long it took."""
    clock, processor = time.perf_counter(), time.process_time()
    result = call()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"| {what} | {processor:.2f} | {clock:.2f} |", flush=True)
    return result


def measure(path: Path) -> None:
    """Open a dataset and load its first batches, as training does."""
    data = timed("opening", lambda: open_dataset(path))
    songs = timed("selecting the songs of a split", lambda: select(data, "train"))
    loader = timed("planning an epoch", lambda: make_loader(data, songs, LANES, BLOCK, DEFAULT))
    timed("the first batch", lambda: next(loader))
    timed("99 more", lambda: [next(loader) for _ in range(99)])
    loader.close()


@click.command(cls=Measurement)
@dataset_argument
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--songs", type=int, default=1_000_000, show_default=True, help="At least so many.")
def command(dataset: Path, folder: Path, songs: int) -> None:
    """Load the first batch of a million songs, which repeat DATASET, made in FOLDER.

    FOLDER is a new place on the same disk, for 500 MB. A fresh process loads 32 lanes of 512
    tokens, as varied as training varies them by default.
    """
    large = repeat_dataset(dataset, folder, songs)
    print("| | seconds of processor time | of the clock |\n|---|---:|---:|", flush=True)
    process = get_context("spawn").Process(target=measure, args=(large,))
    process.start()
    process.join()
    raise SystemExit(process.exitcode)
