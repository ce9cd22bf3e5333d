"""`pipeline audit` finds held-out songs that are duplicates of training songs."""

import dataclasses
import json
import shutil
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.duplicates.audit import audit, leaked_by_file, leaks, song_ngrams
from pipeline.duplicates.clusters import MIN_RARE_SHARE, RARE_SONGS
from pipeline.duplicates.splits import SplitSettings, draw
from shards import open_dataset
from shards.layout import INDEX, INDEX_SCHEMA, MANIFEST
from shards.render.midi import write_midi
from shards.writer import write_table


@pytest.fixture(scope="module")
def dataset(dataset, build, tmp_path_factory):
    """Eight songs of the demo, each with duplicates that lack notes; the first also copied."""
    folder, random = tmp_path_factory.mktemp("duplicates"), np.random.default_rng(0)
    songs = np.flatnonzero(dataset.index["representative"].to_numpy())[:8].tolist()
    for number in songs:
        song = dataset.codec.decode(dataset.song(number))
        for cut in (0.0, 0.05, 0.1, 0.2, 0.4):
            left = song.notes[random.random(len(song.notes)) >= cut]
            name = folder / f"{number}-{100 * cut:.0f}.mid"
            write_midi(dataclasses.replace(song, notes=left), name, dataset.vocabulary)
    for copy in range(10):
        shutil.copy(folder / f"{songs[0]}-0.mid", folder / f"copy{copy}.mid")
    return build(folder)


@pytest.fixture
def with_splits(dataset, tmp_path):
    """Copies the dataset with other splits."""

    def copy(splits: list[str], name: str = "lakh", similarity: float = 0.2):
        folder = shutil.copytree(dataset.path, tmp_path / name)
        column = INDEX_SCHEMA.get_field_index("split")
        index = dataset.index.set_column(column, INDEX_SCHEMA.field(column), pa.array(splits))
        write_table(folder / INDEX, index)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["settings"]["duplicates"]["similarity"] = similarity
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return open_dataset(folder)

    return copy


@pytest.fixture(scope="module")
def similar(dataset):
    """The similarity of every pair of duplicates, all n-grams of all songs compared."""
    ngrams = [set(song_ngrams(dataset, song).tolist()) for song in range(len(dataset))]
    tokens = [dataset.song(song).tokens.tobytes() for song in range(len(dataset))]
    kinds = dataset.index["duplicate"].to_pylist()
    exact = ("identical_file", "identical_music")
    counted = [one for one, kind in zip(ngrams, kinds, strict=True) if kind not in exact]
    songs_with = Counter(ngram for one in counted for ngram in one)
    pairs = {}
    for a, b in combinations(range(len(dataset)), 2):
        shared, either = ngrams[a] & ngrams[b], ngrams[a] | ngrams[b]
        rare = sum(songs_with[ngram] <= RARE_SONGS for ngram in shared)
        is_pair = len(shared) >= 0.2 * len(either) and rare >= MIN_RARE_SHARE * len(either)
        if tokens[a] == tokens[b]:
            pairs[a, b] = 1.0
        elif either and is_pair:
            pairs[a, b] = len(shared) / len(either)
    return pairs


def test_a_dataset_as_built_leaks_nothing(dataset):
    assert leaks(dataset) == []
    assert len(set(dataset.index["split"].to_pylist())) > 1


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_duplicates_in_two_splits_are_found_and_no_others(
    dataset, similar, with_splits, seed
):
    split = np.random.default_rng(seed).choice(["train", "valid"], len(dataset)).tolist()
    apart = {pair: found for pair, found in similar.items() if split[pair[0]] != split[pair[1]]}
    assert len(apart) > 2
    assert leaks(with_splits(split)) == [(*pair, apart[pair]) for pair in sorted(apart)]


def test_the_datasets_similarity_decides_what_a_duplicate_is(dataset, similar, with_splits):
    split = ["train", "valid"] * (len(dataset) // 2 + 1)
    split = split[: len(dataset)]
    apart = {pair: found for pair, found in similar.items() if split[pair[0]] != split[pair[1]]}
    bound = (max(f for f in apart.values() if f < 1) + min(apart.values())) / 2
    found = leaks(with_splits(split, similarity=bound))
    expected = {pair for pair, similarity in apart.items() if similarity >= bound}
    assert {(a, b) for a, b, _ in found} == expected != set(apart)


def test_what_a_split_by_file_would_have_leaked_is_counted_by_hand(dataset):
    rows = dataset.index.to_pylist()
    settings = SplitSettings(**dataset.manifest["settings"]["split"])
    drawn = [draw(f"{row['path']}:{row['md5']}", settings) for row in rows]
    trained = {row["cluster"] for row, split in zip(rows, drawn, strict=True) if split == "train"}
    held_out = [row["cluster"] for row, split in zip(rows, drawn, strict=True) if split != "train"]
    assert held_out
    assert leaked_by_file(dataset) == pytest.approx(
        sum(cluster in trained for cluster in held_out) / len(held_out)
    )


def test_clusters_and_duplicates_are_those_of_the_index(dataset):
    rows, found = dataset.index.to_pylist(), audit(dataset)
    members = defaultdict(list)
    for row in rows:
        members[row["cluster"]].append(row)
    assert (found.songs, found.clusters) == (len(rows), len(members))
    assert found.duplicates == Counter(row["duplicate"] for row in rows if row["duplicate"])
    sizes = sorted((len(one) for one in members.values() if len(one) > 1), reverse=True)
    assert [songs for _, songs, _ in found.largest] == sizes[:10]
    for cluster, songs, path in found.largest:
        assert len(members[cluster]) == songs
        assert path in [row["path"] for row in members[cluster] if row["representative"]]


def test_the_command_fails_where_anything_leaks(dataset, similar, with_splits):
    a, b = min(similar)
    split = ["train"] * len(dataset)
    assert CliRunner().invoke(cli, ["audit", str(with_splits(split, "whole").path)]).exit_code == 0
    split[b] = "test"
    result = CliRunner().invoke(cli, ["audit", str(with_splits(split).path)])
    assert result.exit_code == 1
    assert f"songs {a} and {b}: similarity" in result.stdout
    leaking = sum(b in pair for pair in similar)
    assert f"{leaking} pairs of duplicates across splits" in result.stderr


def test_ngrams_of_many_songs_are_no_leak(dataset, with_splits, monkeypatch):
    """When no n-gram counts as rare, only equal tokens are left."""
    monkeypatch.setattr("pipeline.duplicates.clusters.RARE_SONGS", 0)
    monkeypatch.setattr("pipeline.duplicates.clusters.RARE_ONE_IN", len(dataset) + 1)
    split = np.random.default_rng(0).choice(["train", "valid"], len(dataset)).tolist()
    found = leaks(with_splits(split))
    tokens = [dataset.song(song).tokens.tobytes() for song in range(len(dataset))]
    assert found
    assert all(tokens[a] == tokens[b] for a, b, _ in found)
