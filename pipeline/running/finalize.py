"""Put the slices' fragments together: index, ledger, report and manifest.

Everything is written into the unfinished folder, the manifest last; then the fragments are
deleted and the folder is renamed. If this is interrupted, it starts over, or continues from the
manifest.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import DataSettings
from pipeline.duplicates.columns import duplicate_columns
from pipeline.report.compute.note_counts import note_counts_fragment, sum_counts
from pipeline.report.compute.report import build_report
from pipeline.report.compute.timing import timings_page_path, write_timings
from pipeline.report.html.report_page import report_html
from pipeline.report.html.timing_page import timings_html
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA, index_fragment, ledger_fragment
from pipeline.running.prepare import PLAN
from shards import settings
from shards.layout import (
    FORMAT_VERSION,
    INDEX,
    INDEX_SCHEMA,
    LEDGER,
    LEDGER_SCHEMA,
    MANIFEST,
    REPORT,
    REPORT_PAGE,
    SPLITS,
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
    fragments = [
        read_table(partial / index_fragment(n), INDEX_FRAGMENT_SCHEMA) for n in range(slices)
    ]
    ledgers = [_read_ledger(partial / ledger_fragment(n)) for n in range(slices)]
    index = _index(fragments, data_settings)
    ledger = _ledger([table for table, _ in ledgers])
    counts = sum_counts(
        vocabulary, (np.load(partial / note_counts_fragment(n)) for n in range(slices))
    )
    report = build_report(index, ledger, counts, data_settings.limits)
    timings = write_timings(partial, folder, slices, ledger)
    write_text(timings_page_path(folder), timings_html(timings))
    files = {name: checksum for _, checksums in ledgers for name, checksum in checksums.items()}
    files |= {
        VOCABULARY: write_json(partial / VOCABULARY, vocabulary.to_json()),
        INDEX: write_table(partial / INDEX, index),
        LEDGER: write_table(partial / LEDGER, ledger),
        REPORT: write_json(partial / REPORT, report),
        REPORT_PAGE: write_text(partial / REPORT_PAGE, report_html(report)),
    }
    write_manifest(
        partial,
        {
            "format_version": FORMAT_VERSION,
            "settings": settings.to_json(data_settings),
            "vocabulary_fingerprint": vocabulary.fingerprint,
            "counts": _counts(index, ledger),
            "files": files,
        },
    )


def _read_ledger(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """Read one slice's ledger fragment, and the checksums of its shard's files."""
    table = read_table(path, LEDGER_SCHEMA)
    checksums = json.loads(table.schema.metadata[b"files"])
    return table.replace_schema_metadata(None), checksums


def _index(fragments: Sequence[pa.Table], data_settings: DataSettings) -> pa.Table:
    songs = pa.concat_tables(fragments)
    columns = {
        **{name: songs[name] for name in songs.column_names},
        **duplicate_columns(songs, data_settings.duplicates, data_settings.split),
        **_locations(fragments),
    }
    arrays = [pa.array(columns[column.name], column.type) for column in INDEX_SCHEMA]
    return pa.table(arrays, INDEX_SCHEMA)


def _locations(fragments: Sequence[pa.Table]) -> dict[str, np.ndarray]:
    """Shard, start and stop of every song; the songs of a shard are contiguous."""
    lengths = [fragment["tokens"].to_numpy().astype(np.int64) for fragment in fragments]
    stops = [np.cumsum(of_shard) for of_shard in lengths]
    starts = [stop - length for stop, length in zip(stops, lengths, strict=True)]
    shard = [np.full(len(of_shard), number) for number, of_shard in enumerate(lengths)]
    return {
        "shard": np.concatenate(shard),
        "start": np.concatenate(starts),
        "stop": np.concatenate(stops),
    }


def _ledger(fragments: Sequence[pa.Table]) -> pa.Table:
    ledger = pa.concat_tables(fragments)
    kept = np.array([outcome == "kept" for outcome in ledger["outcome"].to_pylist()])
    song = pa.array(np.cumsum(kept) - 1, pa.int32(), mask=~kept)
    return ledger.set_column(
        LEDGER_SCHEMA.get_field_index("song"), LEDGER_SCHEMA.field("song"), song
    )


def _counts(index: pa.Table, ledger: pa.Table) -> dict[str, Any]:
    split, representative = np.array(index["split"].to_pylist()), index["representative"].to_numpy()
    return {
        "files": ledger.num_rows,
        "songs": index.num_rows,
        "tokens": int(index["tokens"].to_numpy().sum()),
        "clusters": int(representative.sum()),
        "outcomes": dict(sorted(Counter(ledger["outcome"].to_pylist()).items())),
        "representatives": {name: int((representative & (split == name)).sum()) for name in SPLITS},
    }
