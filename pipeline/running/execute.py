"""Execute a prepared run: process the slices that are left, then finalize the dataset."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from pipeline.running import worker_entry
from pipeline.running.messages import RunContext, SliceResult, SliceTask
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import PreparedRun
from pipeline.running.status import RunStatus
from shards.reader import Dataset


def engine(pool_settings: PoolSettings) -> AbstractContextManager[Any]:
    """Make sure that what is to run the slices is there, before any work is done.

    Raises:
        PoolError: on entry, if there is no Ray cluster to run them.
    """
    if pool_settings.engine != "ray":
        return nullcontext()
    from pipeline.running.ray_engine import connected

    return connected(pool_settings.ray_address)


def execute(
    run: PreparedRun,
    pool_settings: PoolSettings,
    on_status: Callable[[RunStatus], None] = lambda status: None,
    run_slice: Callable[[SliceTask], SliceResult] = worker_entry.run_slice,
) -> Dataset:
    """Process the slices that are left and finalize the dataset.

    Args:
        run: from `prepare`.
        pool_settings: workers and their limits.
        on_status: called several times per second with how far the run is, earlier calls included.
        run_slice: what a worker does with a slice; tests replace it to inject faults.

    Raises:
        PoolError: the run cannot continue; the same command resumes it.
    """
    context = RunContext(run.partial, run.settings, pool_settings, run.roots)
    finalize = partial(
        worker_entry.finalize, run.partial, run.folder, len(run.slices), run.settings
    )
    left, done = run.left, run.earlier
    with run.lock:
        if pool_settings.engine == "ray" and left:
            from pipeline.running.ray_engine import RayEngine

            done = RayEngine(context, on_status, done).run(left)
            left = []
        SlicePool(context, on_status, run_slice, earlier=done).run(left, finalize)
    return Dataset(run.folder)
