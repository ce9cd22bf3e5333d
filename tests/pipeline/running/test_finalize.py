"""What the user says about duplicates and splits is followed, or refused at once."""

import dataclasses
import shutil

import pytest

from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings
from pipeline.running.prepare import prepare
from shards.errors import LakhxlError
from shards.layout import is_dataset
from tests.pipeline.conftest import SETTINGS

SPLIT = SplitSettings(valid=0.3, test=0.3)


@pytest.fixture(scope="module")
def songs(demo, dataset, tmp_path_factory):
    """Twelve different songs of the demo, as files."""
    folder = tmp_path_factory.mktemp("songs")
    rows = [row for row in dataset.index.to_pylist() if row["representative"]]
    for number, row in enumerate(rows[:12]):
        shutil.copy(demo[0] / row["path"], folder / f"{number:02}.mid")
    return folder


def test_songs_keep_their_splits_and_listed_duplicates_share_a_cluster(songs, build, tmp_path):
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


def test_inputs_that_finalizing_could_not_read_are_refused_at_once(songs, tmp_path):
    out = tmp_path / "shards"
    for option, value, complaint in (
        ("duplicate_list", tmp_path / "no.txt", "cannot be read"),
        ("duplicate_list", tmp_path, "cannot be read"),
        ("duplicate_list", "/dev/zero", "expected a plain file"),
        ("keep_splits", tmp_path / "none", "no such folder"),
        ("keep_splits", songs, "holds no dataset"),
    ):
        stage = "duplicates" if option == "duplicate_list" else "split"
        changed = dataclasses.replace(getattr(SETTINGS, stage), **{option: str(value)})
        settings = dataclasses.replace(SETTINGS, **{stage: changed})
        with pytest.raises(LakhxlError, match=complaint):
            prepare([songs], out / "lakh", settings, restart=False)
    assert not out.exists()


def test_a_restart_does_not_replace_the_dataset_of_keep_splits(songs, dataset):
    split = SplitSettings(keep_splits=str(dataset.path.parent))
    settings = dataclasses.replace(SETTINGS, split=split)
    with pytest.raises(LakhxlError, match="names the dataset that this run replaces"):
        prepare([songs], dataset.path, settings, restart=True)
    assert is_dataset(dataset.path)
