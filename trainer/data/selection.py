"""Which songs of a dataset a run trains on: a split, and a condition over the index."""

from typing import Any

import numpy as np

from shards.where import holds


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
    wanted = (index["split"].to_numpy() == split) & index["representative"].to_numpy()
    wanted &= index["tokens"].to_numpy() > 1
    if where is not None:
        wanted &= holds(index, where)
    return np.flatnonzero(wanted)
