"""Does a held-out song stand in another split too? Measured from the tokens, by other evidence.

Clusters come from fingerprints of the files: melodies, and the top line with the rhythm. What these
cannot see, they cannot see here either; so the audit looks for songs by another kind of evidence,
the bass line by its pitches alone. It knows neither meter, tempo nor rhythm, so another notation
does not hide a song from it. Different songs over one bass pattern are told from duplicates by
their top lines, also by pitches alone.

Conventions
    bass line   the notes, drums left out, below which nothing sounds when they start
    n-gram      six notes of a line: a note and any five of the next six, by their intervals
    leak        a pair of songs in different splits of which one has MIN_SHARE of its bass line's
                n-grams, and MIN_TOP_SHARE of its top line's, in the other, and the other at least
                MIN_SHARE_BACK of the bass line's in it (long songs hold many n-grams of any song);
                or with the same tokens; or of one cluster, or with the same bytes
    split by file  for comparison: each file drawn by itself instead of by cluster, same shares
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from pipeline.duplicates.fingerprint import music_hash
from pipeline.duplicates.lines import lines
from pipeline.duplicates.ngrams import pitch_ngrams
from pipeline.duplicates.splits import SplitSettings, draw, keyed_fraction
from pipeline.midi import NOTE_DTYPE
from shards import settings
from shards.codec import EncodedSong
from shards.errors import ShardError
from shards.reader import Dataset
from shards.song import Song
from shards.vocabulary import PROGRAMS

SAMPLE = 1000
"""So many held-out songs are compared; of a leak of 1 % they would hold nine."""
COMMON_SONGS, COMMON_ONE_IN = 8, 64
"""N-grams of more songs of the sample, of more than both, are left out: they identify none."""
MIN_NGRAMS = 128
"""Songs with fewer are not compared: a bass on one note has few."""
MIN_SHARE, MIN_TOP_SHARE, MIN_SHARE_BACK = 0.5, 0.25, 0.1
"""In a composed corpus 24 pairs have 0.5 to 0.9 of the bass line, and at most 0.03 of the top."""
RECALL = 0.93
"""Least share of edited songs that the evidence sees, of any edit but a fifth of the notes cut:
benchmarks/correctness/duplicates-results.md."""
INDEX_BITS = 18
INDEXED = np.arange(1 << INDEX_BITS, dtype=np.uint64) << np.uint64(64 - INDEX_BITS)
LARGEST = 10


class Leak(NamedTuple):
    """Two songs in different splits, and what they have in common, as "0.61 of the bass line"."""

    one: int
    other: int
    common: str


@dataclass(frozen=True)
class Audit:
    """Duplicates and leaks of a dataset.

    Attributes:
        songs, clusters: how many.
        largest: (number, songs, path of the first representative) of the largest clusters.
        duplicates: number of songs by kind of duplicate, the commonest kind first.
        leaks: of any kind.
        held_out, compared: songs in valid and test, and those of them whose bass lines were
            compared with all songs of other splits.
        leaked_by_file: see `leaked_by_file`.
    """

    songs: int
    clusters: int
    largest: list[tuple[int, int, str]]
    duplicates: dict[str, int]
    leaks: list[Leak]
    held_out: int
    compared: int
    leaked_by_file: float

    def chance(self, leaking: float) -> float:
        """The chance to have seen a leak, if this share of the held-out songs were leaking."""
        return 1 - (1 - RECALL * leaking) ** self.compared


def audit(dataset: Dataset, advance: Callable[[int], object] = lambda songs: None) -> Audit:
    """Measure duplicates and leaks; calls `advance(1)` after each song."""
    index = dataset.index
    cluster = index["cluster"].to_numpy()
    sizes = np.bincount(cluster)
    representative = np.flatnonzero(index["representative"].to_numpy())[::-1]
    paths = {int(cluster[song]): index["path"][int(song)].as_py() for song in representative}
    largest = np.argsort(-sizes, kind="stable")[:LARGEST]
    kinds = Counter(kind for kind in index["duplicate"].to_pylist() if kind)
    split = np.array(index["split"].to_pylist())
    sample = _sample(dataset, split)
    found = [*_divided(cluster.tolist(), split, "one cluster")]
    found += _divided(index["md5"].to_pylist(), split, "the same bytes")
    found += _leaks_by_tokens(dataset, split, sample, advance)
    return Audit(
        songs=len(dataset),
        clusters=len(sizes),
        largest=[(int(n), int(sizes[n]), paths[int(n)]) for n in largest if sizes[n] > 1],
        duplicates=dict(kinds.most_common()),
        leaks=sorted(found),
        held_out=int((split != "train").sum()),
        compared=len(sample.songs),
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


def _divided(keys: Sequence[Any], split: np.ndarray, common: str) -> Iterator[Leak]:
    """Songs with one key in different splits, each with the first song of that key."""
    first: dict[Any, int] = {}
    for song, key in enumerate(keys):
        before = first.setdefault(key, song)
        if split[before] != split[song]:
            yield Leak(before, song, common)


class Sample(NamedTuple):
    """Held-out songs and their n-grams, without those of more than one song in COMMON_ONE_IN.

    Attributes:
        songs: shape (sampled,), their numbers.
        sizes: shape (sampled,), how many n-grams each has.
        known, owner: n-grams, ascending, and whose each is, 0 to sampled - 1.
        begin: where in `known` each value of the highest INDEX_BITS begins, and the end.
    """

    songs: np.ndarray
    sizes: np.ndarray
    known: np.ndarray
    owner: np.ndarray
    begin: np.ndarray


def _sample(dataset: Dataset, split: np.ndarray) -> Sample:
    """Draw held-out songs by their checksums; those with enough n-grams."""
    md5s = dataset.index["md5"].to_pylist()
    held_out = np.flatnonzero(split != "train").tolist()
    drawn = np.array(
        sorted(held_out, key=lambda song: keyed_fraction("audit", md5s[song]))[:SAMPLE], np.int64
    )
    ngrams = [bass_ngrams(_decode(dataset, song, dataset.song(song))) for song in drawn.tolist()]
    known = np.concatenate([*ngrams, np.zeros(0, np.uint64)])
    owner = np.repeat(np.arange(len(drawn)), [len(found) for found in ngrams])
    _, which, songs_with = np.unique(known, return_inverse=True, return_counts=True)
    telling = songs_with[which] <= max(COMMON_SONGS, len(drawn) // COMMON_ONE_IN)
    sizes = np.bincount(owner[telling], minlength=len(drawn))
    enough = sizes >= MIN_NGRAMS
    telling &= enough[owner]
    order = np.flatnonzero(telling)[np.argsort(known[telling], kind="stable")]
    known, owner = known[order], (np.cumsum(enough) - 1)[owner[order]]
    begin = np.append(np.searchsorted(known, INDEXED), len(known))
    return Sample(drawn[enough], sizes[enough], known, owner, begin)


def _leaks_by_tokens(
    dataset: Dataset, split: np.ndarray, sample: Sample, advance: Callable[[int], object]
) -> Iterator[Leak]:
    """Leaks by the same tokens, of any song, and by the bass line, of the sample."""
    first: dict[str, int] = {}
    for song in range(len(dataset)):
        encoded = dataset.song(song)
        before = first.setdefault(music_hash(encoded), song)
        if split[before] != split[song]:
            yield Leak(before, song, "the same tokens")
        decoded = _decode(dataset, song, encoded)
        ngrams = bass_ngrams(decoded)
        shared = count_shared(ngrams, sample.known, sample.owner, sample.begin, len(sample.songs))
        leaking = (shared >= MIN_SHARE * sample.sizes) & (shared >= MIN_SHARE_BACK * len(ngrams))
        for n in np.flatnonzero(leaking & (split[sample.songs] != split[song])).tolist():
            one = int(sample.songs[n])
            if top_share(_decode(dataset, one, dataset.song(one)), decoded) >= MIN_TOP_SHARE:
                yield Leak(one, song, f"{shared[n] / sample.sizes[n]:.2f} of the bass line")
        advance(1)


def _decode(dataset: Dataset, number: int, encoded: EncodedSong) -> Song:
    """Decode a song; unlike `decode_song`, without encoding it again, which takes as long."""
    try:
        return dataset.codec.decode(encoded)
    except ValueError as error:
        raise ShardError(
            f"{dataset.path}: song {number} is damaged ({error}): make it again"
        ) from error


def bass_ngrams(song: Song) -> np.ndarray:
    """Hash the distinct n-grams of a song's bass line."""
    return _line_ngrams(song, 127 - song.notes["pitch"])


def top_share(one: Song, other: Song) -> float:
    """The share of one top line's n-grams that another has."""
    ngrams, others = (_line_ngrams(song, song.notes["pitch"]) for song in (one, other))
    return len(np.intersect1d(ngrams, others, assume_unique=True)) / max(len(ngrams), 1)


def _line_ngrams(song: Song, pitch: np.ndarray) -> np.ndarray:
    """Hash the distinct n-grams of the line of those notes above which no pitch sounds."""
    notes = np.zeros(len(song.notes), NOTE_DTYPE)
    notes["start"], notes["pitch"] = song.notes["start"], pitch
    notes["end"] = song.notes["start"] + song.notes["duration"]
    notes["is_drum"] = song.notes["instrument"] >= PROGRAMS
    top_line = lines(notes)[-1]
    ngrams = np.sort(pitch_ngrams(top_line[1]))  # np.unique takes four times as long
    return ngrams[np.append(True, ngrams[1:] != ngrams[:-1])[: len(ngrams)]]


@njit(cache=True)
def count_shared(ngrams, known, owner, begin, owners):
    """Count, for each owner of known n-grams, how many of these are among the n-grams.

    Args:
        ngrams: distinct.
        known, owner: n-grams, ascending, and whose each is.
        begin: shape (2 ** INDEX_BITS + 1,), where in `known` each value of the highest bits begins.
        owners: how many there are.
    """
    shared = np.zeros(owners, np.int64)
    for ngram in ngrams:
        high = ngram >> np.uint64(64 - INDEX_BITS)
        for at in range(begin[high], begin[high + np.uint64(1)]):
            if known[at] == ngram:
                shared[owner[at]] += 1
    return shared
