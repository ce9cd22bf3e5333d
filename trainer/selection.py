"""Which songs of a dataset a run trains on: a split, and a condition over the index."""

from typing import Any

import duckdb
import numpy as np

from shards.errors import LakhxlError


def select(dataset: Any, split: str, where: str | None = None) -> np.ndarray:
    """Numbers of the songs of a split that are no duplicates and have something to predict.

    Args:
        dataset: with the `index`.
        split: train, valid or test.
        where: an SQL condition over the index's columns, as `instruments >= 3 and meter = '4/4'`.

    Returns:
        shape (songs,), int64, ascending.

    Raises:
        LakhxlError: the condition is not one.
    """
    index = dataset.index
    wanted = (index["split"].to_numpy() == split) & index["primary"].to_numpy()
    wanted &= index["tokens"].to_numpy() > 1
    if where is not None:
        wanted &= _holds(index, where)
    return np.flatnonzero(wanted)


def _holds(index: Any, where: str) -> np.ndarray:
    """For which songs the condition is true, shape (songs,), bool."""
    with duckdb.connect() as connection:
        connection.register("songs", index.append_column("row", [range(index.num_rows)]))
        connection.execute("set enable_external_access = false")
        try:
            statement = f"select row from songs where ({where}\n)"
            if len(duckdb.extract_statements(statement)) != 1:
                raise LakhxlError(f"--where {where!r}: expected one condition")
            rows = connection.execute(statement).fetchnumpy()["row"]
        except duckdb.Error as error:
            raise LakhxlError(f"--where {where!r}: {str(error).splitlines()[0]}") from error
    holds = np.zeros(index.num_rows, bool)
    holds[rows.astype(np.int64)] = True
    return holds
