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

POLL_SECONDS = 0.1
MAX_SLICES_PER_WORKER = 100
"""A worker is replaced after this many slices, so that no memory leak grows for days."""


class PoolError(LakhxlError):
    """The run cannot continue: the disk is full, or workers die whatever they are given."""


def start_pool(workers: int) -> ProcessPool:
    """Start a pool of workers, forked from the server once it has loaded what they need."""
    start_server()
    pool = ProcessPool(
        max_workers=workers,
        max_tasks=MAX_SLICES_PER_WORKER,
        context=multiprocessing.get_context("forkserver"),
    )
    # In a thread, because the server may have to compile for a minute, and Ctrl-C while a process
    # is being started would leave the server with half a message.
    started: list[BaseException | bool] = []

    def start() -> None:
        try:
            started.append(pool.active)  # reading this property starts the pool
        except (OSError, EOFError, BrokenProcessPool) as error:
            started.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(POLL_SECONDS)
    if started != [True]:
        why = f": {started[0]!r}" if started and started[0] else ""
        raise PoolError(f"the worker processes cannot be started{why}")
    return pool


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
        name = signal.Signals(-exitcode).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"exit code {exitcode}"
