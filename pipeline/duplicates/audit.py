"""Is anything held out that was trained on? Measured anew from the tokens.

The clusters of a dataset come from fingerprints of its files. The audit does not trust them: it
decodes the songs, takes their melodic figures by instrument, looks up which songs share figures
across splits, and compares the sets of those that share many, all of each.

Conventions
    leak      a pair of songs that lie in different splits and are copies: the same tokens, or
              figures whose Jaccard similarity is at least the dataset's `similarity`, enough of
              them telling, as in `pipeline.duplicates.clusters`
    by file   what a split drawn by file would have done: each file for itself, same shares
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import Any

import numpy as np

from pipeline.duplicates.clusters import FEW, ONE_IN, TELLING
from pipeline.duplicates.fingerprint import FEWEST_FIGURES, melodic_figures
from pipeline.duplicates.splits import SplitSettings, draw
from shards.reader import Dataset
from shards.vocabulary import PROGRAMS

SAMPLED = 32
"""One figure in so many is looked up; a pair of similarity 0.2 still shares dozens."""
MOST_SONGS = 64
"""A figure that more songs have says nothing of any."""
BIGGEST = 10


def audit(
    dataset: Dataset, advance: Callable[[int], object] = lambda songs: None
) -> dict[str, Any]:
    """Measure duplicates and leakage.

    Returns:
        songs, clusters; biggest: (number, songs, path of the representative) of the largest clusters;
        copies: songs by how they are known to repeat another; leaks: (song, song, similarity);
        by_file: share of the songs that a split by file would have held out although a copy
        was trained on.
    """
    index = dataset.index
    cluster = index["cluster"].to_numpy()
    sizes = np.bincount(cluster)
    representative = np.flatnonzero(index["representative"].to_numpy())
    names = {int(cluster[song]): index["path"][int(song)].as_py() for song in representative}
    largest = np.argsort(-sizes, kind="stable")[:BIGGEST]
    copies = Counter(kind for kind in index["duplicate"].to_pylist() if kind)
    return {
        "songs": len(dataset),
        "clusters": len(sizes),
        "biggest": [(int(n), int(sizes[n]), names[int(n)]) for n in largest if sizes[n] > 1],
        "copies": dict(copies.most_common()),
        "leaks": leaks(dataset, advance),
        "by_file": leaked_by_file(dataset),
    }


def leaked_by_file(dataset: Dataset) -> float:
    """Share of the held-out songs of a split by file that have a copy in its training part."""
    settings = SplitSettings(**dataset.manifest["settings"]["split"])
    md5s, cluster = dataset.index["md5"].to_pylist(), dataset.index["cluster"].to_numpy()
    paths = dataset.index["path"].to_pylist()
    names = [f"{path}:{md5}" for path, md5 in zip(paths, md5s, strict=True)]
    trained = np.array([draw(name, settings) == "train" for name in names], bool)
    held = ~trained
    return float(np.isin(cluster[held], cluster[trained]).mean()) if held.any() else 0.0


def leaks(
    dataset: Dataset, advance: Callable[[int], object] = lambda songs: None
) -> list[tuple[int, int, float]]:
    """Pairs of copies in different splits: (song, song, similarity)."""
    split = np.unique(dataset.index["split"].to_numpy(), return_inverse=True)[1]
    sampled = []
    for song in range(len(dataset)):
        figures = figures_of(dataset, song)
        sampled.append(figures[figures % SAMPLED == 0])
        advance(1)
    least = dataset.manifest["settings"]["duplicates"]["similarity"]
    counts = np.array([len(one) for one in sampled])
    alike: dict[tuple[int, int], float] = {}
    for (one, other), shared in _shared(sampled, split).items():
        if shared >= least / 2 * min(counts[one], counts[other]):
            found = jaccard(figures_of(dataset, one), figures_of(dataset, other))
            if found >= least:
                alike[one, other] = found
    told = _tell(dataset, alike) if alike else {}
    leaks = {pair: found for pair, found in alike.items() if told[pair] >= TELLING}
    leaks |= dict(_same_tokens(dataset, split))
    return [(*pair, found) for pair, found in sorted(leaks.items())]


def _tell(dataset: Dataset, pairs: Collection[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """The share of each pair's figures that they have in common, and few other songs have."""
    figures = {song: figures_of(dataset, song) for song in sorted({*chain(*pairs)})}
    common = {
        (one, other): np.intersect1d(figures[one], figures[other], assume_unique=True)
        for one, other in pairs
    }
    known = np.unique(np.concatenate([*common.values()]))
    songs_with = np.zeros(len(known), np.int64)
    exact = ("identical_file", "identical_music")
    counted = [
        n for n, copy in enumerate(dataset.index["duplicate"].to_pylist()) if copy not in exact
    ]
    for song in counted:
        songs_with += np.isin(known, figures_of(dataset, song), assume_unique=True)
    few = max(FEW, len(counted) // ONE_IN)
    shares = {}
    for (one, other), shared in common.items():
        telling = np.count_nonzero(songs_with[np.searchsorted(known, shared)] <= few)
        shares[one, other] = telling / (len(figures[one]) + len(figures[other]) - len(shared))
    return shares


def figures_of(dataset: Dataset, song: int) -> np.ndarray:
    """The distinct melodic figures of a song as its tokens say it, ascending; too few: none."""
    decoded = dataset.codec.decode(dataset.song(song))
    notes = decoded.notes
    figures = np.unique(
        melodic_figures(
            notes["start"].copy(),
            np.minimum(notes["instrument"], PROGRAMS - 1),
            notes["pitch"].copy(),
            notes["instrument"] >= PROGRAMS,
            decoded.steps_per_beat,
        )
    )
    return figures if len(figures) >= FEWEST_FIGURES else figures[:0]


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Shared figures of all figures of two songs."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(len(one) + len(other) - shared, 1)


def _same_tokens(dataset: Dataset, split: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    """Pairs in different splits whose tokens and instruments are the same."""
    first: dict[bytes, int] = {}
    for song in range(len(dataset)):
        encoded = dataset.song(song)
        before = first.setdefault(encoded.tokens.tobytes() + encoded.instruments.tobytes(), song)
        if split[before] != split[song]:
            yield (before, song), 1.0


def _shared(sampled: list[np.ndarray], split: np.ndarray) -> Counter[tuple[int, int]]:
    """How many looked-up figures each two songs of different splits share; none: left out."""
    songs = np.repeat(np.arange(len(sampled)), [len(one) for one in sampled])
    figures = np.concatenate([*sampled, np.zeros(0, np.uint64)])
    order = np.argsort(figures, kind="stable")
    figures, songs = figures[order], songs[order]
    bounds = np.flatnonzero(np.concatenate([[True], figures[1:] != figures[:-1], [True]]))
    pairs: Counter[tuple[int, int]] = Counter()
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        group = songs[begin:end]
        if not 1 < len(group) <= MOST_SONGS or (split[group] == split[group[0]]).all():
            continue
        members = group.tolist()
        for n, one in enumerate(members):
            for other in members[n + 1 :]:
                if split[one] != split[other]:
                    pairs[one, other] += 1
    return pairs
