"""Run slices in worker processes that may hang, die or run out of memory, without losing a slice.

Pebble runs the processes. Slices are handed over a few at a time, because a queue of 180,000 tasks
would take gigabytes, and each as a task of its own, because a batch would be lost as a whole. A
worker records its current file in a journal, so the file that kills or stops it is known.

A file that fails once is only a suspect: the machine may have been short of memory. Its slice is
deferred. Once all other slices are done, each suspect is tried again alone, with no other worker
busy. If it fails again, it is quarantined and its slice runs again without it. A signal that comes
from outside, as of the system when memory runs out, says little about the file: it may be killed
MAX_KILLS times. A worker that dies outside any file, and a pool that breaks, as Pebble's does when
an idle worker dies, are replaced a bounded number of times. A failure that no file is to blame for,
such as a full disk, ends the run; slices that are done stay done.
"""

import errno
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from pipeline.running.feed import Feed
from pipeline.running.journal import JournalEntry, journal_path, read_journal
from pipeline.running.messages import RunContext, SliceResult, SliceTask
from pipeline.running.quarantine import Failure, save_quarantine
from pipeline.running.status import FileCounts, RunStatus
from pipeline.running.worker import run_in_worker, set_up_worker
from pipeline.running.worker_entry import run_slice
from pipeline.running.worker_processes import (
    FROM_OUTSIDE,
    POLL_SECONDS,
    PoolError,
    describe_exit,
    kill_worker,
    start_pool,
    stop_pool,
    without_memory_limit,
)
from pipeline.sources.listing import Slice, SourceFile
from shards.memory import not_enough_memory

MAX_FAILURES = 10
"""Failures of one slice outside any file, before the run gives up; and of finalizing by kills."""
MAX_FILE_FAILURES = 2
"""A file that has failed this often, the last time alone, is quarantined."""
MAX_KILLS = 5
"""The same for a file whose worker was killed by a signal from outside."""
MAX_RESTARTS = 50
"""Restarts of the pool without any progress in between; each takes a tenth of a second."""
STALLED_SECONDS = 60.0
"""The pool is restarted if no worker takes up a waiting task for this long."""


@dataclass
class RunningSlice:
    """A slice that a worker is processing, or will process next."""

    task: SliceTask
    future: ProcessFuture
    entry: JournalEntry = field(default_factory=JournalEntry)
    seconds: float = 0.0
    overdue: bool = False

    @property
    def file(self) -> SourceFile | None:
        """The current file."""
        index = self.entry.file_index
        return self.task.files[index] if 0 <= index < len(self.task.files) else None


class SlicePool:
    """Runs slices until all are published.

    Args:
        context: of the run.
        on_status: called several times per second with how far the run is.
        run_slice: what a worker does with a task. Tests replace this and the next to inject faults.
        set_up: makes a process a worker.
        earlier: what was done before this call.
    """

    def __init__(
        self,
        context: RunContext,
        on_status: Callable[[RunStatus], None],
        run_slice: Callable[[SliceTask], SliceResult] = run_slice,
        set_up: Callable[[int], None] = set_up_worker,
        earlier: FileCounts | None = None,
    ) -> None:
        self._context, self._folder, self._settings = context, context.folder, context.pool_settings
        self._on_status, self._run_slice = on_status, run_slice
        memory = self._settings.memory_limit * 1_000_000
        self._in_worker = partial(run_in_worker, set_up, memory)
        self._running: dict[int, RunningSlice] = {}
        self._suspects: dict[int, set[int]] = {}  # by slice: file indices
        self._file_failures: Counter[tuple[int, int]] = Counter()  # by slice and file index
        self._failures: Counter[int] = Counter()  # outside any file, by slice
        self._restarts = 0  # of the pool, since a worker last made progress
        self._status = RunStatus(earlier or FileCounts())
        self._anything_done = False
        self._pool: ProcessPool | None = None
        self._last_step = self._last_change = time.monotonic()

    def run(
        self, slices: Sequence[Slice | SliceTask], finalize: Callable[[], None] | None = None
    ) -> None:
        """Run every slice, then `finalize`, also in a worker; returns when all is published.

        Raises:
            PoolError: the run cannot continue; slices that are published stay.
            KeyboardInterrupt: passed on once the workers are stopped.
        """
        try:
            self._pool = start_pool(self._settings.processes)
            if slices:
                self._run_all(slices)
                self._run_deferred(slices)
            if finalize is not None:
                self._run_finalize(finalize)
        except OSError as error:
            raise _disk_error(error, self._folder) from error
        finally:
            if self._pool is not None:
                stop_pool(self._pool)

    def _run_all(self, slices: Sequence[Slice | SliceTask]) -> None:
        """Run all slices; those with suspects are deferred."""
        retries: list[SliceTask] = []
        max_running = 2 * self._settings.processes
        with self._feed(slices) as feed:
            while retries or self._running or not feed.exhausted:
                while len(self._running) < max_running:
                    task = retries.pop() if retries else feed.take()
                    if task is None:
                        break
                    self._start(task)
                for running, result in self._step():
                    task = self._retry_of(running, result)
                    if task is not None:
                        retries.append(task)
                    else:
                        feed.done(running.task.number)

    def _retry_of(self, running: RunningSlice, result: SliceResult | Failure) -> SliceTask | None:
        """Take account of a result; returns the task to run next for its slice, if any."""
        task, number = running.task, running.task.number
        if isinstance(result, Failure):  # the worker is dead
            if running.file is None:
                self._count_failure(number, result)
                return task
            index = running.entry.file_index
            self._suspect(number, {index: result})
            return replace(task, start=index + 1, dry_run=True)  # look for more suspects
        if result.suspects or task.dry_run:
            self._suspect(number, result.suspects)
        else:
            self._status.counts += result.counts
        return None

    def _suspect(self, number: int, failures: Mapping[int, Failure]) -> dict[int, Failure]:
        """Count failures of files of a slice; returns those that have failed too often."""
        self._suspects.setdefault(number, set()).update(failures)
        self._file_failures.update((number, index) for index in failures)
        return {
            index: failure
            for index, failure in failures.items()
            if self._file_failures[number, index]
            >= (MAX_KILLS if failure.from_outside else MAX_FILE_FAILURES)
        }

    def _run_deferred(self, slices: Sequence[Slice | SliceTask]) -> None:
        """Run the slices with suspects, now one after another."""
        with self._feed(each for each in slices if each.number in self._suspects) as feed:
            while not feed.exhausted:
                task = feed.take()
                if task is None:  # still being unpacked
                    time.sleep(POLL_SECONDS)
                    continue
                self._status.counts += self._run_with_suspects(task)
                feed.done(task.number)

    def _run_with_suspects(self, task: SliceTask) -> FileCounts:
        """Try each suspect alone, then run the slice without those that failed too often."""
        quarantined = dict(task.quarantined)
        suspects = self._suspects[task.number] - quarantined.keys()
        while True:
            for index in sorted(suspects):
                trial = replace(task, start=index, stop=index + 1, dry_run=True)
                while index not in quarantined and (result := self._run_alone(trial)).suspects:
                    quarantined |= self._suspect(task.number, result.suspects)
                save_quarantine(self._folder, task.number, quarantined, self._settings.limits)
            result = self._run_alone(replace(task, quarantined=quarantined))
            if not result.suspects:
                return result.counts
            quarantined |= self._suspect(task.number, result.suspects)
            suspects = set(result.suspects)

    def _run_alone(self, task: SliceTask) -> SliceResult:
        """Run one task while nothing else runs."""
        while True:
            self._start(task)
            while not (ended := self._step()):
                pass
            ((running, result),) = ended
            if isinstance(result, SliceResult):
                return result
            if running.file is not None:
                return SliceResult({running.entry.file_index: result})
            self._count_failure(task.number, result)

    def _count_failure(self, number: int, failure: Failure) -> None:
        """Count a worker that died outside any file."""
        self._failures[number] += 1
        if not (self._anything_done or failure.from_outside):
            raise PoolError(
                f"a worker died before its first file ({failure.detail}): it may need a larger "
                "--memory-limit"
            )
        if self._failures[number] >= MAX_FAILURES:
            raise PoolError(
                f"slice {number} failed {MAX_FAILURES} times outside any file "
                f"({failure.detail}); what is done is kept"
            )

    def _feed(self, slices: Iterable[Slice | SliceTask]) -> Feed:
        return Feed(
            slices,
            self._context,
            max_bytes=self._settings.spool_limit * 1_000_000,
            max_slices=2 * self._settings.processes + 2,
        )

    def _start(self, task: SliceTask) -> None:
        journal_path(self._folder, task.number).unlink(missing_ok=True)
        self._running[task.number] = RunningSlice(task, self._schedule(self._run_slice, task))

    def _schedule(self, function: Callable[..., Any], argument: Any) -> ProcessFuture:
        assert self._pool is not None
        while True:
            try:
                return self._pool.schedule(self._in_worker, args=(function, argument))
            except RuntimeError as error:  # it has broken since the last step
                self._restart_pool(error)

    def _restart_pool(self, error: BaseException | str) -> None:
        """Start another pool, and there what was running in this one."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise PoolError(f"the worker processes die as they start: {error}")
        if self._pool is not None:
            stop_pool(self._pool)
        self._pool = None  # should the next fail to start, there is none to stop
        self._pool = start_pool(self._settings.processes)
        self._last_change = time.monotonic()
        for running in list(self._running.values()):
            self._start(running.task)

    def _step(self) -> list[tuple[RunningSlice, SliceResult | Failure]]:
        """Wait briefly, check everything that runs, and remove and return what has ended."""
        futures = [running.future for running in self._running.values()]
        if futures:
            wait(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
        else:
            time.sleep(POLL_SECONDS)
        ended = []
        now = time.monotonic()
        elapsed = min(now - self._last_step, 10 * POLL_SECONDS)  # the machine may have slept
        self._last_step = now
        for running in list(self._running.values()):
            done = running.future.done()  # before the journal, which is then final
            self._check(running, elapsed)
            if done and not isinstance(running.future.exception(), BrokenProcessPool):
                del self._running[running.task.number]
                ended.append((running, self._result_of(running)))
        self._show_status()
        self._restart_if_broken([running.future for running in self._running.values()])
        return ended

    def _check(self, running: RunningSlice, elapsed: float) -> None:
        """Read the journal; kill the worker if it has been on one file for too long."""
        entry = read_journal(self._folder, running.task.number)
        if entry != running.entry:
            running.entry, running.seconds = entry, 0.0
            self._last_change, self._restarts = self._last_step, 0
        elif running.file is not None:
            running.seconds += elapsed
            if running.seconds > self._settings.file_timeout and not running.overdue:
                running.overdue = True
                kill_worker(running.entry.process)

    def _result_of(self, running: RunningSlice) -> SliceResult | Failure:
        """The result of a task that has ended, or how its worker died."""
        error = running.future.exception()
        self._last_change = self._last_step
        if error is None:
            result = running.future.result()
            self._anything_done = True
            self._status.slowest = max(self._status.slowest, result.slowest)
            return result
        if running.file is not None:
            self._anything_done = True
        if running.overdue:
            return Failure("timeout", f"more than {self._settings.file_timeout:g} s")
        if isinstance(error, ProcessExpired):
            from_outside = error.exitcode in FROM_OUTSIDE
            return Failure("crash", describe_exit(error.exitcode), from_outside)
        if isinstance(error, MemoryError):
            return Failure("out_of_memory", "the worker's memory limit")
        if isinstance(error, OSError) or running.entry.process:
            raise error  # the disk, or a bug of ours; no file is to blame
        raise PoolError(f"a worker cannot be set up: {type(error).__name__}: {error}")

    def _show_status(self) -> None:
        """Report what is done and what is running."""
        status = replace(self._status)
        for running in self._running.values():
            if not running.task.dry_run:
                status.counts += running.entry.counts
            if running.file is not None:
                status.current = max(status.current, (running.seconds, running.file.name))
        self._on_status(status)

    def _restart_if_broken(self, futures: Sequence[ProcessFuture]) -> None:
        """Restart a pool that has broken, or whose workers take up none of the futures.

        Pebble gives a pool up when a worker dies while none has a task. A worker that is killed
        while it holds the pool's lock keeps the others from their tasks.
        """
        assert self._pool is not None
        waiting = futures and not any(each.running() for each in futures)
        if not self._pool.active:
            errors = [each.exception() for each in futures if each.done()]
            self._restart_pool(next(filter(None, errors), "the pool has broken"))
        elif waiting and time.monotonic() - self._last_change > STALLED_SECONDS:
            self._restart_pool(f"no worker has taken up a task for {STALLED_SECONDS:g} s")

    def _run_finalize(self, finalize: Callable[[], None]) -> None:
        """Put the dataset together in a worker; where one is killed, another one continues."""
        what, how = "the dataset could not be put together", "it died"
        for _ in range(MAX_FAILURES):
            future, pool = self._schedule(without_memory_limit, finalize), self._pool
            self._last_change, self._restarts = time.monotonic(), 0
            while not future.done() and pool is self._pool:
                wait([future], timeout=POLL_SECONDS)
                self._on_status(self._status)
                self._restart_if_broken([future])
            error = future.exception() if future.done() else BrokenProcessPool()
            if error is None:
                return
            if isinstance(error, MemoryError):
                raise PoolError(f"{what}: {not_enough_memory(error)}")
            if isinstance(error, ProcessExpired):
                how = describe_exit(error.exitcode)
                if error.exitcode not in FROM_OUTSIDE:
                    raise PoolError(f"{what}: its worker died ({how})")
            elif not isinstance(error, BrokenProcessPool):
                raise error
        raise PoolError(f"{what} by {MAX_FAILURES} workers; the last one: {how}")


def _disk_error(error: OSError, folder: Path) -> PoolError:
    where = error.filename if error.filename is not None else folder
    remedy = "make room" if error.errno == errno.ENOSPC else "fix this"
    return PoolError(
        f"{where}: {error.strerror or error}; what is done is kept in {folder}: {remedy} and run "
        "the same command again"
    )
