"""One pipeline run from its sources to a dataset: begin or go on, work, finish.

The unfinished dataset is `NAME.partial`, with a plan of what it is to be. The same sources and
settings go on with it; others are refused with the difference named.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from pipeline.config import DataSettings
from pipeline.finish import PLAN, finish
from pipeline.pool import PoolSettings, SlicePool
from pipeline.slice_job import SliceJob, ledger_fragment
from pipeline.sources import SourceFile, cut, list_files, listing_hash
from pipeline.timings import forget_timings
from shards import settings
from shards.errors import LakhxlError
from shards.layout import LEDGER_SCHEMA
from shards.reader import Dataset, read_json, read_table
from shards.writer import write_json


class RunError(LakhxlError):
    """A run cannot begin or go on in the folder it was given."""


@dataclass(frozen=True)
class Began:
    """A run whose folder is ready.

    Attributes:
        partial, folder: the dataset, unfinished and finished.
        slices: the files, in slices.
        kept, dropped: files done by an earlier call.
    """

    partial: Path
    folder: Path
    slices: list[Sequence[SourceFile]]
    kept: int
    dropped: int

    @property
    def files(self) -> int:
        """Input files, done or not."""
        return sum(map(len, self.slices))

    def to_do(self, data_settings: DataSettings) -> list[SliceJob]:
        """The slices that are not published yet."""
        return [
            SliceJob(number, files, self.partial, data_settings)
            for number, files in enumerate(self.slices)
            if not (self.partial / ledger_fragment(number)).exists()
        ]


def begin(
    sources: Sequence[Path], folder: Path, data_settings: DataSettings, *, restart: bool
) -> Began:
    """List the files and make or find the unfinished dataset.

    Args:
        sources: folders or files.
        folder: where the dataset is to appear.
        data_settings: what it is to hold.
        restart: forget an earlier dataset of this name, finished or not.

    Raises:
        RunError: the name is taken, by a dataset or by a run with another plan.
        SourceError: nothing to read.
    """
    files = list_files(sources)
    partial = folder.with_name(folder.name + ".partial")
    if restart:
        _forget(folder, partial)
    elif folder.exists():
        raise RunError(f"{folder} exists already; --restart replaces it, --name gives another name")
    plan = {
        "sources": [str(source) for source in sources],
        "files": len(files),
        "listing": listing_hash(files),
        "settings": settings.to_json(data_settings),
    }
    if (partial / PLAN).is_file():
        _same_plan(read_json(partial / PLAN), plan, partial)
    else:
        partial.mkdir(parents=True, exist_ok=True)
        write_json(partial / PLAN, plan)
    slices = cut(files, data_settings.intake.slice_files)
    kept, dropped = _done(partial, len(slices))
    return Began(partial, folder, slices, kept, dropped)


def _forget(folder: Path, partial: Path) -> None:
    """Remove what carries this name, but nothing that is not a dataset of ours."""
    for old, mark in ((folder, "dataset.json"), (partial, PLAN)):
        if old.exists():
            if not (old / mark).is_file():
                raise RunError(f"{old} is not a dataset ({mark} not found); remove it yourself")
            shutil.rmtree(old)
    forget_timings(folder)


def _same_plan(old: dict[str, Any], new: dict[str, Any], partial: Path) -> None:
    before, now = _flat(old), _flat(new)
    before.pop("sources", None), now.pop("sources", None)  # the files' names are what counts
    differ = [name for name in now if before.get(name) != now[name]]
    if differ:
        changes = "; ".join(f"{name} was {before.get(name)}, is {now[name]}" for name in differ)
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


def _done(partial: Path, slices: int) -> tuple[int, int]:
    """Files kept and dropped in the slices already published."""
    kept = dropped = 0
    for number in range(slices):
        path = partial / ledger_fragment(number)
        if path.exists():
            outcomes = read_table(path, LEDGER_SCHEMA)["outcome"]
            here = pc.sum(pc.equal(outcomes, "kept")).as_py() or 0
            kept, dropped = kept + here, dropped + len(outcomes) - here
    return kept, dropped


def carry_out(
    began: Began,
    data_settings: DataSettings,
    how: PoolSettings,
    watch: Callable[[int, int], None],
) -> Dataset:
    """Do what is left of a run and finish it.

    Args:
        began: from `begin`.
        data_settings: the same ones.
        how: workers and their limits.
        watch: called with the files kept and dropped so far, earlier calls included.
    """
    jobs = began.to_do(data_settings)
    if jobs:
        SlicePool(how, lambda kept, dropped: watch(began.kept + kept, began.dropped + dropped)).run(
            jobs
        )
    finish(began.partial, began.folder, len(began.slices), data_settings)
    return Dataset(began.folder)
