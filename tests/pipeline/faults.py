"""Faults for the chaos test: files whose name says what reading them does to the worker."""

import os
import signal
import time

import numpy as np

from pipeline import slice_job


def read_with_faults(processor_read):
    """Wrap the read of one file: some bytes hang, kill or fill the process."""

    def read(self, data):
        if data.startswith(b"HANG"):
            time.sleep(3600)
        elif data.startswith(b"SEGV"):
            os.kill(os.getpid(), signal.SIGSEGV)
        elif data.startswith(b"EXIT"):
            os._exit(3)
        elif data.startswith(b"EAT"):
            return np.ones(10**11)
        elif data.startswith(b"BUG"):
            raise RuntimeError("a bug")
        return processor_read(self, data)

    return read


def run_slice_with_faults(job) -> None:
    """What a worker runs in the chaos test."""
    honest = slice_job.FileProcessor.read
    slice_job.FileProcessor.read = read_with_faults(honest)
    try:
        slice_job.run_slice(job)
    finally:
        slice_job.FileProcessor.read = honest


def run_slice_on_a_full_disk(job) -> None:
    """Fails as a write does when there is no room left."""
    raise OSError(28, "No space left on device", str(job.folder))
