"""Columns of the index and the ledger for the report, without a copy of many rows at once."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

ROWS_AT_ONCE = 1 << 16


class Songs:
    """The representative songs of an index, of which a column is copied when it is asked for.

    All columns of a million songs take 300 MB.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
    """

    def __init__(self, index: pa.Table) -> None:
        self._index = index

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self._index[name].filter(self._index["representative"])

    def __len__(self) -> int:
        return len(self["representative"])

    def select(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table."""
        return pa.table({name: self[name] for name in names})


def pieces(column: pa.ChunkedArray) -> Iterator[pa.Array]:
    """A column's rows in order, some at a time: for what takes many bytes per row."""
    for chunk in column.chunks:
        for first in range(0, len(chunk), ROWS_AT_ONCE):
            yield chunk.slice(first, ROWS_AT_ONCE)
