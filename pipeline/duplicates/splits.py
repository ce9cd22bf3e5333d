"""Train, valid and test, drawn by cluster: no duplicate of a training song is ever held out.

The draw is a salted hash of the cluster's min-hash, the smallest hash of any melodic n-gram of its
songs. It depends on the music alone, not on the number, order, names or bytes of the files. A song
that joins a cluster can move it to another split only if it brings a smaller hash; one with a share
n of new n-grams does so with a probability of about n. `keep_splits` prevents it.
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
    """How many songs are held out, and how they are drawn."""

    valid: float = setting(
        0.05,
        "Share of clusters held out for validation. 5 percent leaves nine tenths to train on.",
        low=0.0,
    )
    test: float = setting(
        0.05, "Share of clusters held out for the final test, as many as for validation.", low=0.0
    )
    split_salt: str = setting(
        "lakhxl", "Key of the draw: any fixed text repeats it, another text draws another split."
    )
    keep_splits: str | None = setting(
        None,
        "An earlier dataset: its songs, and duplicates of them, stay in their split.",
    )

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        settings.check(self)
        if self.valid + self.test >= 1:
            raise settings.SettingError(
                f"valid {self.valid} and test {self.test} leave nothing to train on"
            )


def splits(
    min_hashes: Sequence[int],
    clusters: np.ndarray,
    settings: SplitSettings,
    earlier: Sequence[str | None] | None = None,
) -> list[str]:
    """Draw the split of each song.

    Args:
        min_hashes: of the songs' fingerprints.
        clusters: shape (songs,), the number of each song's cluster.
        settings: shares and salt.
        earlier: the split of each song in an earlier dataset, None for new songs.

    Returns:
        `train`, `valid` or `test` for each song, the same for a whole cluster. A cluster with
        songs of the earlier dataset keeps their split. Where they disagree, because clusters have
        merged, train wins over valid over test: training songs are never held out.
    """
    smallest: dict[int, int] = {}
    kept: dict[int, set[str]] = {}
    before = earlier or [None] * len(min_hashes)
    for min_hash, cluster, split in zip(min_hashes, clusters.tolist(), before, strict=True):
        smallest[cluster] = min(min_hash, smallest.get(cluster, min_hash))
        if split is not None:
            kept.setdefault(cluster, set()).add(split)
    drawn = {
        cluster: next((name for name in SPLITS if name in kept.get(cluster, ())), None)
        or draw(f"{min_hash:016x}", settings)
        for cluster, min_hash in smallest.items()
    }
    return [drawn[cluster] for cluster in clusters.tolist()]


def earlier_splits(path: str, md5s: Sequence[str]) -> list[str | None]:
    """Look up, by checksum, the split that each file's song has in an earlier dataset.

    Raises:
        LakhxlError: there is no such dataset.
    """
    index = open_dataset(path).index
    known = dict(zip(index["md5"].to_pylist(), index["split"].to_pylist(), strict=True))
    return [known.get(md5) for md5 in md5s]


def draw(key: str, settings: SplitSettings) -> str:
    """Draw the split that belongs to a key."""
    share = keyed_fraction(settings.split_salt, key)
    if share < settings.test:
        return "test"
    return "valid" if share < settings.test + settings.valid else "train"


def keyed_fraction(salt: str, key: str) -> float:
    """Hash salt and key to a number in [0, 1), uniformly distributed over keys."""
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
