"""What the parent and its workers send each other: SliceTask there, SliceResult back.

Imports nothing that is slow to load, because the parent never reads a MIDI file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import DataSettings
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.quarantine import Failure, read_quarantine
from pipeline.running.status import FileCounts
from pipeline.sources.listing import Slice, SourceFile


@dataclass(frozen=True)
class RunContext:
    """What all tasks of a run share.

    Attributes:
        folder: the unfinished dataset.
        settings: of the dataset.
        pool_settings: with the limits for files.
        roots: the sources that the files come from.
    """

    folder: Path
    settings: DataSettings
    pool_settings: PoolSettings
    roots: Sequence[Path] = ()

    def task(self, slice_: Slice, files: Sequence[SourceFile]) -> "SliceTask":
        """The task of one slice, whose files can be read now."""
        quarantined = read_quarantine(self.folder, slice_.number, self.pool_settings.limits)
        return SliceTask(slice_.number, files, self, quarantined)


@dataclass(frozen=True)
class SliceTask:
    """Process one slice.

    Attributes:
        number: of the slice, and of its shard.
        files: its input files.
        quarantined: index in `files` -> why that file is skipped.
        start, stop: range of files to process; all of them unless it is a dry run.
        dry_run: publish nothing, only find out which files fail.
    """

    number: int
    files: Sequence[SourceFile]
    run: RunContext
    quarantined: Mapping[int, Failure]
    start: int = 0
    stop: int | None = None
    dry_run: bool = False

    @property
    def indices(self) -> range:
        """Indices in `files` of those to process."""
        return range(*slice(self.start, self.stop).indices(len(self.files)))


@dataclass(frozen=True)
class SliceResult:
    """What came of a task: a few numbers, because tokens never travel through a pipe.

    Attributes:
        suspects: index in the slice's files -> how that file failed. If there are any, nothing
            was published.
        counts: files kept and dropped.
        slowest: elapsed seconds and name of the file that took longest.
    """

    suspects: dict[int, Failure]
    counts: FileCounts = field(default_factory=FileCounts)
    slowest: tuple[float, str] = (0.0, "")
