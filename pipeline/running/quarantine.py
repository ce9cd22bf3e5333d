"""Quarantine records: files that failed twice and are left out of their slice.

A record is a JSON file beside the unfinished slice. It holds for resumed runs too, as long as
they have the same limits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shards.reader import read_json
from shards.writer import write_json


@dataclass(frozen=True)
class Failure:
    """How a file failed.

    Attributes:
        outcome, detail: for the ledger; a word and a sentence.
        from_outside: whether its worker was ended by somebody else, which may be no fault of its.
    """

    outcome: str
    detail: str
    from_outside: bool = False


def quarantine_path(folder: Path, number: int) -> Path:
    """Path of the quarantine record of a slice."""
    return folder / f"quarantine-{number:05d}.json"


def save_quarantine(
    folder: Path, number: int, failures: Mapping[int, Failure], limits: Mapping[str, float]
) -> None:
    """Save which files of a slice are quarantined, by their index in the slice."""
    files = [[index, each.outcome, each.detail] for index, each in sorted(failures.items())]
    write_json(quarantine_path(folder, number), {"limits": dict(limits), "files": files})


def read_quarantine(folder: Path, number: int, limits: Mapping[str, float]) -> dict[int, Failure]:
    """Read which files of a slice are quarantined; none if the record is for other limits."""
    path = quarantine_path(folder, number)
    if not path.exists():
        return {}
    record = read_json(path)
    if record["limits"] != dict(limits):
        return {}
    return {index: Failure(outcome, detail) for index, outcome, detail in record["files"]}
