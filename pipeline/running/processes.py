"""A pool's processes: started from the server that is ready for them, and ended for certain."""

import contextlib
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from pebble import ProcessPool

from pipeline.running.worker import bound_memory, start_server
from shards.errors import LakhxlError

POLL_SECONDS = 0.1
SLICES_OF_A_WORKER = 100
"""After which a fresh process takes its place: no leak grows for days."""


class PoolError(LakhxlError):
    """The run cannot go on: the disk is full, or workers die whatever they are given."""


def start_pool(processes: int) -> ProcessPool:
    """A pool whose workers are forked from the server, once that has loaded what they need."""
    start_server()
    pool = ProcessPool(
        max_workers=processes,
        max_tasks=SLICES_OF_A_WORKER,
        context=multiprocessing.get_context("forkserver"),
    )
    # In a thread, as it may take the compiler a minute to make what the server loads, and Ctrl-C
    # in the middle of starting a process would leave that with half a message.
    started: list[BaseException | bool] = []

    def start() -> None:
        try:
            started.append(pool.active)  # asking starts it
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


def end_pool(pool: ProcessPool | None) -> None:
    """Kill the workers: none has anything to lose, and one may hang."""
    if pool is not None:
        pool.stop()
        for child in multiprocessing.active_children():
            child.kill()
        pool.join()


def without_bounds(last: Callable[[], None]) -> None:
    """What a worker does last: memory in proportion to the dataset, and no foreign data."""
    bound_memory(resource.RLIM_INFINITY)
    last()


def kill(process: int) -> None:
    """Kill a worker; SIGTERM it may ignore, and it has nothing to lose."""
    if process in {child.pid for child in multiprocessing.active_children()}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def end_of(exitcode: int | None) -> str:
    """How a process ended, in words."""
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"exit code {exitcode}"
