"""Select songs by an SQL condition over the index, such as `instruments >= 3 and meter = '4/4'`."""

import duckdb
import numpy as np
import pyarrow as pa

from shards.errors import LakhxlError


def matching_songs(index: pa.Table, where: str) -> np.ndarray:
    """Find the songs for which a condition over the index's columns is true.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        where: one condition, as it would follow WHERE. It cannot read anything but the index.

    Returns:
        shape (songs,), bool; False where the condition is null.

    Raises:
        LakhxlError: the condition is not valid SQL.
    """
    numbered = index.append_column("row", [range(index.num_rows)])
    with duckdb.connect() as connection:
        connection.execute("set enable_external_access = false")
        try:
            songs = connection.from_arrow(numbered)
            rows = songs.filter(where).project("row").fetchnumpy()["row"]
        except duckdb.Error as error:
            raise LakhxlError(f"--where {where!r}: {str(error).splitlines()[0]}") from error
    matching = np.zeros(index.num_rows, bool)
    matching[rows.astype(np.int64)] = True
    return matching
