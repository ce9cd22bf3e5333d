"""How long a run took: kept beside the dataset, and merged without the pauses."""

import pyarrow as pa
import pytest

from pipeline.report.compute.timing import merge, timings_page_path, timings_path
from pipeline.report.html.timing_page import clock, timings_html
from shards.layout import LEDGER_SCHEMA
from shards.reader import read_json

EMPTY = dict.fromkeys(LEDGER_SCHEMA.names)


def ledger_of(files):
    rows = [{**EMPTY, "path": f"{n}.mid", "bytes": n, "outcome": "kept"} for n in range(files)]
    return pa.Table.from_pylist(rows, LEDGER_SCHEMA)


def part(began, *seconds):
    return {"began": began, "ended": began + sum(seconds), "seconds": list(seconds)}


def test_two_workers_at_once_take_half_the_time():
    one, other = part(100.0, 1.0, 1.0), part(100.0, 0.5, 1.5)
    timings = merge([one, other], ledger_of(4))
    assert (timings["elapsed_seconds"], timings["busy_seconds"]) == (2.0, 4.0)
    assert sum(timings["throughput"]) == sum(timings["files_by_seconds"]) == timings["files"] == 4
    assert timings["throughput"][15] == timings["throughput"][30] == 1
    assert timings["throughput"][-1] == 2


def test_time_in_which_a_run_was_stopped_is_left_out():
    parts = [part(0.0, 2.0), part(30_000.0, 1.0), part(2.0, 1.0)]
    timings = merge(parts, ledger_of(3))
    assert timings["elapsed_seconds"] == pytest.approx(4.0)
    assert [row["path"] for row in timings["slowest"]] == ["0.mid", "1.mid", "2.mid"]


def test_a_run_leaves_its_times_beside_the_dataset(dataset):
    timings = read_json(timings_path(dataset.path))
    ledger = dataset.ledger()
    assert timings["files"] == ledger.num_rows == sum(timings["throughput"])
    assert len(timings["slowest"]) == 20
    seconds = [row["seconds"] for row in timings["slowest"]]
    assert seconds == sorted(seconds, reverse=True)
    known = {(row["path"], row["bytes"]) for row in ledger.to_pylist()}
    assert {(row["path"], row["bytes"]) for row in timings["slowest"]} <= known
    page = timings_page_path(dataset.path).read_text()
    assert page == timings_html(timings)
    assert "Files per second" in page


def test_times_are_written_as_people_say_them():
    assert [clock(seconds) for seconds in (12.34, 320, 11_040)] == [
        "12.3 s", "5 min 20 s", "3 h 4 min",
    ]  # fmt: skip
