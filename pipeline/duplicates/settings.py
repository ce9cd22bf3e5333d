"""What counts as a copy: the settings, and an outside list of duplicates.

Apart from `pipeline.duplicates.clusters`, which finds them, since whoever only needs the settings need
not load a compiler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shards import settings
from shards.errors import LakhxlError
from shards.settings import setting


@dataclass(frozen=True, kw_only=True)
class DuplicateSettings:
    """When two songs count as copies."""

    similarity: float = setting(
        0.2,
        "Share of melodic figures from which two songs are near-copies, where 0.08 are figures "
        "that few songs have. With a fifth of its notes cut a song keeps 0.29 (median), different "
        "songs have under 0.01; more than 1 compares exact music alone.",
        low=0.0,
    )
    duplicate_list: str | None = setting(
        None,
        "A text file with a group of copies a line: md5 checksums or paths as in the ledger, "
        "between tabs. What the dataset does not hold is passed over.",
    )

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        settings.check(self)


def read_list(path: str, md5s: Sequence[str], paths: Sequence[str]) -> list[list[int]]:
    """The groups of songs that an outside list of duplicates names.

    Raises:
        LakhxlError: it cannot be read.
    """
    places: dict[str, list[int]] = {}
    for names in (md5s, paths):
        for song, name in enumerate(names):
            places.setdefault(name, []).append(song)
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LakhxlError(f"{path}: --duplicate-list cannot be read ({error})") from error
    groups = [
        [song for name in line.split("\t") for song in places.get(name.strip(), ())]
        for line in lines
    ]
    return [group for group in groups if len(group) > 1]
