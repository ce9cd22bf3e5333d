"""What a worker process is: bound in memory, on one thread, gone when its parent is.

Workers are forked from a server, a process of one thread that has loaded the compiled reader and
does nothing else: a worker in place of one that was killed is there at once, and sixteen share
one copy of the libraries. Where the server dies, so do they; it dies with the parent.

A worker prepares itself when its first task comes, so that a failure to do so is the failure of
a task, which the parent hears of; one in a pool's own initializer is not.
"""

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
"""Linux, prctl(2): the signal this process gets when its parent dies."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # a process of two threads forks unsafely
}

_prepared = False


class Overtime(Exception):
    """The file in hand has taken more processor time than it may."""


def start_server() -> None:
    """Start the process that workers are forked from, unless it runs; returns at once.

    To be called from the main thread: where the thread that calls ends, so does the server.
    It never sees Ctrl-C, and keeps to one thread.
    """
    multiprocessing.set_forkserver_preload(["pipeline.running.preload"])
    with interrupts_held(), _one_thread():
        forkserver.ensure_running()


def work(prepare: Callable[[int], None], memory: int, task: Any, job: Any) -> Any:
    """Run one task, in a process that was prepared before its first.

    Args:
        prepare: makes the process a worker; called once, with `memory`.
        memory: bytes this one may allocate.
        task, job: what to call, and with what.
    """
    global _prepared
    if not _prepared:
        prepare(memory)
        _prepared = True
    return task(job)


def prepare(memory: int) -> None:
    """Die with the server, bound the memory. Ctrl-C is the parent's affair."""
    die_with_parent()
    bound_memory(memory)


def die_with_parent() -> None:
    """Have the system kill this process when the one that started it is gone."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it died before we asked to be told
        os._exit(1)


def bound_memory(most: int) -> None:
    """Let an allocation that takes this process over `most` bytes fail with MemoryError.

    RLIMIT_DATA, not RLIMIT_AS: compilers and allocators reserve address space that they never
    touch, and memory maps of files are no burden.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


@contextlib.contextmanager
def processor_time(seconds: float) -> Iterator[None]:
    """Raise Overtime inside the block once it has used so much processor time.

    Processor time, not the clock's: a machine that is busy with something else, or was put to
    sleep, makes no file slow. Compiled code is interrupted when it returns; what never returns
    is for the parent to end.

    Raises:
        Overtime: in the middle of whatever the block is doing.
    """
    signal.signal(signal.SIGPROF, _overtime)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # again, should someone swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _overtime(signal_number: int, frame: FrameType | None) -> None:
    raise Overtime


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Processes started inside never see Ctrl-C; here, it comes afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes started inside see an environment in which numeric libraries use one thread."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
