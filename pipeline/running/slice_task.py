"""Process one slice in one worker: its journal, time limits and publishing.

What happens to each file is in `pipeline.process_file`. The slice's files are published together,
in this order: shard, index fragment, note counts, timing, ledger fragment. Once the ledger
fragment exists, the slice is done.
"""

import errno
import json
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.process_file import FileProcessor, FileResult, dropped_file, warm_up
from pipeline.report.compute.note_counts import note_counts_fragment
from pipeline.report.compute.rolls import one_of_each_rule, rejected_roll
from pipeline.report.compute.timing import Stopwatch, timing_fragment
from pipeline.report.schema import RejectedRoll
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA, index_fragment, ledger_fragment
from pipeline.running.journal import Journal
from pipeline.running.messages import SliceResult, SliceTask
from pipeline.running.quarantine import Failure
from pipeline.running.worker import CpuTimeExceeded, cpu_time_limit
from pipeline.sources.listing import LOST
from shards.layout import LEDGER_SCHEMA
from shards.writer import Publication, write_shard, write_table


def run_slice(task: SliceTask) -> SliceResult:
    """Process every file of the slice, then publish it.

    A file that fails, by a bug of ours or by the memory it needs, is only a suspect: the machine
    may be to blame. The rest of the slice is searched for more suspects, but not published.

    Raises:
        OSError: the disk is full or a source is gone; no file is to blame.
    """
    warm_up()  # so that it does not count as time of the first file
    processor = FileProcessor(task.run.settings)
    results, suspects, stopwatch = [], {}, Stopwatch()
    with Journal(task.run.folder, task.number) as journal:
        for index in task.indices:
            journal.start_file(index)
            with stopwatch.file():
                result = _process(processor, task, index)
            if isinstance(result, Failure):
                suspects[index] = result
                journal.count_dropped(result.outcome)
                results.clear()
                continue
            if result.encoded is not None:
                journal.count_kept()
            else:
                journal.count_dropped(result.ledger["rule"] or result.ledger["outcome"])
            if not (suspects or task.dry_run):
                results.append(result)
        journal.start_file(len(task.files))
        if not (suspects or task.dry_run):
            _check_sources(task, results)
            _publish(task, results, processor, stopwatch)
    seconds, index = max(zip(stopwatch.seconds, task.indices, strict=True), default=(0.0, 0))
    return SliceResult(suspects, journal.counts, (seconds, task.files[index].name))


def _process(processor: FileProcessor, task: SliceTask, index: int) -> FileResult | Failure:
    """Process one file within its time limit; unless it is quarantined."""
    file, failure = task.files[index], task.quarantined.get(index)
    if failure is not None:
        return dropped_file(failure.outcome, path=file.name, detail=failure.detail)
    seconds = task.run.pool_settings.soft_timeout
    try:
        with cpu_time_limit(seconds):
            return processor.process(file)
    except CpuTimeExceeded:
        return Failure("timeout", f"more than {seconds:g} s of CPU time")
    except MemoryError:
        return Failure("out_of_memory", "the worker's memory limit")
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 (a bug shown by one file must not stop 178,560 others)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return Failure("crash", f"{type(error).__name__}: {error} ({place})")


def _check_sources(task: SliceTask, results: Sequence[FileResult]) -> None:
    """End the run if a whole source is gone; a single missing file is a row of the ledger."""
    if any(result.ledger["rule"] in LOST for result in results):
        for root in task.run.roots:
            if not root.exists():
                raise FileNotFoundError(errno.ENOENT, "the source is gone", str(root))


def _rejected_rolls(results: Sequence[FileResult]) -> dict[str, RejectedRoll]:
    """A file of each rule, by checksum; see `pipeline.report.compute.rolls`."""
    return one_of_each_rule(
        (result.ledger["md5"], rejected_roll(result.ledger, number, result.roll))
        for number, result in enumerate(results)
        if result.roll is not None
    )


def _publish(
    task: SliceTask, results: Sequence[FileResult], processor: FileProcessor, stopwatch: Stopwatch
) -> None:
    songs = [result.encoded for result in results if result.encoded is not None]
    rows = [result.index for result in results if result.index is not None]
    index = pa.Table.from_pylist(rows, INDEX_FRAGMENT_SCHEMA)
    ledger = pa.Table.from_pylist([result.ledger for result in results], LEDGER_SCHEMA)
    counts, step_dtype = processor.note_counts.vector, processor.vocabulary.step_dtype
    folder, number = task.run.folder, task.number
    with Publication() as files:  # renames them in this order
        checksums = write_shard(folder, number, songs, step_dtype, files.publish)
        write_table(folder / index_fragment(number), index, files.publish)
        files.publish(folder / note_counts_fragment(number), lambda file: np.save(file, counts))
        stopwatch.write(folder / timing_fragment(number), files.publish)
        facts = {"files": json.dumps(checksums), "rolls": json.dumps(_rejected_rolls(results))}
        ledger = ledger.replace_schema_metadata(facts)
        write_table(folder / ledger_fragment(number), ledger, files.publish)
