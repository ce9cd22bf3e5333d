"""Which songs of a dataset a run trains on: those of a split that meet an SQL condition."""

# pyarrow.compute makes its functions at import, where pyright cannot see them
# pyright: reportAttributeAccessIssue=false

import numpy as np
import pyarrow.compute as pc

from shards.reader import SongSource
from shards.where import matching_songs


def select(dataset: SongSource, split: str, where: str | None = None) -> np.ndarray:
    """Numbers of a split's songs that are representatives and have something to predict.

    Args:
        dataset: its `index` is read.
        split: train, valid or test.
        where: an SQL condition over the index's columns, as `instruments >= 3 and meter = '4/4'`.

    Returns:
        shape (songs,), int64, ascending.

    Raises:
        LakhxlError: `where` is not a valid condition.
    """
    index = dataset.index
    wanted = pc.equal(index["split"], split).to_numpy() & index["representative"].to_numpy()
    wanted &= index["tokens"].to_numpy() > 1
    if where is not None:
        wanted &= matching_songs(index, where)
    return np.flatnonzero(wanted)
