"""From the slices' parts to one dataset: duplicates, splits, index, ledger, report, manifest.

Everything is done in the unfinished folder, the manifest last; then the parts go and the folder
gets its name. A finish that is interrupted starts over, or goes on from the manifest.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import DataSettings
from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.fingerprint import PLACES
from pipeline.duplicates.settings import read_list
from pipeline.duplicates.splits import earlier_splits, splits
from pipeline.report.build.note_counts import tally_fragment, total
from pipeline.report.build.report import measure_report, report_html
from pipeline.report.build.timing import timings_page_path, write_timings
from pipeline.report.html.timing_page import timings_html
from pipeline.running.slice_task import FRAGMENT_SCHEMA
from pipeline.running.tasks import PLAN, index_fragment, ledger_fragment
from shards import settings
from shards.layout import (
    DUPLICATE_KINDS,
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
from shards.reader import read_table
from shards.vocabulary import Vocabulary
from shards.writer import publish_folder, write_json, write_manifest, write_table, write_text


def finish(partial: Path, folder: Path, slices: int, data_settings: DataSettings) -> None:
    """Turn an unfinished folder, all slices published, into the dataset."""
    if not (partial / MANIFEST).is_file():
        _complete(partial, folder, slices, data_settings)
    keep = json.loads((partial / MANIFEST).read_bytes())["files"]
    left = [path for path in partial.iterdir() if path.name not in keep and path.name != MANIFEST]
    for path in sorted(left, key=lambda path: path.name == PLAN):  # that one last
        path.unlink()
    publish_folder(partial, folder)


def _complete(partial: Path, folder: Path, slices: int, data_settings: DataSettings) -> None:
    vocabulary = Vocabulary(data_settings.codec)
    parts = [read_table(partial / index_fragment(n), FRAGMENT_SCHEMA) for n in range(slices)]
    ledgers = [_read_ledger(partial / ledger_fragment(n)) for n in range(slices)]
    index = _index(parts, data_settings)
    ledger = _ledger([table for table, _ in ledgers])
    tally = total(vocabulary, (np.load(partial / tally_fragment(n)) for n in range(slices)))
    report = measure_report(index, ledger, tally, data_settings.limits)
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
    """One slice's part of the ledger, and the checksums of its shard's files."""
    table = read_table(path, LEDGER_SCHEMA)
    checksums = json.loads(table.schema.metadata[b"files"])
    return table.replace_schema_metadata(None), checksums


def _index(parts: Sequence[pa.Table], data_settings: DataSettings) -> pa.Table:
    songs = pa.concat_tables(parts)
    md5s, music = songs["md5"].to_pylist(), songs["music"].to_pylist()
    duplicates, split = data_settings.duplicates, data_settings.split
    marks = _signatures(songs)
    heard = cluster = clusters(md5s, music, marks, duplicates)
    if duplicates.duplicate_list:
        listed = read_list(duplicates.duplicate_list, md5s, songs["path"].to_pylist())
        cluster = clusters(md5s, music, marks, duplicates, listed)
    earlier = earlier_splits(split.keep_splits, md5s) if split.keep_splits else None
    columns: dict[str, Any] = {
        name: songs[name] for name in INDEX_SCHEMA.names if name in songs.column_names
    }
    columns["cluster"] = cluster
    columns["split"] = splits(songs["anchor"].to_pylist(), cluster, split, earlier)
    columns["representative"] = representatives(songs, cluster)
    columns["duplicate"] = copies(md5s, music, heard.tolist(), cluster.tolist())
    columns |= _places(parts)
    return pa.table([pa.array(columns[name], kind) for name, kind in _kinds()], INDEX_SCHEMA)


def _kinds() -> list[tuple[str, pa.DataType]]:
    return [(column.name, column.type) for column in INDEX_SCHEMA]


def _signatures(songs: pa.Table) -> list[np.ndarray | None]:
    column = songs["signature"].combine_chunks()
    told = column.is_valid().to_numpy(zero_copy_only=False)
    rows = iter(column.flatten().to_numpy().reshape(-1, PLACES))
    return [next(rows) if one else None for one in told.tolist()]


def representatives(songs: pa.Table, cluster: np.ndarray) -> np.ndarray:
    """Which song of each cluster is trained on.

    One with a click before one without, then one read without repair, then the one with most
    notes, then the first.

    Returns:
        shape (songs,), bool; one True a cluster.
    """
    repaired = np.array(songs["tier"].to_pylist()) != "strict"
    unaligned = songs["unaligned"].to_numpy()
    order = np.lexsort((-songs["notes"].to_numpy(), repaired, unaligned, cluster))
    first = np.ones(len(order), bool)
    first[1:] = np.diff(cluster[order]) != 0
    representative = np.zeros(len(order), bool)
    representative[order[first]] = True
    return representative


def copies(*evidence: Sequence[Any]) -> list[str | None]:
    """How each song is known to repeat an earlier one, the strongest evidence first.

    Args:
        evidence: parallel, in the order of DUPLICATE_KINDS: songs with equal entries are such copies.
    """
    seen: list[set[Any]] = [set() for _ in DUPLICATE_KINDS]
    found = []
    for keys in zip(*evidence, strict=True):
        known = (
            kind
            for kind, key, before in zip(DUPLICATE_KINDS, keys, seen, strict=True)
            if key in before
        )
        found.append(next(known, None))
        for key, before in zip(keys, seen, strict=True):
            before.add(key)
    return found


def _places(parts: Sequence[pa.Table]) -> dict[str, np.ndarray]:
    """Shard, start and stop of every song: a shard's songs lie end to end."""
    lengths = [part["tokens"].to_numpy().astype(np.int64) for part in parts]
    stops = [np.cumsum(of_shard) for of_shard in lengths]
    starts = [stop - length for stop, length in zip(stops, lengths, strict=True)]
    shard = [np.full(len(of_shard), number) for number, of_shard in enumerate(lengths)]
    return {
        "shard": np.concatenate(shard),
        "start": np.concatenate(starts),
        "stop": np.concatenate(stops),
    }


def _ledger(parts: Sequence[pa.Table]) -> pa.Table:
    ledger = pa.concat_tables(parts)
    kept = np.array([outcome == "kept" for outcome in ledger["outcome"].to_pylist()])
    song = pa.array(np.cumsum(kept) - 1, pa.int32(), mask=~kept)
    return ledger.set_column(
        LEDGER_SCHEMA.get_field_index("song"), LEDGER_SCHEMA.field("song"), song
    )


def _counts(index: pa.Table, ledger: pa.Table) -> dict[str, Any]:
    split, representative = np.array(index["split"].to_pylist()), index["representative"].to_numpy()
    outcomes = sorted(set(ledger["outcome"].to_pylist()))
    found = ledger["outcome"].to_pylist()
    return {
        "files": ledger.num_rows,
        "songs": index.num_rows,
        "tokens": int(index["tokens"].to_numpy().sum()),
        "clusters": int(representative.sum()),
        "outcomes": {outcome: found.count(outcome) for outcome in outcomes},
        "primary_songs": {name: int((representative & (split == name)).sum()) for name in SPLITS},
    }
