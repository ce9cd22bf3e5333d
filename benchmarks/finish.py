"""How long does the finish of 180,000 songs take, and how much memory?

    python -m benchmarks.finish CORPUS FOLDER      FOLDER: an empty place for 700 MB

The slices' parts are made of the real songs' rows, drawn again and again: a third are copies of
one song (a place in twenty of their signatures another), the others have names, checksums and
signatures of their own, two places in a hundred from other songs. The finish itself is the
pipeline's, in a process of its own: clusters, splits, index, ledger, report and manifest. Only
the shards' arrays, which it does not look at, are missing.
"""

import json
import resource
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.duplicates import songs_of
from pipeline.config import DataSettings, IngestSettings
from pipeline.duplicates.fingerprint import PLACES
from pipeline.report.build.note_counts import tally_fragment
from pipeline.report.build.timing import timing_fragment
from pipeline.running.finalize import finish
from pipeline.running.slice_task import FRAGMENT_SCHEMA, FileProcessor, warm_up
from pipeline.running.tasks import index_fragment, ledger_fragment
from pipeline.sources.listing import SourceFile
from shards.layout import LEDGER_SCHEMA, MANIFEST
from shards.writer import write_json, write_table

SONGS, SLICE = 180_000, 256
SETTINGS = DataSettings(ingest=IngestSettings(round_trip_check=0))


def real_rows(corpus: Path) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """Index and ledger rows of the corpus's kept songs, and their tally."""
    processor = FileProcessor(SETTINGS)
    results = [
        processor.process(SourceFile(name, str(corpus / name))) for name, _ in songs_of(corpus)
    ]
    kept = [result for result in results if result.index and result.index["signature"] is not None]
    index = pa.Table.from_pylist([result.index for result in kept], FRAGMENT_SCHEMA)
    ledger = pa.Table.from_pylist([result.ledger for result in kept], LEDGER_SCHEMA)
    return index, ledger, processor.tally.counts


def masked_inputs(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """The table with other columns of these names."""
    for name, column in columns.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(place), column)
    return table


def write_parts(corpus: Path, partial: Path) -> int:
    """Write the parts of enough slices for all songs; returns how many slices."""
    warm_up()
    random = np.random.default_rng(0)
    index, ledger, counts = real_rows(corpus)
    marks = np.stack(index["signature"].to_pylist()).astype(np.uint16)
    slices = -(-SONGS // SLICE)
    for number in range(slices):
        chosen = random.integers(0, len(marks), SLICE)
        signature, own = marks[chosen].copy(), random.random(SLICE) < 0.67
        drawn = random.integers(0, 1 << 16, signature.shape)
        others = marks[random.integers(0, len(marks), signature.shape), np.arange(PLACES)]
        fresh = np.where(random.random(signature.shape) < 0.02, others, drawn)
        edited = np.where(random.random(signature.shape) < 0.05, drawn, signature)
        signature = np.where(own[:, None], fresh, edited).astype(np.uint16)
        names = pa.array([f"{number}/{n}.mid" for n in range(SLICE)])
        md5s = pa.array([f"{number * SLICE + n:032x}" for n in range(SLICE)])
        rows = masked_inputs(
            index.take(chosen),
            path=names,
            md5=md5s,
            music=md5s,
            signature=pa.array(list(signature), pa.list_(pa.uint16())),
            anchor=pa.array(random.integers(0, 1 << 63, SLICE).astype(np.uint64)),
        )
        write_table(partial / index_fragment(number), rows)
        became = masked_inputs(ledger.take(chosen), path=names, md5=md5s)
        became = became.replace_schema_metadata({"files": json.dumps({})})
        write_table(partial / ledger_fragment(number), became)
        np.save(partial / tally_fragment(number), counts // (len(marks) // SLICE))
        times = [0.005] * SLICE
        began = 1.0 * number
        write_json(
            partial / timing_fragment(number),
            {"began": began, "ended": began + sum(times), "seconds": times},
        )
    return slices


def measure(partial: Path, slices: int) -> None:
    """Finish the dataset, and print its time and this process's memory."""
    began = time.perf_counter()
    finish(partial, partial.with_suffix(""), slices, SETTINGS)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    counts = json.loads((partial.with_suffix("") / MANIFEST).read_bytes())["counts"]
    print(f"{counts['songs']:,} songs, {counts['clusters']:,} clusters: {seconds:.1f} s, "
          f"peak {peak:.0f} MB")  # fmt: skip


def main() -> None:
    """Write the parts, then finish them in a fresh process."""
    corpus, folder = map(Path, sys.argv[1:])
    partial = folder / "lakh.partial"
    partial.mkdir(parents=True)
    slices = write_parts(corpus, partial)
    process = get_context("spawn").Process(target=measure, args=(partial, slices))
    process.start()
    process.join()
    sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
