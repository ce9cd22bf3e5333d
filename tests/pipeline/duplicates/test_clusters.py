"""Near-duplicates share a cluster, different songs do not."""

import numpy as np
import pytest

from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.fingerprint import BINS, music_hash
from pipeline.duplicates.settings import DuplicateSettings
from shards.codec import Codec
from shards.vocabulary import Vocabulary
from tests.pipeline.duplicates.melodies import EDITS, melody, signature

CODEC = Codec(Vocabulary())


def signatures_sharing(bins: dict[tuple[int, ...], int], songs: int) -> np.ndarray:
    """Random signatures, except that groups of songs agree in so many bins of their own."""
    matrix = np.random.default_rng(0).integers(0, 1 << 16, (songs, BINS)).astype(np.uint16)
    begin = 0
    for group, shared in bins.items():
        matrix[list(group), begin : begin + shared] = 7
        begin += shared
    return matrix


def cluster_of(matrix: np.ndarray, music=None, **settings) -> list[int]:
    names = [str(number) for number in range(len(matrix))]
    return clusters(names, music or names, list(matrix), DuplicateSettings(**settings)).tolist()


COMMON = tuple(range(20))
"""More songs than may have a rare n-gram."""


def test_ngrams_of_many_songs_make_no_duplicates():
    assert cluster_of(signatures_sharing({COMMON: 100}, 40)) == [*range(40)]


@pytest.mark.parametrize(("rare", "joined"), [(15, False), (25, True)])
def test_duplicates_share_rare_ngrams(rare, joined):
    found = cluster_of(signatures_sharing({COMMON: 60, (3, 4): rare}, 40))
    assert (found[3] == found[4]) is joined
    assert len(set(found)) == 40 - joined


def test_exact_duplicates_of_a_song_make_its_ngrams_no_commoner():
    matrix, music = signatures_sharing({COMMON: 60}, 40), [str(n) for n in range(40)]
    matrix[1:19] = matrix[0]
    music[:19] = ["one song"] * 19
    found = cluster_of(matrix, music)
    assert found[:20] == [0] * 20  # the last of them a near-duplicate
    assert len(set(found)) == 21


@pytest.mark.parametrize(("similarity", "joined"), [(0.25, True), (0.32, False)])
def test_signatures_may_fall_short_by_the_margin_but_no_more(similarity, joined):
    matrix = signatures_sharing({(0, 1): int(0.22 * BINS)}, 9)
    found = cluster_of(matrix, similarity=similarity)
    assert (found[0] == found[1]) is joined


def test_a_similarity_above_one_compares_exact_music_alone():
    matrix = np.repeat(signatures_sharing({}, 1), 3, axis=0)
    assert cluster_of(matrix, ["a", "b", "a"], similarity=1.01) == [0, 1, 0]
    assert cluster_of(matrix, ["a", "b", "a"], similarity=1.0) == [0, 0, 0]


def test_the_users_list_joins_what_it_names():
    songs = [melody(1), melody(2), melody(3)]
    signatures, music = [signature(song) for song in songs], ["x", "y", "z"]
    found = clusters(["a", "b", "c"], music, signatures, DuplicateSettings(), [[0, 2]])
    assert found.tolist() == [0, 1, 0]


def test_duplicates_of_any_kind_share_a_cluster_and_others_do_not():
    songs = [melody(1), melody(2), EDITS["transposed"](melody(1)), melody(2), melody(3)]
    md5s = ["a", "b", "c", "b", "d"]
    music = [music_hash(CODEC.encode(song)) for song in songs]
    found = clusters(md5s, music, [signature(song) for song in songs], DuplicateSettings())
    assert found.tolist() == [0, 1, 0, 1, 2]
