"""Prepare a run: lock its name, list its files, and make or find its unfinished dataset.

The unfinished dataset is the folder `NAME.partial`. It holds a plan: sources, file names and
settings. A run with the same plan resumes it; any other is refused, naming the difference.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import DataSettings
from pipeline.duplicates.settings import read_list
from pipeline.report.compute.timing import forget_timings
from pipeline.running.fragments import published_counts
from pipeline.running.run_lock import RunError, RunLock
from pipeline.running.status import FileCounts
from pipeline.sources.listing import Slice, check_sources, list_files, save_listings
from shards import open_dataset, settings
from shards.layout import MANIFEST, is_dataset
from shards.reader import read_json, read_manifest
from shards.writer import write_json

PLAN = "run.json"
"""What the run is to make; only in the unfinished folder."""
MIN_SLICE_FILES, WANTED_SLICES = 256, 128


@dataclass
class PreparedRun:
    """A run whose folder is ready and locked.

    Attributes:
        partial, folder: the dataset, unfinished and finished.
        settings: of the dataset.
        slices: the input files, in slices.
        left: the slices that no earlier call has published.
        earlier: counts of the files in the others.
        roots: the sources.
        passed_over: what may hold music but is not read, as phrases.
        lock: keeps other runs out.
    """

    partial: Path
    folder: Path
    settings: DataSettings
    slices: Sequence[Slice]
    left: Sequence[Slice]
    earlier: FileCounts
    roots: Sequence[Path]
    passed_over: Sequence[str]
    lock: RunLock

    @property
    def files(self) -> int:
        """Number of input files, done or not."""
        return sum(map(len, self.slices))


def prepare(
    sources: Sequence[Path],
    folder: Path,
    data_settings: DataSettings,
    *,
    restart: bool,
    on_listing: Callable[[int, int], None] = lambda done, total: None,
) -> PreparedRun:
    """List the files and make or find the unfinished dataset.

    Args:
        sources: folders, files or archives.
        folder: where the finished dataset will be.
        data_settings: of the dataset.
        restart: delete an earlier dataset of this name, finished or not.
        on_listing: called with bytes read and bytes in total while a compressed archive is listed.

    Raises:
        RunError: the name is taken by a dataset, by a run with another plan or by one that is
            still running; or the dataset of --keep-splits would be replaced.
        SourceError: nothing to read.
        LakhxlError: a file that finalizing needs cannot be read.
        OSError: the folder's parent cannot be written.
    """
    check_sources(sources)
    lock = RunLock(folder)
    try:
        return _prepare(sources, folder, data_settings, lock, restart, on_listing)
    except BaseException:
        lock.release()
        raise


def _prepare(
    sources: Sequence[Path],
    folder: Path,
    data_settings: DataSettings,
    lock: RunLock,
    restart: bool,
    on_listing: Callable[[int, int], None],
) -> PreparedRun:
    """Do the work of `prepare` under the lock."""
    if folder.exists() and not restart:
        raise RunError(f"{folder} exists already; --restart replaces it, --name gives another name")
    _check_inputs_of_finalize(data_settings, folder)
    partial = folder.with_name(folder.name + ".partial")
    ingest = data_settings.ingest
    files = list_files(
        sources,
        ingest.max_file_size,
        follow_links=ingest.follow_links,
        cache=partial,
        watch=on_listing,
    )
    if restart:
        _delete_earlier(folder, partial)
    plan = {
        "sources": [str(source) for source in sources],
        "files": len(files),
        "listing": files.hash(),
        "settings": settings.to_json(data_settings),
    }
    partial.mkdir(parents=True, exist_ok=True)
    earlier_plan = _earlier_plan(partial)
    if earlier_plan:
        _check_same_plan(earlier_plan, plan, partial)
        for half_written in (*partial.glob("*.tmp"), *partial.glob("spool-*")):
            half_written.unlink(missing_ok=True)
    else:
        save_listings(files, partial)
        write_json(partial / PLAN, plan)
    slices = files.cut(slice_length(len(files), ingest.slice_files))
    left, earlier = _published(partial, slices)
    return PreparedRun(
        partial, folder, data_settings, slices, left, earlier, files.roots, files.passed_over, lock
    )


def slice_length(files: int, most: int) -> int:
    """Input files per slice; see `IngestSettings.slice_files`."""
    return min(most, max(MIN_SLICE_FILES, files // WANTED_SLICES))


def _check_inputs_of_finalize(data_settings: DataSettings, folder: Path) -> None:
    """Read now what finalizing, hours later, could fail to read."""
    listed, earlier = data_settings.duplicates.duplicate_list, data_settings.split.keep_splits
    if listed is not None:
        read_list(listed)
    if earlier is not None and open_dataset(earlier).path.resolve() == folder.resolve():
        raise RunError(
            f"{folder}: --keep-splits names the dataset that this run replaces; give another --name"
        )


def _delete_earlier(folder: Path, partial: Path) -> None:
    """Delete the dataset of this name, finished or not; refuse to delete anything else."""
    for path, marks in ((folder, [MANIFEST]), (partial, [PLAN, MANIFEST])):
        if path.exists():
            if not any((path / mark).is_file() for mark in marks):
                raise RunError(
                    f"{path} is not a dataset ({marks[0]} not found); remove it yourself"
                )
            shutil.rmtree(path)
    forget_timings(folder)


def _earlier_plan(partial: Path) -> dict[str, Any]:
    """The plan of the run in this folder; empty if there is none.

    A run that was killed just before it renamed the folder has deleted its plan already; part of
    it is in the manifest.
    """
    if (partial / PLAN).is_file():
        return read_json(partial / PLAN)
    if is_dataset(partial):
        manifest = read_manifest(partial)
        return {"files": manifest["counts"]["files"], "settings": manifest["settings"]}
    return {}


def _check_same_plan(earlier: dict[str, Any], plan: dict[str, Any], partial: Path) -> None:
    before, now = _flat(earlier), _flat(plan)
    before.pop("sources", None)  # file names are compared by the hash of the listing
    differ = [name for name in before if now.get(name) != before[name]]
    if "listing" in before:  # a complete plan: names that it lacks are new
        differ += [name for name in now if name not in before and name != "sources"]
    if differ:
        changes = "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in differ)
        raise RunError(
            f"{partial} was started differently: {changes}. Give the same settings to resume, "
            "--restart to start over, or another --name"
        )


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one, its keys joined by dots."""
    flat: dict[str, Any] = {}
    for name, value in data.items():
        flat |= (
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat


def _published(partial: Path, slices: Sequence[Slice]) -> tuple[list[Slice], FileCounts]:
    """The slices that are not published yet, and the counts of the files in the others."""
    left, counts = [], FileCounts()
    if is_dataset(partial):  # all are published; only the folder's rename is missing
        return left, counts
    for slice_ in slices:
        published = published_counts(partial, slice_.number)
        if published is None:
            left.append(slice_)
        else:
            counts += published
    return left, counts
