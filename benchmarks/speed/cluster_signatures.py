"""Clusters of ten million signatures: the part of a run's end that takes the most memory and time.

Signatures are random; a few repeat the one before them with a twentieth of the bins drawn anew.
"""

import resource
import time

import click
import numpy as np

from benchmarks.arguments import Measurement
from pipeline.duplicates.clusters import RULES, Signatures, clusters
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.signature import BINS

AT_ONCE = 1 << 16


class EqualPlaces:
    """Places in the same order in all songs, so that no pair is told apart by them."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.arange(BINS, dtype=np.uint16) * 255, (len(rows), BINS))


def random_hashes(songs: int, repeated: float) -> tuple[np.ndarray, int]:
    """Hashes of signatures, shape (songs, BINS), and how many of them repeat another."""
    random = np.random.default_rng(0)
    hashes, repeats = np.empty((songs, BINS), np.uint16), 0
    for first in range(0, songs, AT_ONCE):
        part = hashes[first : first + AT_ONCE]
        part[:] = random.integers(0, 1 << 16, part.shape, np.uint16)
        rows = 1 + np.flatnonzero(random.random(len(part) - 1) < repeated)
        kept = random.random((len(rows), BINS)) >= 0.05
        part[rows] = np.where(kept, part[rows - 1], part[rows])
        repeats += len(rows)
    return hashes, repeats


@click.command(cls=Measurement)
@click.option("--songs", default=10_000_000, show_default=True)
@click.option("--bands", default=4, show_default=True, help="Of 128 that a run looks at.")
@click.option("--repeated", default=0.03, show_default=True, help="Share of near-duplicates.")
def command(songs: int, bands: int, repeated: float) -> None:
    """Cluster random signatures of one kind; 6 GB of memory for ten million."""
    hashes, repeats = random_hashes(songs, repeated)
    rule = RULES["melodies"]._replace(bands=bands)
    numbers = np.arange(songs)
    began = time.process_time()
    found = clusters(
        [numbers], [Signatures(numbers, hashes, EqualPlaces(), rule)], DuplicateSettings()
    )
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    joined = songs - int(found.max()) - 1
    print(f"{songs:,} signatures, {repeats:,} of them near-duplicates: {joined:,} joined by "
          f"{bands} bands in {seconds:.1f} s of processor time, peak {peak:,.0f} MB")  # fmt: skip
