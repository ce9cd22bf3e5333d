"""How far a run is: what the pool tells whoever watches."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.running.journal import Progress
from pipeline.running.tasks import ledger_fragment
from shards.layout import LEDGER_SCHEMA
from shards.reader import read_table


@dataclass
class Status:
    """How far a run is, at any time.

    Attributes:
        kept: files that became songs.
        dropped: files that did not, by rule or outcome.
        slowest: seconds on the clock, and name, of the file that took longest so far.
        in_hand: the same of the file that a worker has been on for longest, right now.
    """

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    in_hand: tuple[float, str] = (0.0, "")

    @property
    def files(self) -> int:
        """Files done."""
        return self.kept + self.dropped.total()

    def count(self, progress: Progress) -> None:
        """Add the files of a slice."""
        self.kept += progress.kept
        self.dropped += progress.dropped


def published(folder: Path, number: int) -> Progress | None:
    """What became of the files of a slice, by its part of the ledger; None where it is not done."""
    path = folder / ledger_fragment(number)
    if not path.exists():
        return None
    table = read_table(path, LEDGER_SCHEMA)
    pairs = zip(table["outcome"].to_pylist(), table["rule"].to_pylist(), strict=True)
    reasons = Counter(rule or outcome for outcome, rule in pairs)
    return Progress(kept=reasons.pop("kept", 0), dropped=reasons)
