"""Train, valid and test, drawn by cluster: no near-copy of a training song is ever held out.

The draw is a salted hash of the cluster's anchor, the smallest hash of any melodic figure in any
of its songs. It depends on the music alone: not on the songs' number, order, names or bytes. A
song that joins a cluster moves it only where it brings a figure with a smaller hash, which a copy
with a share n of new figures does with probability n; `keep_splits` makes it never.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards import open_dataset, settings
from shards.layout import SPLITS
from shards.settings import setting


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """How large a part is held out."""

    valid: float = setting(0.05, "Share of clusters held out for validation.", low=0.0)
    test: float = setting(0.05, "Share of clusters held out for the final test.", low=0.0)
    split_salt: str = setting("lakhxl", "Another salt draws another split.")
    keep_splits: str | None = setting(
        None,
        "An earlier dataset: songs that it holds, and copies of them, stay in their split.",
    )

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        settings.check(self)
        if self.valid + self.test >= 1:
            raise settings.SettingError(
                f"valid {self.valid} and test {self.test} leave nothing to train on"
            )


def splits(
    anchors: Sequence[int],
    clusters: np.ndarray,
    settings: SplitSettings,
    earlier: Sequence[str | None] | None = None,
) -> list[str]:
    """The split of each song.

    Args:
        anchors: of each song's fingerprint.
        clusters: shape (songs,), the number of each song's cluster.
        settings: shares and salt.
        earlier: the split of each song in an earlier dataset, None for one that is new.

    Returns:
        `train`, `valid` or `test` for each song, one for a whole cluster. A cluster with songs
        of the earlier dataset keeps their split; where they disagree, because clusters have
        merged, what was trained on is never held out.
    """
    smallest: dict[int, int] = {}
    kept: dict[int, set[str]] = {}
    before = earlier or [None] * len(anchors)
    for anchor, cluster, split in zip(anchors, clusters.tolist(), before, strict=True):
        smallest[cluster] = min(anchor, smallest.get(cluster, anchor))
        if split is not None:
            kept.setdefault(cluster, set()).add(split)
    drawn = {
        cluster: next((name for name in SPLITS if name in kept.get(cluster, ())), None)
        or draw(f"{anchor:016x}", settings)
        for cluster, anchor in smallest.items()
    }
    return [drawn[cluster] for cluster in clusters.tolist()]


def earlier_splits(path: str, md5s: Sequence[str]) -> list[str | None]:
    """The split that each file's song has in an earlier dataset, by its checksum.

    Raises:
        LakhxlError: there is no such dataset.
    """
    index = open_dataset(path).index
    known = dict(zip(index["md5"].to_pylist(), index["split"].to_pylist(), strict=True))
    return [known.get(md5) for md5 in md5s]


def draw(key: str, settings: SplitSettings) -> str:
    """The split of what has this key."""
    share = keyed_fraction(settings.split_salt, key)
    if share < settings.test:
        return "test"
    return "valid" if share < settings.test + settings.valid else "train"


def keyed_fraction(salt: str, key: str) -> float:
    """A number in [0, 1) that is a function of salt and key alone, evenly spread over keys."""
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
