"""Which song represents its cluster, and how each duplicate is known: by stated rules."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.duplicates.columns import duplicate_kinds, representatives


def table(*rows):
    names = ("unaligned", "tier", "notes")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])


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
    both = np.zeros(2, np.int32)
    assert representatives(table(best, other), both).tolist() == [True, False]
    assert representatives(table(other, best), both).tolist() == [False, True]


def test_each_cluster_has_one_representative_the_first_of_equals():
    cluster = np.random.default_rng(0).integers(0, 30, 200).astype(np.int32)
    chosen = np.flatnonzero(representatives(table(*[(False, "strict", 9)] * 200), cluster))
    first = {int(number): song for song, number in reversed([*enumerate(cluster)])}
    assert sorted(first.values()) == chosen.tolist()


def test_the_strongest_evidence_names_the_kind_of_duplicate():
    md5s = ["a", "a", "b", "c", "d", "e", "d"]
    music = ["x", "x", "x", "y", "z", "w", "z"]
    by_sound = [0, 0, 0, 0, 1, 2, 1]
    listed = [0, 0, 0, 0, 1, 1, 1]
    kinds = [None, "identical_file", "identical_music", "near_duplicate", None, "listed"]
    assert duplicate_kinds(md5s, music, by_sound, listed) == [*kinds, "identical_file"]
