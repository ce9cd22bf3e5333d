"""Clusters to representative songs, kinds of copies and splits: by stated rules, and as the user says."""

import dataclasses
import shutil

import numpy as np
import pyarrow as pa
import pytest

from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings
from pipeline.running.finalize import copies, representatives
from pipeline.running.run import begin
from shards.errors import LakhxlError
from shards.layout import is_dataset
from tests.pipeline.conftest import SETTINGS

SPLIT = SplitSettings(valid=0.3, test=0.3)


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
def test_the_better_song_stands_for_its_cluster(best, other):
    both = np.zeros(2, np.int32)
    assert representatives(table(best, other), both).tolist() == [True, False]
    assert representatives(table(other, best), both).tolist() == [False, True]


def test_the_first_of_equals_stands_for_its_cluster_and_each_has_one():
    cluster = np.random.default_rng(0).integers(0, 30, 200).astype(np.int32)
    chosen = np.flatnonzero(representatives(table(*[(False, "strict", 9)] * 200), cluster))
    first = {int(number): place for place, number in reversed([*enumerate(cluster)])}
    assert sorted(first.values()) == chosen.tolist()


def test_the_strongest_evidence_names_the_copy():
    md5s = ["a", "a", "b", "c", "d", "e", "d"]
    music = ["x", "x", "x", "y", "z", "w", "z"]
    heard = [0, 0, 0, 0, 1, 2, 1]
    listed = [0, 0, 0, 0, 1, 1, 1]
    kinds = [None, "identical_file", "identical_music", "near_duplicate", None, "listed"]
    assert copies(md5s, music, heard, listed) == [*kinds, "identical_file"]


@pytest.fixture(scope="module")
def songs(demo, dataset, tmp_path_factory):
    """Twelve different songs of the demo, as files."""
    folder = tmp_path_factory.mktemp("songs")
    rows = [row for row in dataset.index.to_pylist() if row["representative"]]
    for number, row in enumerate(rows[:12]):
        shutil.copy(demo[0] / row["path"], folder / f"{number:02}.mid")
    return folder


def test_songs_stay_where_they_were_and_copies_are_those_one_knows_of(songs, build, tmp_path):
    """Half of the songs; then all, by another salt, and an outside list."""
    half = tmp_path / "half"
    half.mkdir()
    for path in sorted(songs.iterdir())[::2]:
        shutil.copy(path, half)
    before = build(half, dataclasses.replace(SETTINGS, split=SPLIT))
    rows = before.index.to_pylist()
    was = {row["md5"]: row["split"] for row in rows}
    assert len(set(was.values())) > 1
    known = tmp_path / "copies.txt"
    known.write_text(f"{rows[0]['md5']}\t01.mid\n03.mid\tnever.mid\n05.mid\t 07.mid\t09.mid\n")
    salted = dataclasses.replace(SPLIT, split_salt="another")
    moved = build(songs, dataclasses.replace(SETTINGS, split=salted)).index.to_pylist()
    assert any(was.get(row["md5"], row["split"]) != row["split"] for row in moved)
    kept = build(
        songs,
        dataclasses.replace(
            SETTINGS,
            split=dataclasses.replace(salted, keep_splits=str(before.path)),
            duplicates=DuplicateSettings(duplicate_list=str(known)),
        ),
    ).index.to_pylist()
    assert all(was.get(row["md5"], row["split"]) == row["split"] for row in kept)
    cluster = {row["path"]: row["cluster"] for row in kept}
    together = [{"00.mid", "01.mid"}, {"05.mid", "07.mid", "09.mid"}]
    for one in cluster:
        expected = next((group for group in together if one in group), {one})
        assert {other for other in cluster if cluster[other] == cluster[one]} == expected
    listed = {row["path"] for row in kept if row["duplicate"] == "listed"}
    assert listed == {"01.mid", "07.mid", "09.mid"}
    assert len({row["split"] for row in kept if row["path"] in together[0]}) == 1


def test_what_the_finish_could_not_read_is_refused_at_once(songs, tmp_path):
    out = tmp_path / "shards"
    for option, value, complaint in (
        ("duplicate_list", tmp_path / "no.txt", "--duplicate-list cannot be read"),
        ("duplicate_list", tmp_path, "--duplicate-list cannot be read"),
        ("keep_splits", tmp_path / "none", "no such folder"),
        ("keep_splits", songs, "holds no dataset"),
    ):
        stage = "duplicates" if option == "duplicate_list" else "split"
        changed = dataclasses.replace(getattr(SETTINGS, stage), **{option: str(value)})
        settings = dataclasses.replace(SETTINGS, **{stage: changed})
        with pytest.raises(LakhxlError, match=complaint):
            begin([songs], out / "lakh", settings, restart=False)
    assert not out.exists()


def test_a_restart_does_not_replace_the_dataset_whose_splits_it_is_to_keep(songs, dataset):
    split = SplitSettings(keep_splits=str(dataset.path.parent))
    settings = dataclasses.replace(SETTINGS, split=split)
    with pytest.raises(LakhxlError, match="names the dataset that this run replaces"):
        begin([songs], dataset.path, settings, restart=True)
    assert is_dataset(dataset.path)
