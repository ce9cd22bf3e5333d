"""What became of the files of each folder of the source.

A folder is the first level at which paths differ: folders that hold everything, as an archive's
own, are passed over. Where there are several sources, these are the folders.
"""

from itertools import takewhile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.compute.songs import pieces
from pipeline.report.number_format import significant
from pipeline.report.schema import FolderUse, Reason
from shards.layout import SPLITS

MAX_FOLDERS = 20
"""Rows; the 16 folders of the Lakh MIDI Dataset fit. Smaller folders are added up in the last."""
MAX_LOST = 3
"""Reasons named of each folder."""


def folder_use(index: pa.Table, ledger: pa.Table) -> list[FolderUse]:
    """One row for each folder, the one with the most files first; the last may be all others.

    Args:
        index, ledger: as for `build_report`.
    """
    if not ledger.num_rows:
        return []
    paths = pa.chunked_array([*ledger["path"].chunks, *index["path"].chunks], pa.string())
    encoded = _folders(paths).unify_dictionaries().combine_chunks()
    names, numbers = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
    files = np.bincount(numbers[: ledger.num_rows], minlength=len(names)).tolist()
    order = sorted(range(len(names)), key=lambda number: (-files[number], names[number]))
    shown = order if len(order) <= MAX_FOLDERS else order[: MAX_FOLDERS - 1]
    row = np.full(len(names), len(shown))
    row[shown] = np.arange(len(shown))
    index = index.select(["representative", "split", "onset_error_ms"])
    ledger = ledger.select(["outcome", "rule"])
    of_file, of_song = np.split(row[numbers], [ledger.num_rows])
    rows = [
        _use(index.filter(pa.array(of_song == at)), ledger.filter(pa.array(of_file == at)))
        for at in range(len(shown) + (len(order) > len(shown)))
    ]
    for use, number in zip(rows, shown, strict=False):
        use["folder"] = names[number] or "."
    if len(order) > len(shown):
        rows[-1]["folders"] = len(order) - len(shown)
    return rows


def _folders(paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """The first folder of each path below the one that holds all; empty for files in that.

    As dictionaries: of each piece its own.
    """
    ends = [end.as_py().rpartition("/")[0] for end in pc.min_max(paths).values()]
    pairs = zip(*(end.split("/") for end in ends), strict=False)
    common = takewhile(lambda pair: pair[0] == pair[1], pairs)
    passed_over = sum(len(name) + 1 for name, _ in common)
    return pa.chunked_array(
        [_first_folder(piece, passed_over).dictionary_encode() for piece in pieces(paths)]
    )


def _first_folder(paths: pa.Array, passed_over: int) -> pa.Array:
    """The first folder of each path after so many characters; empty where there is none."""
    below = pc.utf8_slice_codeunits(paths, passed_over)
    first = pc.list_element(pc.split_pattern(below, "/", max_splits=1), 0)
    return pc.if_else(pc.match_substring(below, "/"), first, "")


def _use(kept: pa.Table, files: pa.Table) -> FolderUse:
    songs = kept.filter(kept["representative"])
    splits: dict[str, int] = dict.fromkeys(SPLITS, 0)
    splits |= {pair["values"]: pair["counts"] for pair in songs["split"].value_counts().to_pylist()}
    errors = songs["onset_error_ms"].to_numpy()
    return {
        "folder": None,
        "folders": 1,
        "files": files.num_rows,
        "kept": kept.num_rows,
        "lost": reasons(files)[:MAX_LOST],
        "onset_error_ms": significant(float(np.median(errors))) if len(errors) else None,
        "split_songs": splits,
    }


def reasons(ledger: pa.Table) -> list[Reason]:
    """Why files were not kept, the most frequent reason first."""
    ledger = ledger.select(["outcome", "rule"])
    dropped = ledger.filter(pc.not_equal(ledger["outcome"], "kept"))
    groups = (
        dropped.group_by(["outcome", "rule"], use_threads=False)
        .aggregate([([], "count_all")])
        .to_pylist()
    )
    rows: list[Reason] = [
        {"outcome": group["outcome"], "rule": group["rule"], "files": group["count_all"]}
        for group in groups
    ]
    return sorted(rows, key=lambda row: (-row["files"], row["outcome"], row["rule"] or ""))
