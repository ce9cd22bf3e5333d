"""What a worker is to do, by names that load nothing where they are only named.

The parent hands these to its workers and never calls them; what they import, with a compiler in
it, is loaded in the worker.
"""

from pathlib import Path

from pipeline.config import DataSettings
from pipeline.running.tasks import Outcome, SliceJob


def begin_slice(job: SliceJob) -> Outcome:
    """`slice_job.run_slice`, without loading the compiled reader into whoever names it."""
    from pipeline.running.slice_task import run_slice

    return run_slice(job)


def begin_finish(partial: Path, folder: Path, slices: int, data_settings: DataSettings) -> None:
    """`finish.finish`, likewise."""
    from pipeline.running.finalize import finish

    finish(partial, folder, slices, data_settings)
