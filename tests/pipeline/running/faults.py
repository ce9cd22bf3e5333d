"""Faults for the chaos tests: files whose first bytes say what reading them does to the worker."""

import errno
import os
import signal
import time

import numpy as np

from pipeline.midi import read_midi
from pipeline.running import slice_task, worker


def read_with_faults(self, data):
    """In place of the reader: some bytes hang, kill or fill the process."""
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
    elif data.startswith(b"ONCE"):
        mark, music = data[4:].split(b"\n", 1)
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return read_midi(music)
        os._exit(3)
    return read_midi(data)


def run_slice_with_faults(job):
    """What a worker runs in the chaos tests."""
    honest = slice_task.FileProcessor.read
    slice_task.FileProcessor.read = read_with_faults
    try:
        return slice_task.run_slice(job)
    finally:
        slice_task.FileProcessor.read = honest


def run_slice_on_a_full_disk(job):
    """Fails as a write does when there is no room left."""
    raise OSError(errno.ENOSPC, "No space left on device", str(job.folder))


def run_slice_and_die(job):
    """Dies before the first file, as a worker does that gets too little memory."""
    os._exit(7)


def prepare_badly(memory):
    """A worker that cannot be made ready."""
    raise RuntimeError("no such library")


def prepare_and_die(memory):
    """A worker that dies while it is made ready."""
    worker.prepare(memory)
    os._exit(9)
