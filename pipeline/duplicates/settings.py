"""When songs count as duplicates: the settings, and the user's list of duplicates.

Kept apart from `pipeline.duplicates.clusters`, so that reading settings does not load numba.
"""

from dataclasses import dataclass
from pathlib import Path

from shards.errors import LakhxlError
from shards.plain_file import read_plain
from shards.settings import Settings, setting

MAX_LIST = 1 << 28
"""Bytes of a list of duplicates: 40 for each of six million files."""


@dataclass(frozen=True, kw_only=True)
class DuplicateSettings(Settings):
    """When two songs count as duplicates."""

    similarity: float = setting(
        0.2,
        "Jaccard similarity of n-grams, of the melodies or of the top line, from which two songs "
        "are near-duplicates; at least 0.08 of it, 0.12 for the top line, has to come from rare "
        "n-grams, and all of it in the same order. With a fifth of its notes removed a song still "
        "has 0.29 (median), different songs have less than 0.01; above 1, only exact music counts.",
        low=0.0,
    )
    cover_similarity: float = setting(
        0.4,
        "A song of a cluster whose similarity to every song chosen before it is lower is a cover, "
        "not a copy, and is trained on too; 0 trains on one song per cluster. Of 67 pairs in 2,500 "
        "scraped files, 35 other versions have 0.12 to 0.41 and 32 copies 0.50 to 1.",
        low=0.0,
    )
    duplicate_list: str | None = setting(
        None,
        "A text file with one group of duplicates per line: md5 checksums or paths as in the "
        "ledger, separated by tabs. Files that the dataset does not hold are ignored.",
    )


def read_list(path: str) -> list[list[str]]:
    """Read the groups of songs that the user lists as duplicates: the names of each.

    Raises:
        LakhxlError: it cannot be read.
    """
    try:
        lines = read_plain(Path(path), MAX_LIST).decode().splitlines()
    except (OSError, UnicodeDecodeError, LakhxlError) as error:
        raise LakhxlError(f"--duplicate-list {path} cannot be read: {error}") from error
    return [[name.strip() for name in line.split("	")] for line in lines]
