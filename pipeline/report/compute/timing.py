"""How long a run took: measured by the workers, kept beside the dataset and not inside it.

Times differ between runs, while everything in a dataset is a function of its input. So they go
into files next to the dataset's folder, lakh.timings.json and .html beside lakh/, which no
command reads or verifies, and which may be deleted.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from shards.reader import read_json
from shards.writer import Publish, write_json

TIMINGS, TIMINGS_PAGE = ".timings.json", ".timings.html"
"""Appended to the dataset's name."""
TIME_BINS = tuple(2.0**power / 1000 for power in range(-3, 18))
"""Seconds per file, doubling: from an eighth of a millisecond to two minutes."""
SLOWEST = 20
INTERVALS = 60
"""Columns of the throughput chart."""
PAUSE_SECONDS = 5.0
"""A longer time in which no worker was busy is left out: the run was stopped."""


class SliceTiming(TypedDict):
    """When a worker began and ended a slice [seconds of the clock], and seconds per file."""

    began: float
    ended: float
    seconds: Sequence[float] | np.ndarray


class SlowFile(TypedDict):
    """One of the slowest files, with its columns of the ledger."""

    seconds: float
    path: str
    bytes: int | None
    outcome: str
    rule: str | None


class Timings(TypedDict):
    """Timings of a whole run.

    `elapsed_seconds` leaves pauses out; `busy_seconds` adds up all workers; `throughput` counts
    files finished in each of INTERVALS equal parts of the elapsed time; `files_by_seconds` counts
    files under, between and over TIME_BINS; `percentiles` are seconds per file.
    """

    note: str
    files: int
    elapsed_seconds: float
    busy_seconds: float
    throughput: list[int]
    files_by_seconds: list[int]
    percentiles: dict[str, float]
    slowest: list[SlowFile]


def timings_path(dataset: Path) -> Path:
    """The file with the timings of the run that made a dataset."""
    return dataset.with_name(dataset.name + TIMINGS)


def timings_page_path(dataset: Path) -> Path:
    """The same as a page."""
    return dataset.with_name(dataset.name + TIMINGS_PAGE)


def forget_timings(dataset: Path) -> None:
    """Remove the timings of an earlier run."""
    for path in (timings_path(dataset), timings_page_path(dataset)):
        path.unlink(missing_ok=True)


def timing_fragment(number: int) -> str:
    """File name of a slice's times."""
    return f"timing-{number:05d}.json"


class Stopwatch:
    """Times the files of one slice, in one worker."""

    def __init__(self) -> None:
        self.began = time.time()
        self.seconds: list[float] = []

    @contextmanager
    def file(self) -> Iterator[None]:
        """Time one file, whatever its outcome."""
        began = time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - began)

    def write(self, path: Path, publish: Publish) -> None:
        """Publish the slice's times."""
        timing: SliceTiming = {
            "began": self.began,
            "ended": time.time(),
            "seconds": [round(second, 6) for second in self.seconds],
        }
        write_json(path, timing, publish)


def write_timings(partial: Path, dataset: Path, slices: int, ledger: pa.Table) -> Timings:
    """Merge the slices' times into the file beside the dataset.

    Args:
        partial: the unfinished dataset, with a fragment of each slice.
        dataset: the folder that it will become.
        slices: how many there are.
        ledger: of the dataset.
    """
    timings = merge([_read_timing(partial / timing_fragment(n)) for n in range(slices)], ledger)
    write_json(timings_path(dataset), timings)
    return timings


def _read_timing(path: Path) -> SliceTiming:
    timing: SliceTiming = read_json(path)
    timing["seconds"] = np.array(timing["seconds"])  # a quarter of the list's bytes
    return timing


def merge(parts: Sequence[SliceTiming], ledger: pa.Table) -> Timings:
    """The timings of the run, from those of its slices.

    Args:
        parts: by slice.
        ledger: one row per time, in the same order.
    """
    seconds = np.concatenate([part["seconds"] for part in parts])
    finished, elapsed = _finish_times(parts)
    slowest = np.argsort(-seconds, kind="stable")[:SLOWEST]
    rows = ledger.select(["path", "bytes", "outcome", "rule"]).take(slowest).to_pylist()
    return {
        "note": "not part of the dataset: differs between runs",
        "files": len(seconds),
        "elapsed_seconds": round(elapsed, 3),
        "busy_seconds": round(float(seconds.sum()), 3),
        "throughput": np.histogram(finished, INTERVALS, (0.0, max(elapsed, 1e-9)))[0].tolist(),
        "files_by_seconds": np.bincount(
            np.searchsorted(TIME_BINS, seconds, side="right"), minlength=len(TIME_BINS) + 1
        ).tolist(),
        "percentiles": {
            f"p{rank}": round(float(np.percentile(seconds, rank)), 6) for rank in (50, 95, 99)
        },
        "slowest": [
            SlowFile(seconds=round(float(seconds[file]), 6), **row)
            for file, row in zip(slowest.tolist(), rows, strict=True)
        ],
    }


def _finish_times(parts: Sequence[SliceTiming]) -> tuple[np.ndarray, float]:
    """When each file was finished, on a clock that stops while no worker is busy.

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
