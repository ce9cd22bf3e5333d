"""Read what the slices stored of their songs, without holding all of it in memory."""

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from pipeline.duplicates.signature import BINS, SIGNATURE

Tables = Callable[[], Iterable[pa.Table]]
"""Opens the slices' tables, which hold the songs in order. They are opened for each use and read
one after another: memory-mapped files count as memory, and all of them are larger than the rest."""
GROUP = 64
ROW_BYTES = 2 * BINS


def read_columns(tables: Tables, names: Sequence[str]) -> pa.Table:
    """Copy columns of all songs, so that no file stays mapped."""
    opened, groups = iter(tables()), []
    while group := [table.select(names) for table in islice(opened, GROUP)]:
        groups.append(pa.concat_tables(group).combine_chunks())
    pa.default_memory_pool().release_unused()  # it keeps as much again from putting chunks together
    return pa.concat_tables(groups)


def numbers(names: pa.ChunkedArray) -> np.ndarray:
    """Number strings from 0, by their first occurrence: all that is compared of them; int32."""
    chunks = names.dictionary_encode().chunks
    return np.concatenate([*(chunk.indices for chunk in chunks), np.zeros(0, np.int32)])


class PlacesFile:
    """The places of signatures in a file, of which few rows are ever needed.

    Indexed by row numbers, as an array of shape (signatures, BINS) would be.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, places: np.ndarray) -> None:
        """Add rows."""
        self._file.write(places.tobytes())
        self._file.flush()

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), BINS), np.uint16)
        for into, row in zip(found, rows.tolist(), strict=True):
            os.preadv(self._file.fileno(), [into.data], row * ROW_BYTES)
        return found


def read_hashes(
    tables: Tables, kind: str, wanted: np.ndarray, places: PlacesFile | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the hashes of the signatures of one kind, of the songs wanted that have one.

    Args:
        tables: with the column `kind`, one of KINDS.
        kind: which.
        wanted: shape (songs,), bool.
        places: where the places of the same signatures are added, if anywhere.

    Returns:
        numbers of these songs, ascending; and the hashes of `SIGNATURE`.
    """
    numbers = np.empty(np.count_nonzero(wanted), np.int64)
    hashes = np.empty((len(numbers), BINS), np.uint16)
    first = found = 0
    for chunk in (chunk for table in tables() for chunk in table[kind].chunks):
        has_one = chunk.is_valid().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(has_one & wanted[first : first + len(chunk)])
        stored = np.frombuffer(chunk.buffers()[1], SIGNATURE)[chunk.offset :][: len(chunk)]
        numbers[found : found + len(rows)] = first + rows
        hashes[found : found + len(rows)] = stored["hashes"][rows]
        if places is not None:
            places.append(stored["places"][rows])
        first, found = first + len(chunk), found + len(rows)
    return numbers[:found], hashes[:found]
