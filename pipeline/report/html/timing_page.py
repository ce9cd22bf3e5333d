"""The page of a run's timings: throughput, and the slowest files."""

from collections.abc import Sequence

from pipeline.report.compute.timing import TIME_BINS, Timings
from pipeline.report.html.svg import Chart, columns_of, histogram
from pipeline.report.html.templating import render
from pipeline.report.number_format import digits


def timings_html(timings: Timings) -> str:
    """The timings of a run as a page."""
    elapsed = max(timings["elapsed_seconds"], 1e-9)
    return render(
        "timings.html",
        timings=timings,
        elapsed=clock(timings["elapsed_seconds"]),
        rate=timings["files"] / elapsed,
        workers=timings["busy_seconds"] / elapsed,
        milliseconds={name: 1000 * value for name, value in timings["percentiles"].items()},
        charts=[_throughput(timings), _file_times(timings["files_by_seconds"])],
    )


def clock(seconds: float) -> str:
    """A duration as people say it: 12.3 s, 5 min 20 s, 3 h 4 min."""
    if seconds < 60:
        return f"{digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _throughput(timings: Timings) -> Chart:
    finished, elapsed = timings["throughput"], timings["elapsed_seconds"]
    each, last = elapsed / len(finished), len(finished) - 1
    rates = [round(files / each, 1) if each else 0.0 for files in finished]
    names = [f"after {clock(each * (n + 1))}" for n in range(len(rates))]
    middle = len(rates) // 2
    return histogram(
        "Files per second",
        columns_of(rates, names, "files per second"),
        [(0.5, "0 s"), (middle + 0.5, clock(middle * each)), (last + 0.5, clock(elapsed))],
        "Should be level. A slope down means a machine that runs out of memory or gets hot; a "
        "gap means a worker that was killed, or a slow disk. Time in which the run was stopped "
        "is left out.",
        f"At most {digits(max(rates, default=0.0))} files per second",
    )


def _file_times(files: Sequence[int]) -> Chart:
    filled = [n for n, number in enumerate(files) if number]
    first = max(min(filled, default=1) - 1, 0)
    last = min(max(filled, default=1) + 1, len(files) - 1)
    every = max(3, -(-(last - first + 1) // 3))  # columns between labels: three fit any width
    edges = ["0 ms", *(f"{digits(1000 * edge)} ms" for edge in TIME_BINS), "more"]
    names = [f"{edges[n]} to {edges[n + 1]}" for n in range(first, last + 1)]
    return histogram(
        "Time per file",
        columns_of(files[first : last + 1], names, "files"),
        [(n - first + 0.5, edges[n]) for n in range(first, last + 1) if (n - first) % every == 1],
        "The time doubles from column to column. Should be one hill; a second one far to the "
        "right means a kind of file that the reader finds hard.",
    )
