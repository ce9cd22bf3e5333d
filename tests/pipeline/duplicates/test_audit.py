"""`pipeline audit` finds held-out songs that stand in another split too."""

import dataclasses
import json
import shutil
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.duplicates import audit as module
from pipeline.duplicates.audit import (
    MIN_SHARE,
    MIN_SHARE_BACK,
    MIN_TOP_SHARE,
    audit,
    bass_ngrams,
    leaked_by_file,
    top_share,
)
from pipeline.duplicates.splits import SplitSettings, draw
from shards import open_dataset
from shards.layout import INDEX, INDEX_SCHEMA, MANIFEST
from shards.render.midi import write_midi
from shards.text import counted
from shards.writer import write_table
from tests.pipeline.duplicates.melodies import NOTATIONS


@pytest.fixture(scope="module")
def dataset(dataset, build, tmp_path_factory):
    """Eight songs of the demo, each twice as slow and on one piano too; the first also copied."""
    folder = tmp_path_factory.mktemp("duplicates")
    songs = np.flatnonzero(dataset.index["representative"].to_numpy())[:8].tolist()
    for number in songs:
        song = dataset.codec.decode(dataset.song(number))
        pitched = dataclasses.replace(song, notes=song.notes[song.notes["instrument"] < 128])
        copies = {name: NOTATIONS[name](pitched) for name in ("half as fast", "on one piano")}
        for name, copy in {"as it is": song, **copies}.items():
            write_midi(copy, folder / f"{number} {name}.mid", dataset.vocabulary)
    for copy in range(10):
        shutil.copy(folder / f"{songs[0]} as it is.mid", folder / f"copy{copy}.mid")
    return build(folder)


@pytest.fixture
def with_splits(dataset, tmp_path):
    """Copies the dataset with other splits, and with a cluster for each song."""

    def copy(splits: list[str], name: str = "lakh"):
        folder = shutil.copytree(dataset.path, tmp_path / name)
        every = range(len(splits))
        columns = {"split": splits, "cluster": every, "representative": [True for _ in every]}
        index = dataset.index
        for column, values in columns.items():
            at = INDEX_SCHEMA.get_field_index(column)
            field = INDEX_SCHEMA.field(at)
            index = index.set_column(at, field, pa.array(values, field.type))
        write_table(folder / INDEX, index)
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest))
        return open_dataset(folder)

    return copy


def slow_leaks(dataset) -> dict[tuple[int, int], float]:
    """The share of each held-out song's n-grams in each song of another split, if it is a leak."""
    split = dataset.index["split"].to_pylist()
    songs = range(len(dataset))
    ngrams = [{*bass_ngrams(dataset.codec.decode(dataset.song(song))).tolist()} for song in songs]
    held_out = [song for song in songs if split[song] != "train"]
    songs_with = Counter(ngram for song in held_out for ngram in ngrams[song])
    limit = max(module.COMMON_SONGS, len(held_out) // module.COMMON_ONE_IN)
    leaks = {}
    for one in held_out:
        telling = {ngram for ngram in ngrams[one] if songs_with[ngram] <= limit}
        for other in songs:
            shared = len(telling & ngrams[other])
            enough = len(telling) >= module.MIN_NGRAMS and split[one] != split[other]
            back = shared >= MIN_SHARE_BACK * len(ngrams[other])
            top = top_share(*(dataset.codec.decode(dataset.song(n)) for n in (one, other)))
            if enough and back and top >= MIN_TOP_SHARE and shared >= MIN_SHARE * len(telling):
                leaks[one, other] = shared / len(telling)
    return leaks


def test_a_dataset_as_built_leaks_nothing(dataset):
    assert audit(dataset).leaks == []
    assert len(set(dataset.index["split"].to_pylist())) > 1


@pytest.mark.parametrize("seed", range(3))
def test_songs_in_another_notation_in_two_splits_are_found_and_no_others(
    dataset, with_splits, seed
):
    split = np.random.default_rng(seed).choice(["train", "valid"], len(dataset)).tolist()
    apart = with_splits(split)
    slow = slow_leaks(apart)
    found = [leak for leak in audit(apart).leaks if leak.common.endswith("of the bass line")]
    assert {(a, b): common for a, b, common in found} == {
        pair: f"{share:.2f} of the bass line" for pair, share in slow.items()
    }
    name = [path.split()[0].replace("copy", "0 ") for path in dataset.index["path"].to_pylist()]
    assert sum(name[a] == name[b] for a, b in slow) > 2


def test_the_same_tokens_bytes_or_cluster_in_two_splits_leak_even_of_songs_without_a_bass(
    dataset, with_splits, monkeypatch
):
    monkeypatch.setattr(module, "MIN_NGRAMS", 1 << 30)
    paths = dataset.index["path"].to_pylist()
    split = ["test" if path == "copy3.mid" else "train" for path in paths]
    found = {leak.common for leak in audit(with_splits(split)).leaks}
    assert found == {"the same tokens", "the same bytes"}
    divided = with_splits(split, "divided")
    at = INDEX_SCHEMA.get_field_index("cluster")
    one = pa.array([0] * len(split), pa.int32())
    write_table(divided.path / INDEX, divided.index.set_column(at, INDEX_SCHEMA.field(at), one))
    found = {leak.common for leak in audit(open_dataset(divided.path)).leaks}
    assert found == {"one cluster", "the same tokens", "the same bytes"}


def test_the_chance_to_see_a_leak_grows_with_the_songs_compared(dataset, with_splits, monkeypatch):
    split = ["valid" if n % 2 else "train" for n in range(len(dataset))]
    whole = audit(with_splits(split))
    assert 4 < whole.compared <= whole.held_out == len(dataset) // 2
    assert whole.chance(0.0) == 0.0 < whole.chance(0.01) < whole.chance(0.5) < 1
    monkeypatch.setattr(module, "SAMPLE", 6)
    few = audit(with_splits(split, "few"))
    assert 0 < few.compared < whole.compared  # of the six those with a bass line
    assert few.held_out == whole.held_out
    assert few.chance(0.01) == pytest.approx(1 - (1 - 0.01 * module.RECALL) ** few.compared)


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


def test_the_command_fails_where_anything_leaks(dataset, with_splits):
    split = ["train"] * len(dataset)
    assert CliRunner().invoke(cli, ["audit", str(with_splits(split, "whole").path)]).exit_code == 0
    a = dataset.index["path"].to_pylist().index("copy3.mid")
    split[a] = "test"
    apart = with_splits(split)
    found = audit(apart).leaks
    result = CliRunner().invoke(cli, ["audit", str(apart.path)])
    assert result.exit_code == 1
    for one, other, common in found:
        assert f"songs {one} and {other}: {common}" in result.stdout
    assert f"{counted(len(found), 'pair')} of duplicates across splits" in result.stderr
