"""Archives read without unpacking them: the same songs as from a folder, and no tricks."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from backports import zstd

from pipeline.config import DataSettings, IngestSettings
from pipeline.running.execute import execute
from pipeline.running.feed import Feed
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from pipeline.sources import tars
from pipeline.sources.listing import Refused, SourceError, list_files, read_source, save_listings
from pipeline.sources.tars import Stream, open_tar

MOST = 8_000_000
SETTINGS = DataSettings(ingest=IngestSettings(slice_files=16))
PACK = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.xz": lzma.compress,
    ".tar.bz2": bz2.compress,
    ".tar.zst": zstd.compress,
    ".tzst": zstd.compress,
}
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def make_tar(path: Path, files: dict[str, bytes], format_=tarfile.PAX_FORMAT) -> Path:
    suffix = next(s for s in sorted(PACK, key=len, reverse=True) if path.name.endswith(s))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    path.write_bytes(PACK[suffix](out.getvalue()))
    return path


def make_zip(path: Path, files: dict[str, bytes], method=zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make(path: Path, files: dict[str, bytes]) -> Path:
    return (make_zip if path.suffix == ".zip" else make_tar)(path, files)


def read_all(path: Path, most: int = MOST) -> dict[str, bytes | str]:
    """What lies in an archive, by name; of a file that is refused, the rule."""
    found = {}
    stream = None if path.suffix == ".zip" else open_tar(path)
    for file in list_files([path], most):
        try:
            if file.refused is None and stream is not None:  # as the spool reads it
                stream.skip(file.member.offset - stream.at)
                found[file.name] = stream.read(file.member.size)
            else:
                found[file.name] = read_source(file, most)
        except Refused as refused:
            found[file.name] = refused.rule
    if stream is not None:
        stream.__exit__()
    return found


def rules(path: Path, most: int = MOST) -> dict[str, str | None]:
    return {file.name: file.refused and file.refused.rule for file in list_files([path], most)}


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".zip"])
def test_an_archive_gives_the_songs_that_its_folder_gives(demo, dataset, tmp_path, suffix):
    files = {file.name: Path(file.path) for file in list_files([demo[0]], MOST)}
    data = {f"./{name}": path.read_bytes() for name, path in files.items() if path.is_file()}
    archive = make(tmp_path / f"songs{suffix}", {"readme.txt": b"not music", **data})
    prepared = prepare([archive], tmp_path / "lakh", SETTINGS, restart=False)
    made = execute(prepared, PoolSettings(workers=2, spool_limit=1))
    assert [path.name for path in made.path.parent.iterdir()].count("lakh.partial") == 0
    assert made.index["md5"].to_pylist() == dataset.index["md5"].to_pylist()
    assert made.index["path"].to_pylist() == dataset.index["path"].to_pylist()
    assert all(made.song(n) == dataset.song(n) for n in range(len(dataset)))


@pytest.mark.parametrize("name", FORMATS)
def test_names_of_any_length_and_alphabet_are_read_from_every_tar_format(tmp_path, name):
    long = "/".join(["folder " * 4] * 4) + "/a.mid"
    names = ["a.MID", "Ünïcode/музыка.kar", long, f"{'x' * 90}.midi"]
    files = {n: n.encode() * 50 for n in names if name != "ustar" or n.isascii()}
    for suffix in PACK:
        assert read_all(make_tar(tmp_path / f"n{suffix}", files, FORMATS[name])) == files


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_stored_and_deflated(tmp_path, method):
    files = {"a.mid": b"x" * 1000, "Ü/b.RMI": random.Random(0).randbytes(999), "c.kar": b""}
    assert read_all(make_zip(tmp_path / "n.zip", files, method)) == files


def test_a_zip_in_the_format_for_many_and_large_files_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    files = {f"{n}.mid": b"%d" % n * 100 for n in range(9)}
    archive = make_zip(tmp_path / "n.zip", files)
    assert b"PK\6\6" in archive.read_bytes()  # the end that old programs do not know
    assert read_all(archive) == files


ESCAPES = ["../a.mid", "x/../../a.mid", "/etc/a.mid", "..\\a.mid", "C:\\a.mid", "c:/a.mid"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("name", ESCAPES)
def test_a_name_that_leads_out_is_refused(tmp_path, suffix, name):
    found = rules(make(tmp_path / f"n{suffix}", {name: b"MThd", "good.mid": b"MThd"}))
    assert found.pop("good.mid") is None
    assert list(found.values()) == ["outside"]


def test_links_devices_and_holes_in_a_tar_are_refused(tmp_path):
    kinds = {
        "hard.mid": tarfile.LNKTYPE,
        "soft.mid": tarfile.SYMTYPE,
        "pipe.mid": tarfile.FIFOTYPE,
        "disk.mid": tarfile.BLKTYPE,
        "tty.mid": tarfile.CHRTYPE,
        "holes.mid": tarfile.GNUTYPE_SPARSE,
        "folder.mid": tarfile.DIRTYPE,
    }
    with tarfile.open(tmp_path / "n.tar", "w") as tar:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        member = tarfile.TarInfo("good.mid")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    assert rules(tmp_path / "n.tar") == {
        "hard.mid": "link",
        "soft.mid": "link",
        "pipe.mid": "not_a_file",
        "disk.mid": "not_a_file",
        "tty.mid": "not_a_file",
        "holes.mid": "sparse",
        "good.mid": None,
    }


def test_a_link_in_a_zip_is_refused_and_so_is_what_we_cannot_unpack(tmp_path):
    with zipfile.ZipFile(tmp_path / "n.zip", "w") as archive:
        link = zipfile.ZipInfo("link.mid")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("odd.mid", b"x" * 99, compress_type=zipfile.ZIP_LZMA)
        archive.writestr("good.mid", b"x")
    found = {"link.mid": "link", "odd.mid": "unknown_method", "good.mid": None}
    assert rules(tmp_path / "n.zip") == found


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_a_member_too_large_is_refused_with_its_size(tmp_path, suffix):
    archive = make(tmp_path / f"n{suffix}", {"big.mid": bytes(5001), "good.mid": bytes(5000)})
    big, good = list_files([archive], 5000)
    assert (big.refused.rule, big.refused.value, big.refused.threshold) == ("too_large", 5001, 5000)
    assert good.refused is None


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_may(tmp_path):
    data = make_zip(tmp_path / "n.zip", {"a.mid": bytes(10_000_000)}).read_bytes()
    lie = data.replace(struct.pack("<L", 10_000_000), struct.pack("<L", 100))
    (tmp_path / "n.zip").write_bytes(lie)
    assert read_all(tmp_path / "n.zip", 5000) == {"a.mid": "too_large"}
    assert read_all(tmp_path / "n.zip", 20_000_000) == {"a.mid": "damaged_member"}


def test_members_of_a_zip_that_share_their_bytes_are_refused(tmp_path):
    data = make_zip(tmp_path / "n.zip", {"a.mid": bytes(1000), "b.mid": bytes(1000)}).read_bytes()
    second = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    place = second + 42  # where the entry says that its member begins
    (tmp_path / "n.zip").write_bytes(data[:place] + bytes(4) + data[place + 4 :])
    assert rules(tmp_path / "n.zip") == {"a.mid": None, "b.mid": "bomb"}


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.xz", ".tar.zst"])
def test_an_archive_that_unpacks_to_absurdly_much_is_read_no_further(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(tars, "ALWAYS_ALLOWED", 3_000_000)
    files = {"a.mid": b"MThd", "zeros.bin": bytes(20_000_000), "b.mid": b"MThd"}
    archive = make_tar(tmp_path / f"n{suffix}", files)
    assert rules(archive) == {"a.mid": None, archive.name: "bomb"}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip"])
def test_an_archive_cut_anywhere_is_a_row_and_gives_what_came_before(tmp_path, suffix):
    rng = random.Random(1)
    files = {f"{n}.mid": rng.randbytes(rng.randrange(3000)) for n in range(20)}
    whole = make(tmp_path / f"whole{suffix}", files).read_bytes()
    padding = 10_240 if suffix == ".tar" else 0  # behind the mark of the end
    for cut in range(1, len(whole) - padding - 100, len(whole) // 23):
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole[:cut])
        found = read_all(path)
        assert found.pop(path.name) == "damaged_archive"
        assert found.items() <= files.items()
        assert list(found) == list(files)[: len(found)]


def test_one_byte_changed_in_a_compressed_archive_is_told(tmp_path):
    rng = random.Random(2)
    files = {f"{n}.mid": rng.randbytes(500) for n in range(20)}
    archive = make_tar(tmp_path / "n.tar.gz", files)
    whole = bytearray(archive.read_bytes())
    for _ in range(50):
        place = rng.randrange(10, len(whole))  # behind the name and time in gzip's header
        whole[place] ^= 1
        archive.write_bytes(whole)
        assert "damaged_archive" in rules(archive).values()
        whole[place] ^= 1


def test_garbage_of_any_kind_is_an_archive_without_files(tmp_path):
    rng = random.Random(3)
    for suffix in [*PACK, ".zip"]:
        for length in (0, 1, 511, 512, 5000):
            path = tmp_path / f"n{suffix}"
            path.write_bytes(rng.randbytes(length))
            assert set(rules(path).values()) <= {"damaged_archive"}


def test_an_extended_header_of_absurd_size_is_not_read_into_memory(tmp_path):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (tmp_path / "n.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT))
    assert rules(tmp_path / "n.tar") == {"n.tar": "damaged_archive"}


def test_a_stream_gives_the_same_bytes_in_pieces_of_any_size(tmp_path):
    rng = random.Random(4)
    archive = make_tar(
        tmp_path / "n.tar.gz", {"a": rng.randbytes(3_000_000), "b": bytes(5_000_000)}
    )
    plain = make_tar(tmp_path / "n.tar", {"a": rng.randbytes(0), "b": b""})
    assert plain.stat().st_size
    with open_tar(archive) as stream:
        whole = stream.read(20_000_000)
    with open_tar(archive) as stream:
        at = 0
        while at < len(whole):
            size = rng.choice([1, 512, 70_000, 1_500_000])
            if rng.random() < 0.5:
                assert stream.read(size) == whole[at : at + size]
            else:
                stream.skip(size)
            at += size
            assert stream.at == min(at, len(whole))


def test_a_folder_of_archives_stands_for_them_unless_songs_lie_loose_in_it(tmp_path):
    make_tar(tmp_path / "a.tar.gz", {"x.mid": b"1"})
    make_zip(tmp_path / "b.zip", {"x.mid": b"2"})
    listing = list_files([tmp_path], MOST)
    assert [file.name for file in listing] == ["a.tar.gz/x.mid", "b.zip/x.mid"]
    (tmp_path / "loose.mid").write_bytes(b"3")
    assert rules(tmp_path) == {
        "a.tar.gz": "archive_in_folder",
        "b.zip": "archive_in_folder",
        "loose.mid": None,
    }
    both = list_files([tmp_path, tmp_path / "b.zip"], MOST)
    assert sorted(file.name.rsplit("/", 1)[-1] for file in both if not file.refused) == [
        "loose.mid",
        "x.mid",
    ]
    assert both.passed_over == ["1 archives in folders"]


def test_sources_of_one_name_are_told_apart_and_none_is_counted_twice(tmp_path):
    for name in ("one/midi/a.mid", "two/midi/a.mid"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    one, two = tmp_path / "one" / "midi", tmp_path / "two" / "midi"
    names = [file.name for file in list_files([two, one, one], MOST)]
    assert names == ["one/midi/a.mid", "two/midi/a.mid"]
    assert len(list_files([tmp_path, one, one / "a.mid"], MOST)) == 2


def test_archives_in_folders_whose_names_are_not_utf_8_are_told_apart(tmp_path):
    for name in (b"one\xff", b"two\xff"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        folder.mkdir()
        make_tar(folder / "n.tar.gz", {"x.mid": b"1"})
    listing = list_files(sorted(tmp_path.iterdir()), MOST)
    assert [file.name for file in listing] == [
        "one\\xff/n.tar.gz/x.mid",
        "two\\xff/n.tar.gz/x.mid",
    ]


def test_an_archive_of_a_kind_we_do_not_read_is_named(tmp_path):
    (tmp_path / "songs.7z").write_bytes(b"7z")
    with pytest.raises(SourceError, match=r"\.tar\.gz"):
        list_files([tmp_path / "songs.7z"], MOST)


def test_the_spool_never_holds_more_than_it_may(tmp_path):
    files = {f"{n:03d}.mid": bytes(1000) for n in range(200)}
    slices = list_files([make_tar(tmp_path / "n.tar.gz", files)], MOST).cut(10)
    folder = tmp_path / "partial"
    folder.mkdir()

    def task(slice_, spooled):
        assert [read_source(file, MOST) for file in spooled] == [bytes(1000)] * 10
        return slice_.number

    taken, most = [], 0
    context = SimpleNamespace(folder=folder, task=task)
    with Feed(slices, context, max_bytes=35_000, max_slices=9) as feed:
        while not feed.exhausted:
            most = max(most, sum(path.stat().st_size for path in folder.iterdir()))
            number = feed.take()
            if number is not None:
                taken.append(number)
                feed.done(number)
    assert taken == list(range(20))
    assert 10_000 <= most <= 35_000
    assert list(folder.iterdir()) == []


def test_a_feed_that_is_left_early_leaves_no_thread_waiting(tmp_path):
    files = {f"{n:03d}.mid": bytes(1000) for n in range(200)}
    slices = list_files([make_tar(tmp_path / "n.tar.gz", files)], MOST).cut(10)
    context = SimpleNamespace(folder=tmp_path, task=lambda slice_, files: slice_.number)
    with Feed(slices, context, max_bytes=1, max_slices=1) as feed:
        while feed.take() is None:
            pass
    assert not feed._reader.is_alive()


def test_a_listing_is_kept_until_its_archive_changes(demo, tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "n.tar.gz", {"a.mid": b"1"})
    prepare([archive], tmp_path / "lakh", SETTINGS, restart=False)
    opened = []
    monkeypatch.setattr(Stream, "__enter__", lambda self: opened.append(1) or self)
    prepare([archive], tmp_path / "lakh", SETTINGS, restart=False)
    assert opened == []
    os.utime(archive, (1, 1))
    prepare([archive], tmp_path / "lakh", SETTINGS, restart=False)
    assert opened == [1]


@pytest.mark.parametrize("suffix", [*PACK, ".zip"])
def test_what_an_archive_holds_but_is_not_read_has_its_row(tmp_path, suffix):
    names = ("a.mid", "more.tar.gz", "b.rar", "c.midi2", "notes.txt")
    archive = make(tmp_path / f"songs{suffix}", dict.fromkeys(names, b"x"))
    for _ in range(2):  # listed, and from the cache
        listing = list_files([archive], MOST, cache=tmp_path)
        assert {file.name: file.refused and file.refused.rule for file in listing} == {
            "a.mid": None,
            "more.tar.gz": "archive_in_archive",
            "b.rar": "unread_rar",
            "c.midi2": "unread_midi2",
        }
        assert listing.passed_over == ["1 archives in archives", "1 .rar", "1 .midi2"]
        save_listings(listing, tmp_path)


def test_names_of_zipped_and_old_midi_files_are_read(tmp_path):
    for name in ("a.mid.gz", "b.SMF", "c.kar.gz", "d.gz"):
        (tmp_path / name).write_bytes(b"x")
    assert [file.name for file in list_files([tmp_path], MOST)] == ["a.mid.gz", "b.SMF", "c.kar.gz"]
