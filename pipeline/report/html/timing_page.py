"""The page of what differs from run to run: throughput, and the slowest files."""

from typing import Any

from pipeline.report.build.timing import TIME_BINS
from pipeline.report.html.note_charts import histogram_of
from pipeline.report.html.page import page, section, table
from pipeline.report.html.svg import name, text
from pipeline.report.number_format import count, digits, words


def timings_html(timings: dict[str, Any]) -> str:
    """The timings of `pipeline.report.build.timing.merge` as a page of its own."""
    rate = timings["files"] / max(timings["elapsed"], 1e-9)
    workers = timings["busy"] / max(timings["elapsed"], 1e-9)
    head = (
        f"<header><h1>{count(timings['files'])} files in {clock(timings['elapsed'])}</h1>"
        f'<p class="lead">{digits(rate)} files a second, {digits(workers)} workers busy on '
        "average; what came after the last file not counted. Times differ from run to run, so "
        "this page is no part of the dataset.</p></header>"
    )
    return page("Times of a run", "\n".join([head, _throughput(timings), _slowest(timings)]))


def clock(seconds: float) -> str:
    """A length of time as people say it: 12.3 s, 5 min 20 s, 3 h 4 min."""
    if seconds < 60:
        return f"{digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _throughput(timings: dict[str, Any]) -> str:
    finished, elapsed = timings["throughput"], timings["elapsed"]
    each = elapsed / len(finished)
    rates = [round(files / each, 1) if each else 0.0 for files in finished]
    names = [f"after {clock(each * (n + 1))}, files a second" for n in range(len(rates))]
    half = len(rates) // 2
    marks = [(0, "0 s"), (half, clock(half * each)), (len(rates) - 1, clock(elapsed))]
    p50, p95, p99 = (timings["seconds"][f"p{share}"] for share in (50, 95, 99))
    return section(
        "Throughput over the run",
        f"A file takes {digits(1000 * p50)} ms by the median; one in twenty more than "
        f"{digits(1000 * p95)} ms, one in a hundred more than {digits(1000 * p99)} ms.",
        '<div class="charts">',
        histogram_of(
            "Files a second",
            rates,
            names,
            marks,
            "Should be level. A slope down is a machine that runs out of memory or gets hot; a "
            "gap is a worker that was killed, or a slow disk. Time in which the run was stopped "
            "is left out.",
            f"At most {digits(max(rates, default=0.0))} files a second",
        ),
        _spread(timings["by_time"]),
        "</div>",
    )


def _spread(files: list[int]) -> str:
    """Files by the time they took."""
    filled = [place for place, number in enumerate(files) if number]
    first, last = (
        max(min(filled, default=1) - 1, 0),
        min(max(filled, default=1) + 1, len(files) - 1),
    )
    every = max(3, -(-(last - first + 1) // 3))  # columns from label to label: three fit any width
    edges = ["0 ms", *(f"{digits(1000 * edge)} ms" for edge in TIME_BINS), "more"]
    return histogram_of(
        "How long a file takes",
        files[first : last + 1],
        [f"{edges[n]} to {edges[n + 1]}" for n in range(first, last + 1)],
        [(n - first, edges[n]) for n in range(first, last + 1) if (n - first) % every == 1],
        "From column to column the time doubles. Should be one hill; a second one far to the "
        "right is a kind of file that the reader finds hard.",
    )


def _slowest(timings: dict[str, Any]) -> str:
    rows = [
        (
            name(row["path"]),
            f"{digits(1000 * row['seconds'])} ms",
            "" if row["bytes"] is None else count(row["bytes"]),
            text(words(row["rule"] or row["outcome"])),
        )
        for row in timings["slowest"]
    ]
    return section(
        "The slowest files",
        "Long songs are slow, and that is all right. A file far above the rest, or one that took "
        "long only to be turned down, is worth a look. Files that were stopped for taking too "
        "long are in the report, under timeout.",
        table(("file", "time", "bytes", "what became of it"), rows),
    )
