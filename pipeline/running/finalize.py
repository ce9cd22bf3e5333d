"""Put the slices' fragments together: index, ledger, report and manifest.

Everything is written into the unfinished folder, the manifest last; then the fragments are
deleted and the folder is renamed. If this is interrupted, it starts over, or continues from the
manifest.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import DataSettings
from pipeline.duplicates.columns import duplicate_columns
from pipeline.duplicates.stored import read_columns
from pipeline.report.compute.note_counts import note_counts_fragment, sum_counts
from pipeline.report.compute.report import build_report
from pipeline.report.compute.rolls import RULES, one_of_each_rule, rolls
from pipeline.report.compute.timing import timings_page_path, write_timings
from pipeline.report.html.report_page import report_html
from pipeline.report.html.timing_page import timings_html
from pipeline.report.schema import RejectedRoll
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA, index_fragment, ledger_fragment
from pipeline.running.prepare import PLAN
from shards import settings
from shards.check import counts as manifest_counts
from shards.layout import (
    FORMAT_VERSION,
    INDEX,
    INDEX_SCHEMA,
    LEDGER,
    LEDGER_SCHEMA,
    MANIFEST,
    REPORT,
    REPORT_PAGE,
    VOCABULARY,
)
from shards.mapped_files import read_table
from shards.reader import read_json
from shards.vocabulary import Vocabulary
from shards.writer import publish_folder, write_json, write_manifest, write_table, write_text


def finalize(partial: Path, folder: Path, slices: int, data_settings: DataSettings) -> None:
    """Turn an unfinished folder, all slices published, into the dataset."""
    if not partial.exists() and (folder / MANIFEST).is_file():
        return  # a worker was killed after it had renamed the folder
    if not (partial / MANIFEST).is_file():
        _write_dataset(partial, folder, slices, data_settings)
    keep = {MANIFEST, *read_json(partial / MANIFEST)["files"]}
    rest = [path for path in partial.iterdir() if path.name not in keep]
    for path in sorted(rest, key=lambda path: path.name == PLAN):  # the plan last
        path.unlink()
    publish_folder(partial, folder)


def _write_dataset(partial: Path, folder: Path, slices: int, data_settings: DataSettings) -> None:
    vocabulary = Vocabulary(data_settings.codec)
    tables = {INDEX: write_table(partial / INDEX, _index(partial, slices, data_settings))}
    ledgers = [read_table(partial / ledger_fragment(n), LEDGER_SCHEMA) for n in range(slices)]
    tables[LEDGER] = write_table(partial / LEDGER, _ledger(ledgers))
    rejected, facts = _rejected_rolls(ledgers), [table.schema.metadata for table in ledgers]
    del ledgers
    # from here on mapped from the files: only the columns that are read take memory
    pa.default_memory_pool().release_unused()
    index = read_table(partial / INDEX, INDEX_SCHEMA)
    ledger = read_table(partial / LEDGER, LEDGER_SCHEMA)
    counts = sum_counts(
        vocabulary, (np.load(partial / note_counts_fragment(n)) for n in range(slices))
    )
    begun = rolls(partial, index, vocabulary)
    report = build_report(index, ledger, counts, data_settings, begun, rejected)
    timings = write_timings(partial, folder, slices, ledger)
    write_text(timings_page_path(folder), timings_html(timings))
    files = {name: sha for one in facts for name, sha in json.loads(one[b"files"]).items()}
    files |= {
        VOCABULARY: write_json(partial / VOCABULARY, vocabulary.to_json()),
        **tables,
        REPORT: write_json(partial / REPORT, report),
        REPORT_PAGE: write_text(partial / REPORT_PAGE, report_html(report)),
    }
    write_manifest(
        partial,
        {
            "format_version": FORMAT_VERSION,
            "settings": settings.to_json(data_settings),
            "vocabulary_fingerprint": vocabulary.fingerprint,
            "counts": manifest_counts(index, ledger),
            "files": files,
        },
    )


def _rejected_rolls(ledgers: Sequence[pa.Table]) -> list[RejectedRoll]:
    """A file of each rule, of those that the slices chose, numbered by its row in the ledger."""

    def numbered() -> Iterator[tuple[str, RejectedRoll]]:
        row = 0
        for table in ledgers:
            for md5, roll in json.loads(table.schema.metadata.get(b"rolls", b"{}")).items():
                roll["file"] += row
                yield md5, roll
            row += table.num_rows

    return list(one_of_each_rule(numbered()).values())[:RULES]


def _index(partial: Path, slices: int, data_settings: DataSettings) -> pa.Table:
    def tables() -> Iterator[pa.Table]:
        for number in range(slices):
            yield read_table(partial / index_fragment(number), INDEX_FRAGMENT_SCHEMA)

    columns = duplicate_columns(tables, partial, data_settings.duplicates, data_settings.split)
    columns |= _locations([table["tokens"].to_numpy().copy() for table in tables()])
    stored = [name for name in INDEX_SCHEMA.names if name not in columns]
    songs = read_columns(tables, stored)
    columns |= dict(zip(stored, songs.columns, strict=True))
    del songs  # each column in one piece, and its pieces let go: not the whole index twice
    arrays = []
    for field in INDEX_SCHEMA:
        column = columns.pop(field.name)
        is_stored = isinstance(column, pa.ChunkedArray)
        arrays.append(_in_one_piece(column) if is_stored else pa.array(column, field.type))
        del column
        pa.default_memory_pool().release_unused()
    return pa.table(arrays, INDEX_SCHEMA)


def _in_one_piece(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Put a column's chunks together: in one, unless 32-bit offsets end, after 2 GB of names."""
    return pa.table({"column": column}).combine_chunks()["column"]


def _locations(lengths: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Shard, start and stop of every song, by the lengths of each shard's; these are contiguous."""
    stops = [np.cumsum(of_shard, dtype=np.int64) for of_shard in lengths]
    starts = [stop - length for stop, length in zip(stops, lengths, strict=True)]
    shard = [np.full(len(of_shard), number) for number, of_shard in enumerate(lengths)]
    return {
        "shard": np.concatenate(shard),
        "start": np.concatenate(starts),
        "stop": np.concatenate(stops),
    }


def _ledger(fragments: Sequence[pa.Table]) -> pa.Table:
    ledger = pa.concat_tables([table.replace_schema_metadata(None) for table in fragments])
    kept = pc.equal(ledger["outcome"], "kept").to_numpy()
    song = pa.array(np.cumsum(kept) - 1, pa.int32(), mask=~kept)
    return ledger.set_column(
        LEDGER_SCHEMA.get_field_index("song"), LEDGER_SCHEMA.field("song"), song
    )
