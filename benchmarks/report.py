"""The report of a dataset as large as Lakh: seconds and memory, from parts to page.

The parts are those of a real or a demo dataset, repeated until there are as many files as asked
for, under other names and in other clusters; each slice has a tally of its own. Measured is what
finishing a dataset does for its report: add the tallies up, measure, write JSON and HTML.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.clean.rules import Limits
from pipeline.report.build.note_counts import LossSums, total
from pipeline.report.build.report import measure_report, report_html, report_text
from shards import open_dataset
from shards.layout import INDEX_SCHEMA, LEDGER_SCHEMA

SLICE_FILES = 256


def repeated(table: pa.Table, rows: int, schema: pa.Schema) -> pa.Table:
    """A table of this many rows, its paths, checksums and clusters made different."""
    copies = -(-rows // table.num_rows)
    tables = []
    for copy in range(copies):
        columns = {name: table[name].combine_chunks() for name in schema.names}
        columns["path"] = pa.array([f"{copy}/{path}" for path in columns["path"].to_pylist()])
        columns["md5"] = pa.array(
            [md5 and f"{copy:08x}{md5[8:]}" for md5 in columns["md5"].to_pylist()], pa.string()
        )
        for name, step in (("cluster", table.num_rows), ("song", table.num_rows)):
            if name in columns:
                shifted = columns[name].to_pylist()
                columns[name] = pa.array(
                    [None if n is None else n + copy * step for n in shifted], pa.int32()
                )
        tables.append(pa.table([columns[name] for name in schema.names], schema))
    return pa.concat_tables(tables).slice(0, rows).combine_chunks()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--songs", type=int, default=180_000)
    given = parser.parse_args()
    dataset = open_dataset(given.dataset)
    kept = dataset.index.num_rows / dataset.ledger().num_rows
    index = repeated(dataset.index, given.songs, INDEX_SCHEMA)
    ledger = repeated(dataset.ledger(), round(given.songs / kept), LEDGER_SCHEMA)
    size = len(LossSums(dataset.vocabulary).counts)
    random = np.random.default_rng(0)
    tallies = [random.integers(0, 5000, size) for _ in range(-(-ledger.num_rows // SLICE_FILES))]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    begun = time.perf_counter()
    tally = total(dataset.vocabulary, tallies)
    report = measure_report(index, ledger, tally, Limits())
    data = json.dumps(report, indent=1, ensure_ascii=False).encode()
    measured = time.perf_counter() - begun
    page = report_html(report).encode()
    drawn = time.perf_counter() - begun - measured
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    print(report_text(report))
    print(f"\n{index.num_rows:,} songs, {ledger.num_rows:,} files, {len(tallies)} slices")
    print(f"report.json  {measured:.2f} s, {len(data) / 1e3:,.0f} kB")
    print(f"report.html  {drawn:.2f} s, {len(page) / 1e3:,.0f} kB")
    print(f"memory       {peak / 1e3:,.0f} MB at most, {before / 1e3:,.0f} MB before: the tables")


if __name__ == "__main__":
    main()
