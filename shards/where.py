"""Which songs of a dataset a condition in SQL is true of: `instruments >= 3 and meter = '4/4'`."""

import duckdb
import numpy as np
import pyarrow as pa

from shards.errors import LakhxlError


def holds(index: pa.Table, where: str) -> np.ndarray:
    """For which songs a condition over the index's columns is true.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        where: one condition, as it would follow WHERE. It can read nothing but the index.

    Returns:
        shape (songs,), bool. Where the condition is null, as of a column that is, it isn't true.

    Raises:
        LakhxlError: the condition is not one.
    """
    numbered = index.append_column("row", [range(index.num_rows)])
    with duckdb.connect() as connection:
        connection.execute("set enable_external_access = false")
        try:
            songs = connection.from_arrow(numbered)
            rows = songs.filter(where).project("row").fetchnumpy()["row"]
        except duckdb.Error as error:
            raise LakhxlError(f"--where {where!r}: {str(error).splitlines()[0]}") from error
    true = np.zeros(index.num_rows, bool)
    true[rows.astype(np.int64)] = True
    return true
