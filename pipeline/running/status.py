"""How far a run is: counts of processed files, and which files take long."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FileCounts:
    """How many files were kept, and how many were dropped for which reason.

    Attributes:
        kept: files that became songs.
        dropped: files that did not, by rule or, where there is none, by outcome.
    """

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def files(self) -> int:
        """Number of files counted."""
        return self.kept + self.dropped.total()

    def __add__(self, other: "FileCounts") -> "FileCounts":
        return FileCounts(self.kept + other.kept, self.dropped + other.dropped)


@dataclass
class RunStatus:
    """How far a run is at one moment.

    Attributes:
        counts: files processed so far.
        slowest: elapsed seconds and name of the file that took longest so far.
        current: elapsed seconds and name of the file that a worker has been on longest right now.
        notes: sentences about what has happened so far, in order; each is to be told once.
    """

    counts: FileCounts = field(default_factory=FileCounts)
    slowest: tuple[float, str] = (0.0, "")
    current: tuple[float, str] = (0.0, "")
    notes: tuple[str, ...] = ()
