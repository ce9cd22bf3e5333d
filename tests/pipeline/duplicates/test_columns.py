"""Which songs represent their cluster, and how each duplicate is known: by stated rules."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.duplicates.columns import duplicate_kinds
from pipeline.duplicates.representatives import representatives
from pipeline.duplicates.signature import BINS, KINDS, SIGNATURE
from pipeline.duplicates.stored import numbers


def table(*rows):
    names = ("unaligned", "tier", "notes")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


def chosen(songs, cluster, hashes=None, same=None, cover_similarity=0.4):
    """The representatives, with the given hashes per kind; by default all songs are copies."""
    stored = np.zeros(len(cluster), SIGNATURE)
    columns = {}
    for kind in KINDS:
        stored["hashes"] = 0 if hashes is None else hashes[kind]
        rows = [one.tobytes() for one in stored]
        columns[kind] = pa.array(rows, pa.binary(SIGNATURE.itemsize))
    same = np.arange(len(cluster)) if same is None else np.array(same)
    cluster, tables = np.array(cluster), lambda: [pa.table(columns)]
    return representatives(songs, tables, cluster, same, cover_similarity).tolist()


@pytest.mark.parametrize(
    ("best", "other"),
    [
        ((False, "salvage", 100), (True, "strict", 900)),
        ((False, "strict", 100), (False, "tolerant", 900)),
        ((False, "strict", 101), (False, "strict", 100)),
        ((True, "salvage", 101), (True, "tolerant", 100)),
    ],
)
def test_the_better_song_represents_its_cluster(best, other):
    assert chosen(table(best, other), [0, 0]) == [True, False]
    assert chosen(table(other, best), [0, 0]) == [False, True]


def test_each_cluster_of_copies_has_one_representative_the_first_of_equals():
    cluster = np.random.default_rng(0).integers(0, 30, 200).astype(np.int32)
    found = np.flatnonzero(chosen(table(*[(False, "strict", 9)] * 200), cluster))
    first = {int(number): song for song, number in reversed([*enumerate(cluster)])}
    assert sorted(first.values()) == found.tolist()


def agreeing(*bins: int) -> np.ndarray:
    """Hashes of songs, each of which agrees with the first in so many bins, with others in none."""
    hashes = np.arange(len(bins))[:, None] * BINS + np.arange(BINS)
    return np.where(np.arange(BINS) < np.array(bins)[:, None], 0, hashes)


FOUR = table(*[(False, "strict", 9 - n) for n in range(4)])


def test_songs_that_agree_too_little_with_those_chosen_are_covers():
    hashes = {"melodies": agreeing(BINS, 102, 103, 100), "top_line": agreeing(BINS, 0, 0, 0)}
    assert chosen(FOUR, [0] * 4, hashes) == [True, True, False, True]
    hashes["melodies"][3] = hashes["melodies"][1]
    assert chosen(FOUR, [0] * 4, hashes) == [True, True, False, False]
    assert chosen(FOUR, [0, 1, 0, 2], hashes) == [True, True, False, True]
    assert chosen(FOUR, [0] * 4, hashes, cover_similarity=0.0) == [True, False, False, False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_by_one_kind_of_signature_is_no_cover(kind):
    hashes = {other: agreeing(BINS, 0, 0, 0) for other in KINDS}
    hashes[kind] = agreeing(BINS, 200, 0, 0)
    assert chosen(FOUR, [0, 0, 1, 1], hashes) == [True, False, True, True]


def test_songs_known_to_be_the_same_are_no_covers_whatever_their_signatures():
    hashes = dict.fromkeys(KINDS, agreeing(BINS, 0, 0, 0))
    assert chosen(FOUR, [0, 0, 0, 0], hashes, same=[0, 0, 1, 0]) == [True, False, True, False]


def test_the_strongest_evidence_names_the_kind_of_duplicate():
    md5s = ["a", "a", "b", "c", "d", "e", "d"]
    music = ["x", "x", "x", "y", "z", "w", "z"]
    by_sound = [0, 0, 0, 0, 1, 2, 1]
    listed = [0, 0, 0, 0, 1, 1, 1]
    kinds = [None, "identical_file", "identical_music", "near_duplicate", None, "listed"]
    evidence = [pa.chunked_array([keys]) for keys in (md5s, music)]
    keys = *map(numbers, evidence), np.array(by_sound), np.array(listed)
    assert duplicate_kinds(*keys).to_pylist() == [*kinds, "identical_file"]
