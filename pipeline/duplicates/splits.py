"""Train, valid and test, drawn by cluster: no duplicate of a training song is ever held out.

The draw is a salted hash of the cluster's min-hash, the smallest hash of any melodic n-gram of its
songs. It depends on the music alone, not on the number, order, names or bytes of the files. A song
that joins a cluster can move it to another split only if it brings a smaller hash; one with a share
n of new n-grams does so with a probability of about n. `keep_splits` prevents it.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards import open_dataset, settings
from shards.layout import SPLITS
from shards.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class SplitSettings(Settings):
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
        super().__post_init__()
        if self.valid + self.test >= 1:
            raise settings.SettingError(
                f"valid {self.valid} and test {self.test} leave nothing to train on"
            )


def splits(
    min_hashes: np.ndarray,
    clusters: np.ndarray,
    settings: SplitSettings,
    earlier: np.ndarray | None = None,
) -> np.ndarray:
    """Draw the split of each song.

    Args:
        min_hashes: shape (songs,), uint64, of the songs' fingerprints.
        clusters: shape (songs,), the number of each song's cluster, from 0.
        settings: shares and salt.
        earlier: shape (songs,), the split of each song in an earlier dataset, a position in SPLITS;
            len(SPLITS) for new songs.

    Returns:
        shape (songs,), positions in SPLITS, the same for a whole cluster. A cluster with songs of
        the earlier dataset keeps their split. Where they disagree, because clusters have merged,
        train wins over valid over test: training songs are never held out.
    """
    count = int(clusters.max(initial=-1)) + 1
    smallest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, clusters, min_hashes)
    drawn = np.full(count, len(SPLITS))
    if earlier is not None:
        np.minimum.at(drawn, clusters, earlier)
    for cluster in np.flatnonzero(drawn == len(SPLITS)):
        drawn[cluster] = SPLITS.index(draw(f"{int(smallest[cluster]):016x}", settings))
    return drawn[clusters]


def earlier_splits(path: str, md5s: pa.ChunkedArray) -> np.ndarray:
    """Look up, by checksum, the split that each file's song has in an earlier dataset.

    Returns:
        shape (songs,), a position in SPLITS; len(SPLITS) where it is not there.

    Raises:
        LakhxlError: there is no such dataset.
    """
    index = open_dataset(path).index
    positions = pc.index_in(index["split"], pa.array(SPLITS)).combine_chunks()
    row = pc.index_in(md5s, index["md5"].combine_chunks())
    return positions.take(row.combine_chunks()).fill_null(len(SPLITS)).to_numpy()


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
