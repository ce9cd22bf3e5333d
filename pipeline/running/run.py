"""One pipeline run from its sources to a dataset: begin or go on, work, finish.

The unfinished dataset is `NAME.partial`, with a plan of what it is to be. The same sources and
settings go on with it; others are refused with the difference named.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial as bind
from pathlib import Path
from typing import Any

from pipeline.config import DataSettings
from pipeline.duplicates.settings import read_list
from pipeline.duplicates.splits import earlier_splits
from pipeline.report.build.timing import forget_timings
from pipeline.running.entry import begin_finish, begin_slice
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.status import Status, published
from pipeline.running.tasks import (
    LOCK,
    PLAN,
    Outcome,
    SliceJob,
    read_verdicts,
)
from pipeline.sources.listing import Slice, SourceFile, keep_listings, list_files
from shards import settings
from shards.errors import LakhxlError
from shards.layout import MANIFEST, is_dataset
from shards.reader import Dataset, find_dataset, read_json, read_manifest
from shards.writer import write_json


class RunError(LakhxlError):
    """A run cannot begin or go on in the folder it was given."""


class FolderLock:
    """Keeps other runs out of a folder for as long as this object, or this process, lives.

    Raises:
        RunError: another run is in there.
    """

    def __init__(self, partial: Path) -> None:
        self._descriptor = -1
        self._descriptor = os.open(partial / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunError(
                f"{partial}: another run is at work in there; let it end first"
            ) from None

    def release(self) -> None:
        """Let others in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    __del__ = release


@dataclass
class Began:
    """A run whose folder is ready, and nobody else's.

    Attributes:
        partial, folder: the dataset, unfinished and finished.
        slices: the files, in slices.
        roots: the sources.
        notes: what was found in them and left alone.
        done: slices published by an earlier call.
        earlier: what became of their files.
    """

    partial: Path
    folder: Path
    slices: Sequence[Slice]
    roots: Sequence[Path]
    notes: Sequence[str]
    lock: FolderLock
    done: set[int] = field(default_factory=set)
    earlier: Status = field(default_factory=Status)

    @property
    def files(self) -> int:
        """Input files, done or not."""
        return sum(map(len, self.slices))


def _check_finish(data_settings: DataSettings, folder: Path) -> None:
    """Refuse now what the finish, hours later, could not read."""
    listed, earlier = data_settings.duplicates.duplicate_list, data_settings.split.keep_splits
    if listed:
        read_list(listed, (), ())
    if earlier:
        earlier_splits(earlier, ())
        if find_dataset(Path(earlier)).resolve() == folder.resolve():
            raise RunError(
                f"{folder}: --keep-splits names the dataset that this run replaces; give another "
                "--name"
            )


def begin(
    sources: Sequence[Path],
    folder: Path,
    data_settings: DataSettings,
    *,
    restart: bool,
    listing: Callable[[int, int], None] = lambda done, total: None,
) -> Began:
    """List the files and make or find the unfinished dataset.

    Args:
        sources: folders, files or archives.
        folder: where the dataset is to appear.
        data_settings: what it is to hold.
        restart: forget an earlier dataset of this name, finished or not.
        listing: called with bytes done and in all while a compressed archive is listed.

    Raises:
        RunError: the name is taken, by a dataset, by a run with another plan, or by one that is
            under way; or the earlier dataset of --keep-splits would be replaced.
        SourceError: nothing to read.
        LakhxlError: what the finish needs cannot be read.
    """
    _check_finish(data_settings, folder)
    partial = folder.with_name(folder.name + ".partial")
    ingest = data_settings.ingest
    if folder.exists() and not restart:
        raise RunError(f"{folder} exists already; --restart replaces it, --name gives another name")
    lock = FolderLock(partial) if partial.is_dir() else None
    files = list_files(sources, ingest.max_file_size, cache=partial, watch=listing)
    if restart:
        _forget(folder, partial)
        lock = None
    plan = {
        "sources": [str(source) for source in sources],
        "files": len(files),
        "listing": files.hash(),
        "settings": settings.to_json(data_settings),
    }
    old = _old_plan(partial)
    if old:
        _same_plan(old, plan, partial)
        _sweep(partial)
    else:
        partial.mkdir(parents=True, exist_ok=True)
        lock = lock or FolderLock(partial)
        keep_listings(files, partial)
        write_json(partial / PLAN, plan)
    slices = files.cut(ingest.slice_files)
    began = Began(partial, folder, slices, files.roots, files.notes, lock)
    _count_done(began)
    return began


def _sweep(partial: Path) -> None:
    """Remove what a run that was killed left half written."""
    for pattern in ("*.tmp", "spool-*"):
        for path in partial.glob(pattern):
            path.unlink(missing_ok=True)


def _forget(folder: Path, partial: Path) -> None:
    """Remove what carries this name, but nothing that is not a dataset of ours."""
    for old, marks in ((folder, [MANIFEST]), (partial, [PLAN, MANIFEST])):
        if old.exists():
            if not any((old / mark).is_file() for mark in marks):
                raise RunError(f"{old} is not a dataset ({marks[0]} not found); remove it yourself")
            shutil.rmtree(old)
    forget_timings(folder)


def _old_plan(partial: Path) -> dict[str, Any]:
    """What the run in this folder set out to do; nothing, where there is none.

    One that was killed as it gave the folder its name has thrown the plan away, but says in its
    manifest what it has made.
    """
    if (partial / PLAN).is_file():
        return read_json(partial / PLAN)
    if is_dataset(partial):
        manifest = read_manifest(partial)
        return {"files": manifest["counts"]["files"], "settings": manifest["settings"]}
    return {}


def _same_plan(old: dict[str, Any], new: dict[str, Any], partial: Path) -> None:
    before, now = _flat(old), _flat(new)
    before.pop("sources", None)  # the files' names are what counts
    differ = [name for name in before if now.get(name) != before[name]]
    if "listing" in before:  # a whole plan: what it does not name is new
        differ += [name for name in now if name not in before and name != "sources"]
    if differ:
        changes = "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in differ)
        raise RunError(
            f"{partial} was begun otherwise: {changes}. Give the same settings to go on, "
            "--restart to begin anew, or another --name"
        )


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        inner = (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
        flat |= inner
    return flat


def _count_done(began: Began) -> None:
    """Find the slices that are published, and count their files by what became of them."""
    if is_dataset(began.partial):  # all of them; only the folder's name is missing
        began.done = {slice_.number for slice_ in began.slices}
        return
    for slice_ in began.slices:
        progress = published(began.partial, slice_.number)
        if progress is not None:
            began.earlier.count(progress)
            began.done.add(slice_.number)


def carry_out(
    began: Began,
    data_settings: DataSettings,
    how: PoolSettings,
    watch: Callable[[Status], None] = lambda status: None,
    task: Callable[[SliceJob], Outcome] = begin_slice,
) -> Dataset:
    """Do what is left of a run and finish it.

    Args:
        began: from `begin`.
        data_settings: the same ones.
        how: workers and their limits.
        watch: called several times a second with how far the run has come, earlier calls
            included.
        task: what a worker does with a slice; another one only where faults are injected.
    """

    def job(slice_: Slice, files: Sequence[SourceFile]) -> SliceJob:
        return SliceJob(
            slice_.number,
            files,
            began.partial,
            data_settings,
            roots=began.roots,
            soft_timeout=how.soft_timeout,
            condemned=read_verdicts(began.partial, slice_.number, how.limits),
        )

    last = bind(begin_finish, began.partial, began.folder, len(began.slices), data_settings)
    to_do = [slice_ for slice_ in began.slices if slice_.number not in began.done]
    if how.engine == "ray" and to_do:
        from pipeline.running.ray_engine import RayCluster

        RayCluster(began.partial, how, watch, job, began.earlier).run(to_do)
        to_do = []
    pool = SlicePool(began.partial, how, watch, job, task, earlier=began.earlier)
    pool.run(to_do, last)
    began.lock.release()
    return Dataset(began.folder)
