"""Slices into worker processes that may hang, die or eat memory, and nothing is lost by it.

Pebble runs the processes. Slices are handed to it a few at a time (a queue of 180,000 tasks
would take gigabytes), each as a task of its own (a batch would be lost whole), and what a worker
is doing is read from its journal, so a file that kills or stops it is known by name.

A file that failed once is a suspect, no more: the machine may have been short of memory. Its
slice is set aside, and once all others are done each suspect is tried again alone, with no other
worker busy. If that fails too it is condemned, for good: its slice runs again without it. A
failure that no file is to blame for, such as a full disk, ends the run; what is done stays done.
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

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from pipeline.running.feed import Feed
from pipeline.running.journal import Progress, journal_path, read_journal
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.processes import (
    POLL_SECONDS,
    PoolError,
    end_of,
    end_pool,
    kill,
    start_pool,
    without_bounds,
)
from pipeline.running.status import Status
from pipeline.running.tasks import Condemned, Outcome, SliceJob, keep_verdicts
from pipeline.running.worker import prepare, work
from pipeline.sources.listing import Slice, SourceFile

MOST_FAILURES = 3
"""Failures of one slice that no file is to blame for, before the run gives up."""
STALLED_SECONDS = 60.0
"""Without a worker taking up a task that is waiting, after which the pool is made anew."""


@dataclass
class Running:
    """A slice that a worker has, or will have next."""

    job: SliceJob
    future: ProcessFuture
    progress: Progress = field(default_factory=Progress)
    seconds: float = 0.0
    overdue: bool = False

    @property
    def file(self) -> SourceFile | None:
        """The file in hand."""
        on_a_file = 0 <= self.progress.place < len(self.job.files)
        return self.job.files[self.progress.place] if on_a_file else None


@dataclass
class Suspected:
    """A slice that was set aside: files in it have failed once."""

    slice: Slice
    suspects: dict[int, Condemned]


class SlicePool:
    """Runs slices until all are published.

    Args:
        folder: the unfinished dataset.
        how: workers and their limits.
        watch: called several times a second with how far the run has come.
        job: makes a slice and its files into a job.
        task: what a worker does with a job.
        prepared_by: what makes a process a worker. Task and this are others only where faults
            are injected.
        earlier: what was done before this call.
    """

    def __init__(
        self,
        folder: Path,
        how: PoolSettings,
        watch: Callable[[Status], None],
        job: Callable[[Slice, Sequence[SourceFile]], SliceJob],
        task: Callable[[SliceJob], Outcome],
        prepared_by: Callable[[int], None] = prepare,
        earlier: Status | None = None,
    ) -> None:
        self._folder, self._how, self._watch, self._job = folder, how, watch, job
        self._prepared = partial(work, prepared_by, how.memory_limit * 1_000_000)
        self._task = task
        self._running: dict[int, Running] = {}
        self._aside: dict[int, Suspected] = {}
        self._failures: Counter[int] = Counter()
        self._status = earlier or Status()
        self._anything_done = False
        self._pool: ProcessPool | None = None
        self._looked = self._moved = time.monotonic()

    def run(self, slices: Sequence[Slice], last: Callable[[], None] | None = None) -> None:
        """Run every slice, then `last`, in a worker too; returns when all is published.

        Raises:
            PoolError: nothing more can be done; slices already published stay.
            KeyboardInterrupt: as it came; workers are stopped first.
        """
        try:
            self._pool = start_pool(self._how.processes)
            if slices:
                self._all_together(slices)
                self._suspects_alone()
            if last is not None:
                self._run_last(last)
        except OSError as error:
            raise _disk_error(error, self._folder) from error
        finally:
            end_pool(self._pool)

    def _all_together(self, slices: Sequence[Slice]) -> None:
        """Every slice but those with suspects in them."""
        self._by_number = {slice_.number: slice_ for slice_ in slices}
        again: list[SliceJob] = []
        most = 2 * self._how.processes
        with self._feed(slices) as feed:
            while again or self._running or not feed.exhausted:
                while len(self._running) < most and (job := again.pop() if again else feed.take()):
                    self._start(job)
                for running, outcome in self._step():
                    job = self._next_try(running, outcome)
                    if job is not None:
                        again.append(job)
                    else:
                        feed.done(running.job.number)

    def _next_try(self, running: Running, outcome: Outcome | Condemned) -> SliceJob | None:
        """What to run of a slice after this; None where it is done for now."""
        job, number = running.job, running.job.number
        if isinstance(outcome, Condemned):  # the worker is dead
            if running.file is None:
                self._count_failure(number, outcome)
                return job
            place = running.progress.place
            self._set_aside(number, {place: outcome})
            return replace(job, start=place + 1, draft=True)  # are there more?
        if outcome.suspects or job.draft:
            self._set_aside(number, outcome.suspects)
        else:
            self._status.count(outcome.progress)
        return None

    def _set_aside(self, number: int, suspects: Mapping[int, Condemned]) -> None:
        aside = self._aside.setdefault(number, Suspected(self._by_number[number], {}))
        aside.suspects |= suspects

    def _suspects_alone(self) -> None:
        """One slice after another: each suspect by itself, then the slice without the guilty."""
        with self._feed(aside.slice for aside in self._aside.values()) as feed:
            while not feed.exhausted:
                job = feed.take()
                if job is None:  # still being unpacked
                    time.sleep(POLL_SECONDS)
                    continue
                condemned = dict(job.condemned)
                for place in sorted(self._aside[job.number].suspects.keys() - condemned.keys()):
                    trial = replace(job, start=place, stop=place + 1, draft=True)
                    condemned |= self._alone(trial)[0]
                    keep_verdicts(self._folder, job.number, condemned, self._how.limits)
                while True:
                    failed, progress = self._alone(replace(job, condemned=condemned))
                    if not failed:
                        break
                    condemned |= failed
                self._status.count(progress)
                feed.done(job.number)

    def _alone(self, job: SliceJob) -> tuple[dict[int, Condemned], Progress]:
        """Run one job with nothing else under way; the files that failed, and the counts."""
        while True:
            self._start(job)
            while not (ended := self._step()):
                pass
            ((running, outcome),) = ended
            if isinstance(outcome, Outcome):
                return outcome.suspects, outcome.progress
            if running.file is not None:
                return {running.progress.place: outcome}, Progress()
            self._count_failure(job.number, outcome)

    def _count_failure(self, number: int, fate: Condemned) -> None:
        """A worker died, and not on a file."""
        self._failures[number] += 1
        if not self._anything_done:
            raise PoolError(
                f"a worker died before its first file ({fate.detail}): it may need a larger "
                "--memory-limit"
            )
        if self._failures[number] >= MOST_FAILURES:
            raise PoolError(
                f"slice {number} failed {MOST_FAILURES} times outside any file ({fate.detail}); "
                "what is done is kept"
            )

    def _feed(self, slices: Iterable[Slice]) -> Feed:
        return Feed(
            slices,
            self._job,
            self._folder,
            most_bytes=self._how.spool_limit * 1_000_000,
            most_slices=2 * self._how.processes + 2,
        )

    def _start(self, job: SliceJob) -> None:
        journal_path(self._folder, job.number).unlink(missing_ok=True)
        self._running[job.number] = Running(job, self._schedule(job))

    def _schedule(self, job: SliceJob) -> ProcessFuture:
        try:
            return self._pool.schedule(self._prepared, args=(self._task, job))
        except RuntimeError as error:
            raise PoolError(f"the worker processes cannot be started: {error}") from error

    def _step(self) -> list[tuple[Running, Outcome | Condemned]]:
        """Wait a moment, look at everything under way, and take out what has ended."""
        futures = [running.future for running in self._running.values()]
        if futures:
            wait(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
        else:
            time.sleep(POLL_SECONDS)
        ended = []
        now = time.monotonic()
        passed = min(now - self._looked, 10 * POLL_SECONDS)  # we may have been asleep ourselves
        self._looked = now
        for running in list(self._running.values()):
            done = running.future.done()  # before the journal, which is then at its last word
            self._look_at(running, passed)
            if done:
                del self._running[running.job.number]
                ended.append((running, self._settle(running)))
        self._show()
        self._mend_stall(now)
        return ended

    def _look_at(self, running: Running, passed: float) -> None:
        """Read the journal; kill the worker if it has been on one file for too long."""
        progress = read_journal(self._folder, running.job.number)
        if progress != running.progress:
            running.progress, running.seconds = progress, 0.0
            self._moved = self._looked
        elif running.file is not None:
            running.seconds += passed
            if running.seconds > self._how.file_timeout and not running.overdue:
                running.overdue = True
                kill(running.progress.process)

    def _settle(self, running: Running) -> Outcome | Condemned:
        """What came of a task, or of the worker that had it."""
        error = running.future.exception()
        self._moved = self._looked
        if error is None:
            outcome = running.future.result()
            self._anything_done = True
            self._status.slowest = max(self._status.slowest, outcome.slowest)
            return outcome
        if running.file is not None:
            self._anything_done = True
        if running.overdue:
            return Condemned("timeout", f"more than {self._how.file_timeout:g} s")
        if isinstance(error, ProcessExpired):
            return Condemned("crash", end_of(error.exitcode))
        if isinstance(error, BrokenProcessPool):
            raise PoolError(f"the worker processes die as they start: {error}") from error
        if isinstance(error, MemoryError):
            return Condemned("out_of_memory", "the worker's memory limit")
        if isinstance(error, OSError) or running.progress.process:
            raise error  # the disk; or a bug of ours, which no file is to blame for
        raise PoolError(f"a worker cannot be made ready: {type(error).__name__}: {error}")

    def _show(self) -> None:
        """Tell the watcher: what is done, and what is under way."""
        status = Status(self._status.kept, self._status.dropped.copy(), self._status.slowest)
        for running in self._running.values():
            if not running.job.draft:
                status.count(running.progress)
            if running.file is not None:
                status.in_hand = max(status.in_hand, (running.seconds, running.file.name))
        self._watch(status)

    def _mend_stall(self, now: float) -> None:
        """Make the pool anew if no worker takes up what waits: one died with the lock in hand."""
        waiting = self._running and not any(one.future.running() for one in self._running.values())
        if waiting and now - self._moved > STALLED_SECONDS:
            end_pool(self._pool)
            self._pool = start_pool(self._how.processes)
            self._moved = now
            for running in self._running.values():
                running.future = self._schedule(running.job)

    def _run_last(self, last: Callable[[], None]) -> None:
        future = self._pool.schedule(self._prepared, args=(without_bounds, last))
        while not future.done():
            wait([future], timeout=POLL_SECONDS)
            self._watch(replace(self._status, in_hand=(0.0, "")))
        error = future.exception()
        if isinstance(error, ProcessExpired):
            raise PoolError(f"the dataset could not be put together: {end_of(error.exitcode)}")
        if isinstance(error, MemoryError):
            raise PoolError("the dataset could not be put together: it needs more --memory-limit")
        if error is not None:
            raise error


def _disk_error(error: OSError, folder: Path) -> PoolError:
    where = error.filename if error.filename is not None else folder
    after = "make room and run" if error.errno == errno.ENOSPC else "mend that and run"
    return PoolError(
        f"{where}: {error.strerror or error}; what is done is kept in {folder}: {after} the same "
        "command again"
    )
