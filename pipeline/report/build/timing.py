"""How long a run took: measured by the workers, kept beside the dataset and not inside it.

Times differ from run to run, and everything in a dataset is the same for the same input. So
they go into files next to the dataset's folder, lakh.timings.json and .html beside lakh/, which
nothing needs, nothing checks, and which may be thrown away.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards.reader import read_json
from shards.writer import Publish, write_json

TIMINGS = ".timings.json"
"""After the dataset's own name."""
TIMINGS_PAGE = ".timings.html"
"""After the dataset's own name: the page of what differs from run to run, beside its folder."""
TIME_BINS = tuple(2.0**power / 1000 for power in range(-3, 18))
"""Seconds that a file took, doubling: from an eighth of a millisecond to two minutes."""
SLOWEST = 20
STRETCHES = 60
"""Points of the curve of throughput."""
PAUSE_SECONDS = 5.0
"""A stretch in which no worker was busy for longer is left out: the run was stopped then."""


def timings_path(dataset: Path) -> Path:
    """Where the timings of the run that made a dataset are kept."""
    return dataset.with_name(dataset.name + TIMINGS)


def timings_page_path(dataset: Path) -> Path:
    """Where the same is kept as a page to look at."""
    return dataset.with_name(dataset.name + TIMINGS_PAGE)


def forget_timings(dataset: Path) -> None:
    """Remove the timings of an earlier run."""
    for path in (timings_path(dataset), timings_page_path(dataset)):
        path.unlink(missing_ok=True)


def timing_fragment(number: int) -> str:
    """File name of a slice's times."""
    return f"timing-{number:05d}.json"


class Stopwatch:
    """The times of one slice's files, in one worker."""

    def __init__(self) -> None:
        self.began = time.time()
        self.seconds: list[float] = []

    @contextmanager
    def file(self) -> Iterator[None]:
        """Take the time of one file, whatever becomes of it."""
        began = time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - began)

    def write(self, path: Path, publish: Publish) -> None:
        """Publish the slice's times."""
        seconds = [round(second, 6) for second in self.seconds]
        write_json(path, {"began": self.began, "ended": time.time(), "seconds": seconds}, publish)


def write_timings(partial: Path, dataset: Path, slices: int, ledger: pa.Table) -> dict[str, Any]:
    """Merge the slices' times into the file beside the dataset; returns what it holds.

    Args:
        partial: the unfinished dataset, with a fragment of each slice.
        dataset: where it will stand.
        slices: how many there are.
        ledger: of the dataset.
    """
    parts = [read_json(partial / timing_fragment(number)) for number in range(slices)]
    timings = merge(parts, ledger)
    write_json(timings_path(dataset), timings)
    return timings


def read_timings(dataset: Path) -> dict[str, Any] | None:
    """The timings of the run that made a dataset, or None where they are not kept any more."""
    path = timings_path(dataset)
    return read_json(path) if path.is_file() else None


def merge(parts: Sequence[dict[str, Any]], ledger: pa.Table) -> dict[str, Any]:
    """From the times of the slices to those of the run.

    Args:
        parts: `began`, `ended` [seconds of the clock] and `seconds` of each file, by slice.
        ledger: as many rows as there are seconds, in the same order.

    Returns:
        `files`; `elapsed` seconds by the clock, pauses left out; `busy` seconds, of all workers
        together; `throughput`: files finished in each of equal stretches of the elapsed time;
        `by_time`: files by the seconds they took, under, between and over TIME_BINS; `seconds`
        of a file, as percentiles; `slowest`: rows of the ledger with their seconds.
    """
    seconds = np.array([second for part in parts for second in part["seconds"]])
    finished, elapsed = _finish_times(parts)
    slowest = np.argsort(-seconds, kind="stable")[:SLOWEST]
    rows = ledger.select(["path", "bytes", "outcome", "rule"]).take(slowest).to_pylist()
    return {
        "note": "not part of the dataset: differs from run to run",
        "files": len(seconds),
        "elapsed": round(elapsed, 3),
        "busy": round(float(seconds.sum()), 3),
        "throughput": np.histogram(finished, STRETCHES, (0.0, max(elapsed, 1e-9)))[0].tolist(),
        "by_time": np.bincount(
            np.searchsorted(TIME_BINS, seconds, side="right"), minlength=len(TIME_BINS) + 1
        ).tolist(),
        "seconds": {
            f"p{share}": round(float(np.percentile(seconds, share)), 6) for share in (50, 95, 99)
        },
        "slowest": [
            {"seconds": round(float(seconds[file]), 6), **row}
            for file, row in zip(slowest.tolist(), rows, strict=True)
        ],
    }


def _finish_times(parts: Sequence[dict[str, Any]]) -> tuple[np.ndarray, float]:
    """When each file was finished, on a clock that stands still while no worker is busy.

    Returns:
        shape (files,), seconds from the run's start; and the length of the run.
    """
    parts = sorted(parts, key=lambda part: part["began"])
    began = np.array([part["began"] for part in parts])
    ended = np.maximum.accumulate([part["ended"] for part in parts])
    idle = began - np.concatenate([began[:1], ended[:-1]])
    origin = began[0] + np.cumsum(np.where(idle > PAUSE_SECONDS, idle, 0.0))
    finished = [
        start - zero + np.cumsum(part["seconds"])
        for start, zero, part in zip(began, origin, parts, strict=True)
    ]
    return np.concatenate(finished), float((ended - origin).max())
