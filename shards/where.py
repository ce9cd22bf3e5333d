"""Select songs by an SQL condition over the index, such as `instruments >= 3 and meter = '4/4'`."""

import re
import threading

import duckdb
import numpy as np
import pyarrow as pa

from shards.errors import LakhxlError
from shards.settings import nearest

SONG = "song"
"""What a condition calls the number of a song."""
MAX_SECONDS = 10
"""For a condition, which may come with somebody's run; a million songs take a tenth of one."""


def matching_songs(index: pa.Table, where: str) -> np.ndarray:
    """Find the songs for which a condition over the index's columns is true.

    Args:
        index: `shards.layout.INDEX_SCHEMA`.
        where: one condition, as it would follow WHERE. It cannot read anything but the index and,
            as `song`, the numbers of the songs.

    Returns:
        shape (songs,), bool; False where the condition is null.

    Raises:
        LakhxlError: the condition is not valid SQL, or has an unknown column (with the nearest
            known one).
    """
    numbered = index.append_column(SONG, pa.array(np.arange(index.num_rows)))
    with duckdb.connect() as connection:
        connection.execute("set enable_external_access = false; set memory_limit = '1GB'")
        alarm = threading.Timer(MAX_SECONDS, connection.interrupt)
        alarm.start()
        try:
            songs = connection.from_arrow(numbered)
            rows = songs.filter(where).project(SONG).fetchnumpy()[SONG]
        except duckdb.InterruptException as error:
            fault = f"it takes more than {MAX_SECONDS} s; choose by the index's columns alone"
            raise LakhxlError(f"--where {where!r}: {fault}") from error
        except duckdb.Error as error:
            fault = _fault(str(error), where, numbered.column_names)
            raise LakhxlError(f"--where {where!r}: {fault}") from error
        finally:
            alarm.cancel()
    matching = np.zeros(index.num_rows, bool)
    matching[rows.astype(np.int64)] = True
    return matching


def _fault(error: str, where: str, columns: list[str]) -> str:
    """DuckDB's error in one line; of an unknown column, what may have been meant."""
    unknown = re.match(r'Binder Error: Referenced column "(.*?)" not found', error)
    if unknown is None:
        return error.splitlines()[0]
    name, hint = unknown[1], nearest(unknown[1], columns)
    if "did you mean" not in hint and f'"{name}"' in where:
        hint = f"; text is quoted like this: '{name}'"
    return f"there is no column {name!r}{hint}"
