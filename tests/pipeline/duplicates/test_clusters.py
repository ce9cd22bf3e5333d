"""Near-duplicates share a cluster, different songs do not."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from pipeline.duplicates.clusters import RULES, Signatures, clusters, joined
from pipeline.duplicates.columns import signatures
from pipeline.duplicates.fingerprint import music_hash
from pipeline.duplicates.pairs import find_rare
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.signature import BINS, KINDS, LAST_PLACE, SIGNATURE
from pipeline.duplicates.stored import numbers
from pipeline.running.fragments import INDEX_FRAGMENT_SCHEMA
from shards.codec import Codec
from shards.song import Song
from shards.vocabulary import Vocabulary
from tests.pipeline.duplicates.melodies import EDITS, NOTATIONS, melody, stored

CODEC = Codec(Vocabulary())
PLACES = np.random.default_rng(1).integers(0, LAST_PLACE, BINS).astype(np.uint16)


def hashes_sharing(bins: dict[tuple[int, ...], int], songs: int) -> np.ndarray:
    """Random hashes, except that groups of songs agree in so many bins of their own."""
    matrix = np.random.default_rng(0).integers(0, 1 << 16, (songs, BINS)).astype(np.uint16)
    begin = 0
    for group, shared in bins.items():
        matrix[list(group), begin : begin + shared] = 7
        begin += shared
    return matrix


def exact_numbers(*names: list[str]) -> list[np.ndarray]:
    return [numbers(pa.chunked_array([each])) for each in names]


def cluster_of(
    hashes: np.ndarray, music=None, places=None, kind="melodies", **settings
) -> list[int]:
    names = [str(number) for number in range(len(hashes))]
    places = np.tile(PLACES, (len(hashes), 1)) if places is None else places
    found = Signatures(np.arange(len(hashes)), hashes, places, RULES[kind])
    exact = exact_numbers(names, music or names)
    return clusters(exact, [found], DuplicateSettings(**settings)).tolist()


def cluster_of_songs(songs: Sequence[Song], folder, md5s=None) -> list[int]:
    table = pa.table(
        {
            kind: pa.array([stored(song)[kind] for song in songs], pa.binary(SIGNATURE.itemsize))
            for kind in KINDS
        }
    )
    music = [music_hash(CODEC.encode(song)) for song in songs]
    found = signatures(lambda: [table], len(songs), folder)
    exact = exact_numbers(md5s or [str(number) for number in range(len(songs))], music)
    return clusters(exact, found, DuplicateSettings()).tolist()


COMMON = tuple(range(20))
"""More songs than may have a rare n-gram."""


def test_ngrams_of_many_songs_make_no_duplicates():
    assert cluster_of(hashes_sharing({COMMON: 100}, 40)) == [*range(40)]


@pytest.mark.parametrize(
    ("rare", "kind", "together"),
    [
        (15, "melodies", False),
        (25, "melodies", True),
        (25, "top_line", False),
        (35, "top_line", True),
    ],
)
def test_duplicates_share_rare_ngrams(rare, kind, together):
    found = cluster_of(hashes_sharing({COMMON: 60, (3, 4): rare}, 40), kind=kind)
    assert (found[3] == found[4]) is together
    assert len(set(found)) == 40 - together


def test_a_hash_is_rare_in_a_bin_if_few_counted_songs_have_it_there():
    random = np.random.default_rng(0)
    hashes, counted = random.integers(0, 9, (40, 70), np.uint16), random.random(40) < 0.8
    songs = (hashes[counted][:, :, None] == np.arange(1 << 16)).sum(axis=0)
    assert np.array_equal(find_rare(hashes, counted, 3), songs <= 3)


def test_exact_duplicates_of_a_song_make_its_ngrams_no_commoner():
    matrix, music = hashes_sharing({COMMON: 60}, 40), [str(n) for n in range(40)]
    matrix[1:19] = matrix[0]
    music[:19] = ["one song"] * 19
    found = cluster_of(matrix, music)
    assert found[:20] == [0] * 20  # the last of them a near-duplicate
    assert len(set(found)) == 21


@pytest.mark.parametrize(("similarity", "together"), [(0.25, True), (0.32, False)])
def test_signatures_may_fall_short_by_the_margin_but_no_more(similarity, together):
    matrix = hashes_sharing({(0, 1): int(0.22 * BINS)}, 9)
    found = cluster_of(matrix, similarity=similarity)
    assert (found[0] == found[1]) is together


def test_a_similarity_above_one_compares_exact_music_alone():
    matrix = np.repeat(hashes_sharing({}, 1), 3, axis=0)
    assert cluster_of(matrix, ["a", "b", "a"], similarity=1.01) == [0, 1, 0]
    assert cluster_of(matrix, ["a", "b", "a"], similarity=1.0) == [0, 0, 0]


def with_gap(places: np.ndarray) -> np.ndarray:
    """What starts in the second half starts later, as after a verse more."""
    return np.where(places > LAST_PLACE // 2, places * 0.7 + 0.3 * LAST_PLACE, places * 0.7)


@pytest.mark.parametrize(
    ("moved", "together"),
    [
        (lambda places: places, True),
        (lambda places: places * 0.75, True),
        (with_gap, True),
        (lambda places: np.where(np.arange(BINS) % 3 > 0, places * 0.6, places[::-1]), True),
        (lambda places: (places / LAST_PLACE) ** 2 * LAST_PLACE, True),
        (lambda places: places[::-1], False),
        (lambda places: LAST_PLACE - places, False),
        (lambda places: np.zeros(BINS), False),
    ],
    ids=["same", "shorter", "gap", "some first occurrences missing", "drifting", "random",
         "backwards", "one pattern all over"],
)  # fmt: skip
def test_duplicates_share_what_they_share_in_one_order(moved, together):
    hashes = hashes_sharing({(0, 1): 100}, 9)
    places = np.tile(PLACES, (9, 1))
    places[1] = moved(PLACES.astype(float))
    found = cluster_of(hashes, places=places)
    assert (found[0] == found[1]) is together


def test_listed_groups_join_clusters():
    assert joined(np.array([0, 1, 0, 2, 3]), []).tolist() == [0, 1, 0, 2, 3]
    assert joined(np.array([0, 1, 0, 2, 3]), [[1, 4], [2, 3]]).tolist() == [0, 1, 0, 0, 1]


def test_duplicates_of_any_kind_share_a_cluster_and_others_do_not(tmp_path):
    songs = [melody(1), melody(2), EDITS["transposed"](melody(1)), melody(2), melody(3)]
    assert cluster_of_songs(songs, tmp_path, ["a", "b", "c", "b", "d"]) == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_a_song_in_another_notation_shares_its_cluster(notation, tmp_path):
    songs = [melody(1), melody(2), NOTATIONS[notation](melody(1))]
    assert cluster_of_songs(songs, tmp_path) == [0, 1, 0]


def test_signatures_are_read_from_any_chunks_and_missing_ones_left_out(tmp_path):
    random = np.random.default_rng(0)
    rows = [random.bytes(SIGNATURE.itemsize) if n % 3 else None for n in range(20)]
    kind = pa.binary(SIGNATURE.itemsize)
    whole = pa.table({name: pa.array(rows, kind) for name in KINDS})
    cut = [pa.concat_tables([whole.slice(0, 3), whole.slice(3, 6)]), whole.slice(9)]
    for tables in ([whole], cut):
        for found in signatures(lambda tables=tables: tables, 20, tmp_path):
            assert found.songs.tolist() == [n for n in range(20) if n % 3]
            places = found.places[np.arange(13)]
            for song, *both in zip(found.songs, found.hashes, places, strict=True):
                assert b"".join(array.tobytes() for array in both) == rows[song]
            assert (found.places[np.array([7, 2, 7])] == places[[7, 2, 7]]).all()


def test_stored_signatures_need_no_offsets():
    """32-bit offsets of lists ended at 8,388,608 songs."""
    assert all(pa.types.is_fixed_size_binary(INDEX_FRAGMENT_SCHEMA.field(k).type) for k in KINDS)
