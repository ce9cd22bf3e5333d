"""Choose what `trainer evaluate` and `trainer judge` compare: the runs and the held-out songs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shards import open_dataset
from shards.errors import LakhxlError
from shards.reader import Dataset
from trainer.data.selection import select
from trainer.run.folder import CONFIG, Run, open_run


def open_runs(paths: Sequence[Path]) -> tuple[list[Run], Dataset]:
    """Open run folders and at most one dataset; without a dataset, the one of the first run.

    Raises:
        LakhxlError: no run, more than one dataset, or runs with another vocabulary.
    """
    runs = [open_run(path) for path in paths if (path / CONFIG).exists()]
    others = [path for path in paths if not (path / CONFIG).exists()]
    if not runs:
        raise LakhxlError(f"{', '.join(map(str, others))}: none of these is a run folder")
    if len(others) > 1:
        raise LakhxlError(f"{others[1]} is not a run folder, and {others[0]} is the dataset")
    dataset = open_dataset(others[0] if others else runs[0].find_dataset())
    for run in runs:
        if run.vocabulary.fingerprint != dataset.vocabulary.fingerprint:
            raise LakhxlError(
                f"{run.path} has vocabulary {run.vocabulary.fingerprint}, but {dataset.path} has "
                f"{dataset.vocabulary.fingerprint}: a run only reads tokens of its own vocabulary"
            )
    return runs, dataset


def common_where(runs: list[Run], where: str | None) -> str | None:
    """The SQL condition on the songs: `where` if given, else the one the runs were trained with.

    Raises:
        LakhxlError: none is given, and the runs were trained with different ones.
    """
    trained_with = {run.config.train.where for run in runs}
    if where is None and len(trained_with) > 1:
        raise LakhxlError(
            "the runs were trained with different --where: choose the songs for all of them with "
            '--where; --where "true" takes every song'
        )
    return where if where is not None else trained_with.pop()


def choose_songs(
    dataset: Dataset, split: str, max_songs: int | None, where: str | None = None
) -> np.ndarray:
    """Select the songs of a split, or a random subset of them, the same each time.

    Args:
        dataset: where the songs are.
        split: train, valid or test.
        max_songs: how many at most; None: all.
        where: a condition as in `select`.

    Returns:
        shape (songs,); row numbers of the index, ascending.

    Raises:
        LakhxlError: there are none.
    """
    numbers = select(dataset, split, where)
    if not len(numbers):
        fitting = f" that fit --where {where!r}" if where is not None else ""
        raise LakhxlError(f"{dataset.path} has no songs in its {split} split{fitting}")
    if max_songs is not None and max_songs < len(numbers):
        numbers = np.sort(np.random.default_rng(0).choice(numbers, max_songs, replace=False))
    return numbers
