"""Start, stop and kill the worker processes of a pool."""

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from pebble import ProcessPool

from pipeline.running.worker import start_server
from shards.errors import LakhxlError
from shards.memory import not_enough_memory

POLL_SECONDS = 0.1
START_TRIES = 3
"""For the server that workers are forked from; it may be killed as it starts."""
MAX_SLICES_PER_WORKER = 100
"""A worker is replaced after this many slices, so that no memory leak grows for days."""

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGHUP, 255)
"""Exit codes of workers that somebody else has ended, such as the system for lack of memory; 255 is
what multiprocessing gives when the server that they are forked from has died."""


class PoolError(LakhxlError):
    """The run cannot continue: the disk is full, or workers die whatever they are given."""


def start_pool(workers: int) -> ProcessPool:
    """Start a pool of workers, forked from the server once it has loaded what they need.

    Raises:
        PoolError: it did not start START_TRIES times.
    """
    why: BaseException | None = None
    for _ in range(START_TRIES):
        start_server()
        pool = ProcessPool(
            max_workers=workers,
            max_tasks=MAX_SLICES_PER_WORKER,
            context=multiprocessing.get_context("forkserver"),
        )
        why = _start(pool)
        if why is None:
            return pool
        stop_pool(pool)
    reason = repr((why and why.__cause__) or why)
    raise PoolError(f"the worker processes cannot be started; perhaps {not_enough_memory(reason)}")


def _start(pool: ProcessPool) -> BaseException | None:
    """Start the workers of a pool; returns what went wrong.

    In a thread, because the server may have to compile for a minute, and Ctrl-C while a process is
    being started would leave the server with half a message.
    """
    started: list[BaseException | None] = []

    def start() -> None:
        try:
            active = pool.active  # reading this property starts the pool
            started.append(None if active else BrokenProcessPool("a worker died at once"))
        except Exception as error:  # noqa: BLE001 (the caller says it)
            started.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
    return started[0] if started else BrokenProcessPool("its thread ended")


def stop_pool(pool: ProcessPool) -> None:
    """Kill the workers: they have nothing to lose, and one may hang."""
    pool.stop()
    for child in multiprocessing.active_children():
        child.kill()
    pool.join()


def without_memory_limit(function: Callable[[], None]) -> None:
    """Call a function that reads no foreign data and needs memory in proportion to the dataset."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    function()


def kill_worker(process: int) -> None:
    """Kill a worker by SIGKILL; it could ignore SIGTERM."""
    if process in {child.pid for child in multiprocessing.active_children()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def describe_exit(exitcode: int | None) -> str:
    """Say how a process ended."""
    if exitcode is not None and exitcode < 0:
        known = -exitcode in set(signal.Signals)
        name = signal.Signals(-exitcode).name if known else f"signal {-exitcode}"
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"exit code {exitcode}"
