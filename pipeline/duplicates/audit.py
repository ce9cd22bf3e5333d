"""Is any held-out song a duplicate of a training song? Measured from the tokens.

A dataset's clusters come from fingerprints of its files. The audit does not rely on them: it
decodes the songs, computes their melodic n-grams by instrument, looks up which songs share n-grams
across splits, and compares the full sets of those that share many.

Conventions
    leak           a pair of songs in different splits that are duplicates: the same tokens, or
                   n-grams whose Jaccard similarity is at least the dataset's `similarity`, enough
                   of them rare, as in `pipeline.duplicates.clusters`
    split by file  for comparison: each file drawn by itself instead of by cluster, same shares
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np

from pipeline.duplicates.clusters import MIN_RARE_SHARE, rare_limit
from pipeline.duplicates.fingerprint import MIN_NGRAMS, melodic_ngrams
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings, draw
from shards import settings
from shards.reader import Dataset, decode_song
from shards.vocabulary import PROGRAMS

SAMPLED_ONE_IN = 32
"""One n-gram in this many is looked up; a pair of similarity 0.2 still shares dozens."""
MAX_SONGS = 64
"""N-grams in more songs than this are not looked up: they identify none."""
LARGEST = 10


@dataclass(frozen=True)
class Audit:
    """Duplicates and leaks of a dataset.

    Attributes:
        songs, clusters: how many.
        largest: (number, songs, path of the representative) of the largest clusters.
        duplicates: number of songs by kind of duplicate, the commonest kind first.
        leaks: (song, song, similarity).
        leaked_by_file: see `leaked_by_file`.
    """

    songs: int
    clusters: int
    largest: list[tuple[int, int, str]]
    duplicates: dict[str, int]
    leaks: list[tuple[int, int, float]]
    leaked_by_file: float


def audit(dataset: Dataset, advance: Callable[[int], object] = lambda songs: None) -> Audit:
    """Measure duplicates and leaks; calls `advance(1)` after each song."""
    index = dataset.index
    cluster = index["cluster"].to_numpy()
    sizes = np.bincount(cluster)
    representative = np.flatnonzero(index["representative"].to_numpy())
    paths = {int(cluster[song]): index["path"][int(song)].as_py() for song in representative}
    largest = np.argsort(-sizes, kind="stable")[:LARGEST]
    kinds = Counter(kind for kind in index["duplicate"].to_pylist() if kind)
    return Audit(
        songs=len(dataset),
        clusters=len(sizes),
        largest=[(int(n), int(sizes[n]), paths[int(n)]) for n in largest if sizes[n] > 1],
        duplicates=dict(kinds.most_common()),
        leaks=leaks(dataset, advance),
        leaked_by_file=leaked_by_file(dataset),
    )


def leaked_by_file(dataset: Dataset) -> float:
    """Share of the held-out songs of a split by file that have a duplicate in its training part."""
    split = settings.from_json(
        SplitSettings, dataset.manifest["settings"].get("split", {}), where=f"{dataset.path}: split"
    )
    md5s, cluster = dataset.index["md5"].to_pylist(), dataset.index["cluster"].to_numpy()
    paths = dataset.index["path"].to_pylist()
    names = [f"{path}:{md5}" for path, md5 in zip(paths, md5s, strict=True)]
    trained = np.array([draw(name, split) == "train" for name in names], bool)
    held_out = ~trained
    leaked = np.isin(cluster[held_out], cluster[trained])
    return float(leaked.mean()) if len(leaked) else 0.0


def leaks(
    dataset: Dataset, advance: Callable[[int], object] = lambda songs: None
) -> list[tuple[int, int, float]]:
    """Find the pairs of duplicates in different splits: (song, song, similarity)."""
    split = np.unique(dataset.index["split"].to_numpy(), return_inverse=True)[1]
    sampled = []
    for song in range(len(dataset)):
        ngrams = song_ngrams(dataset, song)
        sampled.append(ngrams[ngrams % SAMPLED_ONE_IN == 0])
        advance(1)
    stated = dataset.manifest["settings"].get("duplicates", {})
    where = f"{dataset.path}: duplicates"
    min_similarity = settings.from_json(DuplicateSettings, stated, where=where).similarity
    counts = np.array([len(ngrams) for ngrams in sampled])
    similar: dict[tuple[int, int], float] = {}
    for (one, other), shared in _count_shared(sampled, split).items():
        if shared >= min_similarity / 2 * min(counts[one], counts[other]):
            similarity = jaccard(song_ngrams(dataset, one), song_ngrams(dataset, other))
            if similarity >= min_similarity:
                similar[one, other] = similarity
    rare = _rare_shares(dataset, similar) if similar else {}
    found = {pair: value for pair, value in similar.items() if rare[pair] >= MIN_RARE_SHARE}
    found |= dict(_same_tokens(dataset, split))
    return [(*pair, similarity) for pair, similarity in sorted(found.items())]


def _rare_shares(
    dataset: Dataset, pairs: Collection[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """For each pair, the rare n-grams that both songs have as a share of all that either has."""
    ngrams = {song: song_ngrams(dataset, song) for song in sorted({*chain(*pairs)})}
    common = {
        (one, other): np.intersect1d(ngrams[one], ngrams[other], assume_unique=True)
        for one, other in pairs
    }
    known = np.unique(np.concatenate([*common.values()]))
    songs_with = np.zeros(len(known), np.int64)
    exact = ("identical_file", "identical_music")
    kinds = dataset.index["duplicate"].to_pylist()
    counted = [song for song, kind in enumerate(kinds) if kind not in exact]
    for song in counted:
        songs_with += np.isin(known, song_ngrams(dataset, song), assume_unique=True)
    limit = rare_limit(len(counted))
    shares = {}
    for (one, other), shared in common.items():
        rare = np.count_nonzero(songs_with[np.searchsorted(known, shared)] <= limit)
        shares[one, other] = rare / (len(ngrams[one]) + len(ngrams[other]) - len(shared))
    return shares


def song_ngrams(dataset: Dataset, song: int) -> np.ndarray:
    """Compute the distinct n-grams of a song from its tokens, ascending; none if too few."""
    decoded = decode_song(dataset, song)
    notes = decoded.notes
    ngrams = np.unique(
        melodic_ngrams(
            notes["start"].copy(),
            np.minimum(notes["instrument"], PROGRAMS - 1),
            notes["pitch"].copy(),
            notes["instrument"] >= PROGRAMS,
            decoded.steps_per_beat,
        )
    )
    return ngrams if len(ngrams) >= MIN_NGRAMS else ngrams[:0]


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard similarity of two sets of n-grams."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / max(len(one) + len(other) - shared, 1)


def _same_tokens(dataset: Dataset, split: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    """Pairs in different splits with the same tokens and instruments."""
    first: dict[bytes, int] = {}
    for song in range(len(dataset)):
        encoded = dataset.song(song)
        before = first.setdefault(encoded.tokens.tobytes() + encoded.instruments.tobytes(), song)
        if split[before] != split[song]:
            yield (before, song), 1.0


def _count_shared(sampled: list[np.ndarray], split: np.ndarray) -> Counter[tuple[int, int]]:
    """Count the sampled n-grams shared by songs of different splits; pairs with none left out."""
    songs = np.repeat(np.arange(len(sampled)), [len(ngrams) for ngrams in sampled])
    ngrams = np.concatenate([*sampled, np.zeros(0, np.uint64)])
    order = np.argsort(ngrams, kind="stable")
    ngrams, songs = ngrams[order], songs[order]
    bounds = np.flatnonzero(np.concatenate([[True], ngrams[1:] != ngrams[:-1], [True]]))
    pairs: Counter[tuple[int, int]] = Counter()
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        group = songs[begin:end]
        if not 1 < len(group) <= MAX_SONGS or (split[group] == split[group[0]]).all():
            continue
        for one, other in combinations(group.tolist(), 2):
            if split[one] != split[other]:
                pairs[one, other] += 1
    return pairs
