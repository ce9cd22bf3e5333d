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

from benchmarks.arguments import Measurement, dataset_argument
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
        start = time.perf_counter()
        site = Site(open_dataset(large))
        for address in ("/api/about", "/api/songs/columns", "/api/songs"):
            site.answer(address, {})
        print(f"{rows:,} songs")
        print(f"{'opened, and the first page':<32}{time.perf_counter() - start:8.2f} s")
        for name, query in QUERIES.items():
            print_time(name, site, "/api/songs", query)
        for column in ("bpm", "notes", "key", "programs"):
            print_time(f"values of {column}", site, "/api/songs/values", {"name": [column]})
        print_time("files not kept", site, "/api/files", {"f.rule": ["few"]})
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{'memory, mapped tables included':<32}{used:8.2f} GB")


def print_time(name: str, site: Site, address: str, query: dict[str, list[str]]) -> None:
    """Print the median time of an answer."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        site.answer(address, query)
        seconds.append(time.perf_counter() - start)
    print(f"{name:<32}{median(seconds):8.3f} s")


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
    for place, field in enumerate(table.schema):
        values = table[field.name].to_pylist() if field.name in (*step, "path", "md5") else []
        if field.name == "path":
            values = [f"{copy:04}/{path}" for path in values]
        elif field.name == "md5":
            values = [md5 and f"{copy:08x}{md5[8:]}" for md5 in values]
        elif field.name in step:
            values = [n if n is None else n + copy * step[field.name] for n in values]
        else:
            continue
        table = table.set_column(place, field, pa.array(values, field.type))
    return table
