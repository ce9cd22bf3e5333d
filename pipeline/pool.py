"""Slices into worker processes that may hang, die or eat memory, and nothing is lost by it.

Pebble runs the processes. Slices are handed to it a few at a time (a queue of 180,000 tasks
would take gigabytes), each as a task of its own (a batch would be lost whole), and what a worker
is doing is read from its journal, so a file that kills or stops it is known by name: it is tried
once more, then left alone, and its slice runs again without it. A failure that no file is to
blame for, such as a full disk, ends the run; what is done stays done.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import wait
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

import pyarrow as pa
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from pipeline.journal import Progress, journal_path, read_journal
from pipeline.slice_job import Condemned, SliceJob, run_slice, warm_up
from shards import settings
from shards.errors import LakhxlError
from shards.settings import setting

POLL_SECONDS = 0.2
MOST_FAILURES = 3
"""Failures of one slice that no file is to blame for, before the run gives up."""
PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal this process gets when its parent dies."""


class PoolError(LakhxlError):
    """The run cannot go on: the disk is full, or workers die whatever they are given."""


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How a run is carried out; none of it changes what the dataset holds of good files."""

    workers: int | None = setting(None, "Worker processes; by default one for each core.", low=1)
    file_timeout: float = setting(
        60.0,
        "Seconds a file may take before its worker is killed. A real one takes milliseconds.",
        low=0.1,
    )
    memory_limit: int = setting(
        2000, "Megabytes a worker may allocate; it needs about 200 itself.", low=400
    )

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        settings.check(self)

    @property
    def processes(self) -> int:
        """How many workers there will be."""
        return self.workers or len(os.sched_getaffinity(0))


@dataclass
class Running:
    """A slice that a worker has, or will have next."""

    job: SliceJob
    future: ProcessFuture
    progress: Progress = field(default_factory=Progress)
    since: float = 0.0
    overdue: bool = False


class SlicePool:
    """Runs slices until all are published.

    Args:
        how: workers and their limits.
        watch: called several times a second with the files kept and dropped so far, counted
            over all slices of this call.
        task: what a worker does with a slice; another one only where faults are injected.
    """

    def __init__(
        self,
        how: PoolSettings,
        watch: Callable[[int, int], None],
        task: Callable[[SliceJob], None] = run_slice,
    ) -> None:
        self._how, self._watch, self._task = how, watch, task
        self._waiting: deque[SliceJob] = deque()
        self._running: dict[int, Running] = {}
        self._blamed: dict[tuple[int, int], int] = {}
        self._failures: dict[int, int] = {}
        self._kept = self._dropped = 0

    def run(self, jobs: Iterable[SliceJob]) -> None:
        """Run every job; returns when each has published its slice.

        Raises:
            PoolError: nothing more can be done; slices already published stay.
            KeyboardInterrupt: as it came; workers are stopped first.
        """
        self._waiting.extend(jobs)
        with _one_thread_a_worker():
            pool = ProcessPool(
                max_workers=self._how.processes,
                max_tasks=100,  # a fresh process now and then: no leak grows for days
                initializer=_prepare_worker,
                initargs=(self._how.memory_limit,),
                context=get_context("spawn"),
            )
            try:
                _compile_once(pool)
                while self._waiting or self._running:
                    self._step(pool)
                pool.close()
            except BaseException:
                pool.stop()
                raise
            finally:
                pool.join()

    def _step(self, pool: ProcessPool) -> None:
        while self._waiting and len(self._running) < 2 * self._how.processes:
            self._start(pool, self._waiting.popleft())
        futures = [running.future for running in self._running.values()]
        wait(futures, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
        for running in list(self._running.values()):
            self._look_at(running)
            if running.future.done():
                del self._running[running.job.number]
                self._settle(running)
        under_way = [running.progress for running in self._running.values()]
        kept = self._kept + sum(progress.kept for progress in under_way)
        self._watch(kept, self._dropped + sum(progress.dropped for progress in under_way))

    def _start(self, pool: ProcessPool, job: SliceJob) -> None:
        journal_path(job.folder, job.number).unlink(missing_ok=True)
        future = pool.schedule(self._task, args=(job,))
        self._running[job.number] = Running(job, future)

    def _look_at(self, running: Running) -> None:
        """Read the journal; end the worker if it has been on one file for too long."""
        progress = read_journal(running.job.folder, running.job.number)
        now = time.monotonic()
        if progress != running.progress:
            running.progress, running.since = progress, now
        on_a_file = 0 <= progress.place < len(running.job.files)
        if on_a_file and now - running.since > self._how.file_timeout and not running.overdue:
            running.overdue = True
            running.future.cancel()

    def _settle(self, running: Running) -> None:
        """Count a published slice; send one that failed round again."""
        if running.future.cancelled():
            detail = f"more than {self._how.file_timeout:g} s"
            self._again(running, Condemned("timeout", detail), at_once=True)
            return
        error = running.future.exception()
        if error is None:
            self._kept += running.progress.kept
            self._dropped += running.progress.dropped
        elif isinstance(error, ProcessExpired):
            self._again(running, Condemned("crash", f"exit code {error.exitcode}"))
        elif isinstance(error, OSError):
            raise PoolError(
                f"{error.filename or running.job.folder}: {error.strerror or error}; what is done "
                "is kept: run the same command again once that is mended"
            ) from error
        else:  # a bug that one file brings out must not stop the other 178,560
            self._again(running, Condemned("crash", f"{type(error).__name__}: {error}"))

    def _again(self, running: Running, fate: Condemned, *, at_once: bool = False) -> None:
        """Run the slice once more; from a file's second failure on, without it."""
        job, place = running.job, running.progress.place
        if 0 <= place < len(job.files):
            blame = self._blamed[job.number, place] = self._blamed.get((job.number, place), 0) + 1
            if at_once or blame > 1:
                job = replace(job, condemned={**job.condemned, place: fate})
        else:
            failures = self._failures[job.number] = self._failures.get(job.number, 0) + 1
            if failures >= MOST_FAILURES:
                raise PoolError(
                    f"slice {job.number} failed {failures} times outside any file "
                    f"({fate.outcome}: {fate.detail}); what is done is kept"
                )
        self._waiting.appendleft(job)


def _compile_once(pool: ProcessPool) -> None:
    """Let one worker compile the reader, so that the others find it compiled."""
    try:
        pool.schedule(warm_up).result()
    except (ProcessExpired, MemoryError) as error:
        raise PoolError(
            f"a worker died before its first file ({error!r}): it may need a larger --memory-limit"
        ) from error


def _prepare_worker(memory_limit: int) -> None:
    """Leave Ctrl-C to the parent, die with it, bound the memory, keep to one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # Not RLIMIT_AS: compilers and allocators reserve address space that they never touch.
    limit = memory_limit * 1_000_000
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


@contextlib.contextmanager
def _one_thread_a_worker():
    """Processes started inside see an environment in which numeric libraries use one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
