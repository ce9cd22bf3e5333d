"""Train, valid and test, drawn by cluster: no near-copy of a training song is ever held out.

The draw is a salted hash of the cluster's smallest file checksum, so it depends on the songs
alone: not on their number, order or names.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards import settings
from shards.settings import setting


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How large a part is held out."""

    valid: float = setting(0.05, "Share of clusters held out for validation.", low=0.0)
    test: float = setting(0.05, "Share of clusters held out for the final test.", low=0.0)
    split_salt: str = setting("lakhxl", "Another salt draws another split.")

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        settings.check(self)
        if self.valid + self.test >= 1:
            raise settings.SettingError(
                f"valid {self.valid} and test {self.test} leave nothing to train on"
            )


def splits(md5s: Sequence[str], clusters: np.ndarray, settings: SplitSettings) -> list[str]:
    """The split of each song.

    Args:
        md5s: checksum of each song's file.
        clusters: shape (songs,), the number of each song's cluster.
        settings: shares and salt.

    Returns:
        `train`, `valid` or `test` for each song, one for a whole cluster.
    """
    smallest: dict[int, str] = {}
    for md5, cluster in zip(md5s, clusters.tolist(), strict=True):
        smallest[cluster] = min(md5, smallest.get(cluster, md5))
    drawn = {cluster: _draw(md5, settings) for cluster, md5 in smallest.items()}
    return [drawn[cluster] for cluster in clusters.tolist()]


def _draw(key: str, settings: SplitSettings) -> str:
    share = keyed_fraction(settings.split_salt, key)
    if share < settings.test:
        return "test"
    return "valid" if share < settings.test + settings.valid else "train"


def keyed_fraction(salt: str, key: str) -> float:
    """A number in [0, 1) that is a function of salt and key alone, evenly spread over keys."""
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
