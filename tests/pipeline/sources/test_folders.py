"""Searching folders: what is passed over has a row, links are followed as asked, typos are told."""

import zipfile
from pathlib import Path

import pytest

from pipeline.config import DataSettings
from pipeline.running.prepare import prepare
from pipeline.sources.listing import SourceError, list_files, read_source
from shards.settings import to_json

MOST = 8_000_000


def write(folder: Path, *names: str) -> None:
    """Files that hold their own names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def listed(*sources: Path, follow: str = "none") -> dict[str, str]:
    """The contents of each file by name; of one that is not read, the rule in brackets."""
    return {
        file.name: f"({file.refused.rule})" if file.refused else read_source(file, MOST).decode()
        for file in list_files(sources, MOST, follow_links=follow)
    }


def test_what_is_passed_over_in_a_folder_has_a_row(tmp_path):
    folder = tmp_path / "midi"
    write(folder, "a.mid", "b.7z", "c.ZIP", "inner/d.tar.zst", "inner/e.7z", "f.midi2", "g.txt")
    link(folder / "elsewhere", str(tmp_path))
    link(folder / "gone.mid", "nothing")
    link(folder / "same.mid", "a.mid")
    assert listed(folder) == {
        "a.mid": "a.mid",
        "b.7z": "(unread_7z)",
        "c.ZIP": "(archive_in_folder)",
        "elsewhere": "(link_to_folder)",
        "f.midi2": "(unread_midi2)",
        "gone.mid": "(broken_link)",
        "inner/d.tar.zst": "(archive_in_folder)",
        "inner/e.7z": "(unread_7z)",
        "same.mid": "(link)",
    }
    assert list_files([folder], MOST).passed_over == [
        "1 links to files",
        "1 broken links",
        "1 links to folders",
        "2 archives in folders",
        "2 .7z",
        "1 .midi2",
    ]


@pytest.mark.parametrize("follow", ["none", "inside", "anywhere"])
def test_a_folder_of_links_to_itself_ends_and_holds_nothing(tmp_path, follow):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    with pytest.raises(SourceError, match="no files named"):
        list_files([tmp_path], MOST, follow_links=follow)


def test_a_source_of_nothing_but_links_is_told_how_to_follow_them(tmp_path):
    write(tmp_path, "blobs/1")
    link(tmp_path / "snapshot" / "a.mid", "../blobs/1")
    with pytest.raises(SourceError, match=r"not read: 1 links to files \(--follow-links"):
        list_files([tmp_path / "snapshot"], MOST)


def test_a_snapshot_of_links_is_read_from_its_own_cache_or_from_anywhere(tmp_path):
    write(tmp_path, "hub/blobs/1", "hub/blobs/2")
    link(tmp_path / "hub/snapshots/v1/a.mid", "../../blobs/1")
    link(tmp_path / "hub/snapshots/v1/sub/b.mid", "../../../blobs/2")
    link(tmp_path / "hub/snapshots/v2/a.mid", "../../blobs/1")
    snapshot = tmp_path / "hub" / "snapshots" / "v1"
    with pytest.raises(SourceError, match="2 links to files"):
        list_files([snapshot], MOST, follow_links="inside")
    files = {"a.mid": "hub/blobs/1", "sub/b.mid": "hub/blobs/2"}
    assert listed(snapshot, follow="anywhere") == files
    inside = {f"snapshots/v1/{name}": data for name, data in files.items()}  # not again for v2
    assert listed(tmp_path / "hub", follow="inside") == inside


def test_a_file_is_listed_once_under_the_link_to_it(tmp_path):
    write(tmp_path, ".git/annex/objects/x1/K1.mid/K1.mid", "own.mid")
    link(tmp_path / "songs" / "a.mid", "../.git/annex/objects/x1/K1.mid/K1.mid")
    link(tmp_path / "songs" / "b.mid", "a.mid")
    assert listed(tmp_path, follow="inside") == {
        "own.mid": "own.mid",
        "songs/a.mid": ".git/annex/objects/x1/K1.mid/K1.mid",
    }


def test_links_to_folders_are_followed_without_circles_and_without_listing_twice(tmp_path):
    write(tmp_path, "midi/a.mid", "outside/b.mid", "outside/deep/c.mid")
    link(tmp_path / "midi" / "again", ".")
    link(tmp_path / "midi" / "out", "../outside")
    link(tmp_path / "midi" / "out_too", "../outside/deep")
    link(tmp_path / "outside" / "back", "../midi")
    link(tmp_path / "outside" / "up", "..")
    midi = tmp_path / "midi"
    assert listed(midi, follow="anywhere") == {
        "a.mid": "midi/a.mid",
        "out/b.mid": "outside/b.mid",
        "out/deep/c.mid": "outside/deep/c.mid",
    }
    assert listed(midi, follow="inside") == {
        "a.mid": "midi/a.mid",
        "out": "(link_to_folder)",
        "out_too": "(link_to_folder)",
    }


def test_a_link_to_another_source_leads_inside(tmp_path):
    write(tmp_path, "one/a.mid", "two/b")
    link(tmp_path / "one" / "b.mid", "../two/b")
    write(tmp_path, "two/c.mid")
    assert listed(tmp_path / "one", tmp_path / "two", follow="inside") == {
        "one/a.mid": "one/a.mid",
        "one/b.mid": "two/b",
        "two/c.mid": "two/c.mid",
    }


def test_links_to_archives_are_followed_like_links_to_files(tmp_path, archive_of):
    archive_of(tmp_path / "blob", "x.mid")
    link(tmp_path / "snapshot" / "songs.zip", "../blob")
    with pytest.raises(SourceError, match="1 links to files"):
        list_files([tmp_path / "snapshot"], MOST, follow_links="inside")
    assert listed(tmp_path / "snapshot", follow="anywhere") == {"x.mid": "x.mid"}


@pytest.fixture
def archive_of():
    def make(path: Path, name: str) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, name)

    return make


def test_a_link_named_as_a_source_is_followed_and_keeps_its_name(tmp_path, archive_of):
    write(tmp_path, "blobs/1", "blobs/2/inner.mid")
    archive_of(tmp_path / "blobs" / "3", "zipped.mid")
    link(tmp_path / "a.mid", "blobs/1")
    link(tmp_path / "folder", "blobs/2")
    link(tmp_path / "songs.zip", "blobs/3")
    assert listed(tmp_path / "a.mid") == {"a.mid": "blobs/1"}
    assert listed(tmp_path / "folder") == {"inner.mid": "blobs/2/inner.mid"}
    assert listed(tmp_path / "songs.zip") == {"zipped.mid": "zipped.mid"}


def test_following_links_is_a_setting_of_the_dataset():
    assert to_json(DataSettings())["ingest"]["follow_links"] == "none"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lmd_ful.tar.gz", "lmd_full.tar.gz"),
        ("corpsu", "corpus"),
        ("corpsu/songs", "corpus"),
        ("corpus/song", "corpus/songs"),
    ],
)
def test_a_misspelt_source_is_told_before_anything_else(tmp_path, typed, meant):
    write(tmp_path, "lmd_full.tar.gz", "corpus/songs/a.mid", "out/dataset.json")
    with pytest.raises(SourceError) as told:
        prepare([tmp_path / typed], tmp_path / "out", DataSettings(), restart=False)
    assert "no such file or folder" in str(told.value)
    assert str(told.value).endswith(f"is {tmp_path / meant} meant?")


def test_a_source_that_cannot_be_is_told_why(tmp_path):
    write(tmp_path, "songs.zip")
    link(tmp_path / "gone", "/nowhere")
    for source, why in {
        "songs.zip/inner": "songs.zip is a file, not a folder",
        "gone": "a link to /nowhere, which does not exist",
        "qqqq": "qqqq: no such file or folder$",
    }.items():
        with pytest.raises(SourceError, match=why):
            list_files([tmp_path / source], MOST)
