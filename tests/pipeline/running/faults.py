"""Faults for the chaos tests: a file's first bytes say what reading it does to the worker."""

import errno
import os
import signal
import time

import numpy as np

from pipeline import process_file
from pipeline.midi import read_midi
from pipeline.running import slice_task, worker


def read_with_faults(data):
    """Replaces `read_midi`: some files hang, kill or fill the process."""
    if data.startswith(b"HANG"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    elif data.startswith(b"SPIN"):
        while True:
            pass
    elif data.startswith(b"SEGV"):
        os.kill(os.getpid(), signal.SIGSEGV)
    elif data.startswith(b"EXIT"):
        os._exit(3)
    elif data.startswith(b"EAT"):
        hoard = []
        while True:
            hoard.append(np.zeros(10**7))
    elif data.startswith(b"BUG"):
        raise RuntimeError("a bug")
    elif data.startswith((b"ONCE", b"KILL")):
        mark, music = data[4:].split(b"\n", 1)
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return read_with_faults(music)
        if data.startswith(b"KILL"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(3)
    return read_midi(data)


def run_slice_with_faults(task):
    """Replaces `run_slice` in the chaos tests."""
    process_file.read_midi = read_with_faults
    try:
        return slice_task.run_slice(task)
    finally:
        process_file.read_midi = read_midi


def run_slice_on_a_full_disk(task):
    """Fails as a write does on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device", str(task.run.folder))


def run_slice_and_die(task):
    """Dies before the first file, as a worker with too little memory does."""
    os._exit(7)


def set_up_badly(memory):
    """A worker that cannot be set up."""
    raise RuntimeError("no such library")


def set_up_and_die(memory):
    """A worker that dies while it is set up."""
    worker.set_up_worker(memory)
    os._exit(9)
