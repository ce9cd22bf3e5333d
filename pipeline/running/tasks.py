"""What the parent and its workers tell each other: jobs, what came of them, and verdicts.

Imports nothing that is slow to load: the parent never reads a MIDI file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.config import DataSettings
from pipeline.running.journal import Progress
from pipeline.sources.listing import SourceFile
from shards.reader import read_json
from shards.writer import write_json


@dataclass(frozen=True)
class Condemned:
    """What a file did to the worker that read it, or to the one before."""

    outcome: str
    detail: str


@dataclass(frozen=True)
class SliceJob:
    """One task.

    Attributes:
        number: of the slice, and of its shard.
        files: its input files.
        folder: the unfinished dataset.
        settings: what the dataset is to hold.
        roots: the sources that the files lie in.
        soft_timeout: seconds of processor time a file may take before it is interrupted.
        condemned: place in `files` -> why it is left alone.
        start, stop: the places to read; all of them unless the job is a draft.
        draft: publish nothing, only find out which files fail.
    """

    number: int
    files: Sequence[SourceFile]
    folder: Path
    settings: DataSettings
    roots: Sequence[Path] = ()
    soft_timeout: float = 20.0
    condemned: Mapping[int, Condemned] = field(default_factory=dict)
    start: int = 0
    stop: int | None = None
    draft: bool = False

    @property
    def places(self) -> range:
        """The places in `files` that this job reads."""
        return range(*slice(self.start, self.stop).indices(len(self.files)))


@dataclass(frozen=True)
class Outcome:
    """What came of one task; a few numbers, as tokens never travel through a pipe.

    Attributes:
        suspects: place -> how it failed; nothing was published where there are any.
        progress: files kept and dropped.
        slowest: seconds on the clock, and the name, of the file that took longest.
    """

    suspects: dict[int, Condemned]
    progress: Progress = field(default_factory=Progress)
    slowest: tuple[float, str] = (0.0, "")


PLAN = "run.json"
"""What the run set out to do; only in the unfinished folder."""
LOCK = "lock"
"""Held by the run that is at work in the unfinished folder."""


def ledger_fragment(number: int) -> str:
    """File name of a slice's part of the ledger; where it stands, the slice is done."""
    return f"ledger-{number:05d}.arrow"


def index_fragment(number: int) -> str:
    """File name of a slice's part of the index."""
    return f"index-{number:05d}.arrow"


def verdicts_file(folder: Path, number: int) -> Path:
    """Where the condemned files of a slice are kept until it is published."""
    return folder / f"condemned-{number:05d}.json"


def keep_verdicts(
    folder: Path, number: int, condemned: Mapping[int, Condemned], limits: Mapping[str, float]
) -> None:
    """Save who is condemned in a slice: a run that goes on need not try them again."""
    files = [[place, fate.outcome, fate.detail] for place, fate in sorted(condemned.items())]
    write_json(verdicts_file(folder, number), {"limits": dict(limits), "files": files})


def read_verdicts(folder: Path, number: int, limits: Mapping[str, float]) -> dict[int, Condemned]:
    """Who is condemned in a slice; nobody, where other limits are in force than were then."""
    path = verdicts_file(folder, number)
    if not path.exists():
        return {}
    kept = read_json(path)
    if kept["limits"] != dict(limits):
        return {}
    return {place: Condemned(outcome, detail) for place, outcome, detail in kept["files"]}
