"""The functions that workers run, importable without loading compiled code.

The parent only passes them on by name. What they import, numba among it, is loaded in the worker.
"""

from pathlib import Path

from pipeline.config import DataSettings
from pipeline.running.messages import SliceResult, SliceTask


def run_slice(task: SliceTask) -> SliceResult:
    """Run `slice_task.run_slice`."""
    from pipeline.running import slice_task

    return slice_task.run_slice(task)


def finalize(partial: Path, folder: Path, slices: int, settings: DataSettings) -> None:
    """Run `finalize.finalize`."""
    from pipeline.running.finalize import finalize

    finalize(partial, folder, slices, settings)
