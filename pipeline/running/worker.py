"""Set-up of a worker process: one thread, limited memory, killed when its parent dies.

Workers are forked from a server, a single-threaded process that has loaded the compiled code and
does nothing else. So a replacement for a killed worker starts at once, and all workers share one
copy of the libraries. When the parent dies, the server dies; when the server dies, they die.

A worker sets itself up when its first task arrives, not in a pool initializer: then a failure is
the failure of a task, which the parent hears of.
"""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from types import FrameType
from typing import Any

from shards.python_process import child_environment, environment

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal this process gets when its parent dies."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # forking with two threads is unsafe
}

_is_set_up = False


class CpuTimeExceeded(Exception):
    """The current file has used more CPU time than it may."""


def start_server() -> None:
    """Start the process that workers are forked from, unless it is running; returns at once.

    Call this from the main thread: the server ends when the calling thread ends. The server never
    gets Ctrl-C, and has one thread.
    """
    multiprocessing.set_forkserver_preload(["pipeline.running.forkserver_preload"])
    resource_tracker.ensure_running()  # once it has started, it unblocks SIGINT
    with sigint_blocked(), environment(ONE_THREAD | child_environment()):
        forkserver.ensure_running()


def run_in_worker(
    set_up: Callable[[int], None], memory: int, function: Callable[..., Any], *arguments: Any
) -> Any:
    """Call a function in this process, which is set up as a worker before its first call.

    Args:
        set_up: called once, with `memory`.
        memory: bytes that this process may allocate.
        function, arguments: what to call.
    """
    global _is_set_up
    if not _is_set_up:
        set_up(memory)
        _is_set_up = True
    return function(*arguments)


def set_up_worker(memory: int) -> None:
    """Die with the server and limit the memory. Ctrl-C is left to the parent."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # so that the exit code tells who ended it
    die_with_parent()
    limit_memory(memory)


def die_with_parent() -> None:
    """Have the system kill this process when the one that started it is gone."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it died before the call
        os._exit(1)


def limit_memory(limit: int) -> None:
    """Let an allocation that takes this process over `limit` bytes fail with MemoryError.

    RLIMIT_DATA, not RLIMIT_AS: compilers and allocators reserve address space that they never
    touch, and memory-mapped files need no memory of their own.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


@contextlib.contextmanager
def cpu_time_limit(seconds: float) -> Iterator[None]:
    """Raise CpuTimeExceeded inside the block once it has used this much CPU time.

    CPU time, not elapsed time: a busy or suspended machine makes no file slow. Compiled code is
    interrupted when it returns; if it never returns, the parent kills the worker.

    Raises:
        CpuTimeExceeded: at any point of the block.
    """
    signal.signal(signal.SIGPROF, _raise_exceeded)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # repeats in case the first is swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _raise_exceeded(signal_number: int, frame: FrameType | None) -> None:
    raise CpuTimeExceeded


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT; processes started inside never get it, this one gets it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
