"""`pipeline audit` finds what was held out although a copy of it was trained on."""

import dataclasses
import json
import shutil
from collections import Counter, defaultdict
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.cli.commands import cli
from pipeline.duplicates.audit import audit, figures_of, leaked_by_file, leaks
from pipeline.duplicates.clusters import FEW, TELLING
from pipeline.duplicates.splits import SplitSettings, draw
from shards import open_dataset
from shards.layout import INDEX, INDEX_SCHEMA, MANIFEST
from shards.render.midi import write_midi
from shards.writer import write_table


@pytest.fixture(scope="module")
def dataset(dataset, build, tmp_path_factory):
    """Eight songs of the demo, each with copies that lack notes; of the first, ten exact ones."""
    folder, random = tmp_path_factory.mktemp("copies"), np.random.default_rng(0)
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
    """Makes a copy of the dataset whose songs lie in the given splits."""

    def copy(splits: list[str], name: str = "lakh", similarity: float = 0.2):
        folder = shutil.copytree(dataset.path, tmp_path / name)
        place = INDEX_SCHEMA.get_field_index("split")
        index = dataset.index.set_column(place, INDEX_SCHEMA.field(place), pa.array(splits))
        write_table(folder / INDEX, index)
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["settings"]["duplicates"]["similarity"] = similarity
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return open_dataset(folder)

    return copy


@pytest.fixture(scope="module")
def alike(dataset):
    """The similarity of every pair of copies, all figures of all songs compared."""
    figures = [set(figures_of(dataset, song).tolist()) for song in range(len(dataset))]
    tokens = [dataset.song(song).tokens.tobytes() for song in range(len(dataset))]
    copies = dataset.index["duplicate"].to_pylist()
    exact = ("identical_file", "identical_music")
    counted = [one for one, copy in zip(figures, copies, strict=True) if copy not in exact]
    songs_with = Counter(figure for one in counted for figure in one)
    pairs = {}
    for a, b in combinations(range(len(dataset)), 2):
        shared, either = figures[a] & figures[b], figures[a] | figures[b]
        telling = sum(songs_with[figure] <= FEW for figure in shared)
        similar = len(shared) >= 0.2 * len(either) and telling >= TELLING * len(either)
        if tokens[a] == tokens[b]:
            pairs[a, b] = 1.0
        elif either and similar:
            pairs[a, b] = len(shared) / len(either)
    return pairs


def test_a_dataset_as_it_is_made_leaks_nothing(dataset):
    assert leaks(dataset) == []
    assert len(set(dataset.index["split"].to_pylist())) > 1


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_copies_in_two_splits_are_found_and_no_others(dataset, alike, with_splits, seed):
    split = np.random.default_rng(seed).choice(["train", "valid"], len(dataset)).tolist()
    apart = {pair: found for pair, found in alike.items() if split[pair[0]] != split[pair[1]]}
    assert len(apart) > 2
    assert leaks(with_splits(split)) == [(*pair, apart[pair]) for pair in sorted(apart)]


def test_copies_are_what_is_as_similar_as_the_dataset_says(dataset, alike, with_splits):
    split = ["train", "valid"] * (len(dataset) // 2 + 1)
    split = split[: len(dataset)]
    apart = {pair: found for pair, found in alike.items() if split[pair[0]] != split[pair[1]]}
    bound = (max(f for f in apart.values() if f < 1) + min(apart.values())) / 2
    found = leaks(with_splits(split, similarity=bound))
    expected = {pair for pair, similarity in apart.items() if similarity >= bound}
    assert {(a, b) for a, b, _ in found} == expected != set(apart)


def test_what_a_split_by_file_would_have_leaked_is_counted_by_hand(dataset):
    rows = dataset.index.to_pylist()
    settings = SplitSettings(**dataset.manifest["settings"]["split"])
    drawn = [draw(f"{row['path']}:{row['md5']}", settings) for row in rows]
    trained = {row["cluster"] for row, split in zip(rows, drawn, strict=True) if split == "train"}
    held = [row["cluster"] for row, split in zip(rows, drawn, strict=True) if split != "train"]
    assert held
    assert leaked_by_file(dataset) == pytest.approx(
        sum(cluster in trained for cluster in held) / len(held)
    )


def test_clusters_and_copies_are_those_of_the_index(dataset):
    rows, found = dataset.index.to_pylist(), audit(dataset)
    members = defaultdict(list)
    for row in rows:
        members[row["cluster"]].append(row)
    assert (found["songs"], found["clusters"]) == (len(rows), len(members))
    assert found["copies"] == Counter(row["duplicate"] for row in rows if row["duplicate"])
    sizes = sorted((len(one) for one in members.values() if len(one) > 1), reverse=True)
    assert [songs for _, songs, _ in found["biggest"]] == sizes[:10]
    for cluster, songs, path in found["biggest"]:
        assert len(members[cluster]) == songs
        assert path in [row["path"] for row in members[cluster] if row["representative"]]


def test_the_command_fails_where_anything_leaks(dataset, alike, with_splits):
    a, b = min(alike)
    split = ["train"] * len(dataset)
    assert CliRunner().invoke(cli, ["audit", str(with_splits(split, "whole").path)]).exit_code == 0
    split[b] = "test"
    result = CliRunner().invoke(cli, ["audit", str(with_splits(split).path)])
    assert result.exit_code == 1
    assert f"songs {a} and {b}: similarity" in result.stdout
    leaking = sum(b in pair for pair in alike)
    assert f"{leaking} pairs of copies across splits" in result.stderr


def test_figures_that_many_songs_share_are_no_leak(dataset, with_splits, monkeypatch):
    """With hardly any figure allowed to be telling, only equal tokens are left."""
    monkeypatch.setattr("pipeline.duplicates.audit.FEW", 0)
    monkeypatch.setattr("pipeline.duplicates.audit.ONE_IN", len(dataset) + 1)
    split = np.random.default_rng(0).choice(["train", "valid"], len(dataset)).tolist()
    found = leaks(with_splits(split))
    tokens = [dataset.song(song).tokens.tobytes() for song in range(len(dataset))]
    assert found
    assert all(tokens[a] == tokens[b] for a, b, _ in found)
