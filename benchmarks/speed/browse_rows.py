"""`pipeline browse` with a million rows: the first page, queries, histograms, and memory.

The tables of a dataset are written many times, with names and checksums of their own, and its
shards are left out: no song is opened.
"""

import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import click
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.arguments import Measurement, dataset_argument
from benchmarks.tables import with_columns
from pipeline.browse.server import Site
from shards import open_dataset
from shards.layout import INDEX, LEDGER, MANIFEST, VOCABULARY
from shards.reader import Dataset
from shards.writer import write_table

QUERIES = {
    "one column, sorted": {"sort": ["notes"], "order": ["desc"], "f.notes": [">=2000"]},
    "two columns": {"f.bpm": ["100..<120"], "f.meter": ["=3/4"]},
    "sorted by name": {"sort": ["path"]},
    "a part of a name": {"q": ["love"]},
    "an instrument": {"f.programs": ["flute"]},
    "the last page": {"page": ["50000"], "size": ["20"]},
}
REPEATS = 5


@click.command(cls=Measurement)
@dataset_argument
@click.option("--rows", type=int, default=1_000_000, show_default=True, help="Songs to show.")
def command(dataset: Path, rows: int) -> None:
    """Time what the page of `pipeline browse` asks for, over many songs."""
    with tempfile.TemporaryDirectory() as folder:
        large = repeat(open_dataset(dataset), Path(folder), rows)
        start = clocks()
        site = Site(open_dataset(large))
        for address in ("/api/about", "/api/songs/columns", "/api/songs"):
            site.answer(address, {})
        print(f"{f'{rows:,} songs':<32}{'time':>10}{'processor':>12}")
        print_time("opened, and the first page", [passed(start)])
        for name, query in QUERIES.items():
            print_time(name, answer(site, "/api/songs", query))
        for column in ("bpm", "notes", "key", "programs"):
            values = answer(site, "/api/songs/values", {"name": [column]})
            print_time(f"values of {column}", values)
        print_time("files not kept", answer(site, "/api/files", {"f.rule": ["few"]}))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{'memory, mapped tables included':<32}{used:7.2f} GB")


def clocks() -> tuple[float, float]:
    """Seconds by the clock, and of processor time: the latter is less disturbed by others."""
    return time.perf_counter(), time.process_time()


def passed(start: tuple[float, float]) -> tuple[float, float]:
    """What has passed since."""
    now = clocks()
    return now[0] - start[0], now[1] - start[1]


def answer(site: Site, address: str, query: dict[str, list[str]]) -> list[tuple[float, float]]:
    """What each of a few answers takes."""
    taken = []
    for _ in range(REPEATS):
        start = clocks()
        site.answer(address, query)
        taken.append(passed(start))
    return taken


def print_time(name: str, taken: list[tuple[float, float]]) -> None:
    """Print the medians of both clocks."""
    by_clock, processor = (median(seconds) for seconds in zip(*taken, strict=True))
    print(f"{name:<32}{by_clock:8.3f} s{processor:10.3f} s")


def repeat(dataset: Dataset, folder: Path, rows: int) -> Path:
    """Write a dataset's tables until there are so many songs."""
    songs, clusters = len(dataset), dataset.manifest["counts"]["clusters"]
    times = -(-rows // songs)
    shards = dataset.index["shard"][-1].as_py() + 1
    tables = {INDEX: dataset.index, LEDGER: dataset.ledger()}
    step = {"shard": shards, "cluster": clusters, "song": songs}
    for file, table in tables.items():
        write_table(folder / file, pa.concat_tables(moved(table, n, step) for n in range(times)))
    shutil.copy(dataset.path / VOCABULARY, folder)
    (folder / MANIFEST).write_text(json.dumps(dataset.manifest))
    return folder


def moved(table: pa.Table, copy: int, step: dict[str, int]) -> pa.Table:
    """A copy of a table that is of other files."""
    columns = {
        "path": pc.binary_join_element_wise(f"{copy:04}", table["path"], "/"),
        "md5": pc.utf8_replace_slice(table["md5"], 0, 8, f"{copy:08x}"),
    }
    for name in step.keys() & set(table.column_names):
        columns[name] = pc.add(table[name].cast(pa.int64()), copy * step[name])
    return with_columns(table, **columns)
