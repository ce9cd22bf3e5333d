"""Archives whose headers lie: bounded as they are read, one row each, and nothing hidden."""

import bz2
import gzip
import io
import lzma
import struct
import time
import zipfile
from pathlib import Path

import pytest
from backports import zstd

from benchmarks.correctness.hostile_archives import tar_header
from pipeline.config import DataSettings, IngestSettings
from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from pipeline.sources import archives, tars
from pipeline.sources.listing import list_files

MOST = 8_000_000
SONGS = {f"{n:02d}.mid": b"song %d" % n * 100 for n in range(12)}
PACK = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstd.compress,
}
END = bytes(1024)


def octal(number: int) -> bytes:
    return b"%011o\0" % number


def member(name: str, data: bytes, kind: bytes = b"0") -> bytes:
    return tar_header(name.encode(), octal(len(data)), kind) + data + bytes(-len(data) % 512)


def pax(records: bytes) -> bytes:
    return member("pax", records, b"x")


MEMBERS = [member(name, data) for name, data in SONGS.items()]
FIRST, LAST = b"".join(MEMBERS[:6]), b"".join(MEMBERS[6:])


def rows(path: Path, data: bytes) -> tuple[int, list[str]]:
    """How many files of an archive can be read, and the rules of the other rows."""
    path.write_bytes(data)
    files = list(list_files([path], MOST))
    rules = [file.refused.rule for file in files if file.refused]
    return len(files) - len(rules), rules


SIZES = {
    "base 256, 2^64": b"\x80" + (2**64).to_bytes(11),
    "base 256, 2^63": b"\x80" + (2**63).to_bytes(11),
    "base 256, 2^63 - 1": b"\x80" + (2**63 - 1).to_bytes(11),
    "base 256, -512": b"\xff" * 10 + b"\xfe\x00",
    "octal, negative": b"-0000001000\0",
    "octal, larger than the file": octal(8**11 - 1),
    "no number": b"size_of_file",
}


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("size", SIZES)
def test_a_tar_is_read_up_to_an_impossible_size(tmp_path, packing, size):
    tar = FIRST + tar_header(b"06.mid", SIZES[size]) + LAST[512:] + END
    assert rows(tmp_path / f"n{packing}", PACK[packing](tar)) == (6, ["damaged_archive"])


@pytest.mark.parametrize(
    "records",
    [
        b"28 size=9223372036854775808\n",
        b"27 size=9223372036854775807\n",
        b"12 size=-512\n",
        b"5012 size=" + b"9" * 5000 + b"\n",
        b"99 path=a.mid\n",
        b"-5 a=b\n",
        b"0 a=b\n",
        b"9" * 5000 + b" a=b\n",
        b"path=a.mid",
    ],
)
def test_a_tar_is_read_up_to_an_extended_header_that_lies(tmp_path, records):
    found = rows(tmp_path / "n.tar", FIRST + pax(records) + LAST + END)
    assert found == (6, ["damaged_archive"])


def test_a_link_of_any_size_is_a_row_and_nothing_more(tmp_path):
    link = tar_header(b"link.mid", SIZES["octal, larger than the file"], b"2")
    assert rows(tmp_path / "n.tar", FIRST + link + LAST + END) == (12, ["link"])


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("gap", [512, 1024, 4096, 10240])
def test_members_behind_zeros_are_read_and_the_archive_has_a_row(tmp_path, packing, gap):
    tar = FIRST + bytes(gap) + LAST
    for end in (b"", END):
        found = rows(tmp_path / f"n{packing}", PACK[packing](tar + end))
        assert found == (12, ["damaged_archive"])


def test_members_behind_a_file_of_many_holes_are_read(tmp_path):
    header = bytearray(tar_header(b"holes.img", octal(512), b"S"))
    header[482] = 1  # its map goes on in two blocks behind the header
    header[148:156] = b"%06o\0 " % (int(header[148:154], 8) + 1)
    blocks = bytes(504) + b"\1" + bytes(7) + bytes(512) + b"x" * 512
    assert rows(tmp_path / "a.tar", FIRST + bytes(header) + blocks + LAST + END) == (12, [])


def test_checksums_of_signed_bytes_are_taken(tmp_path):
    header = bytearray(tar_header("café.mid".encode("latin-1"), octal(0)))
    total = int(header[148:154], 8)
    header[148:156] = b"%06o\0 " % (total - 256)
    assert rows(tmp_path / "a.tar", FIRST + bytes(header) + LAST + END) == (13, [])


@pytest.mark.parametrize("named", [packing for packing in PACK if packing != ".tar"])
@pytest.mark.parametrize("packing", PACK)
def test_a_compressed_tar_may_be_named_as_another(tmp_path, packing, named):
    data = PACK[packing](FIRST + LAST + END)
    assert rows(tmp_path / f"a{named}", data) == (12, [])


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("padding", [0, 512, 65_536 * 3 + 100])
def test_a_second_archive_behind_the_first_is_read(tmp_path, packing, padding):
    if packing == ".tar":
        padding -= padding % 512
    pack = PACK[packing]
    data = pack(FIRST + END) + bytes(padding) + pack(LAST + END)
    assert rows(tmp_path / f"n{packing}", data) == (12, ["damaged_archive"])


def test_a_compressed_tar_in_many_streams_is_whole(tmp_path):
    tar = FIRST + LAST + END
    for packing, pack in PACK.items():
        pieces = [tar[at : at + 700] for at in range(0, len(tar), 700)]
        data = b"".join(map(pack, [b"", *pieces, b""]))
        assert rows(tmp_path / f"n{packing}", data) == (12, [])
    skippable = b"\x53\x2a\x4d\x18\x04\0\0\0abcd"  # as pzstd writes before each frame
    data = b"".join(skippable + zstd.compress(piece) for piece in pieces) + skippable
    assert rows(tmp_path / "n.tar.zst", data) == (12, [])


def test_a_stream_that_begins_where_one_piece_read_ends_is_not_missed(tmp_path, monkeypatch):
    one, two = gzip.compress(FIRST + END), gzip.compress(LAST + END)
    for early in range(3):  # the last bytes read are none, one or two of the second stream
        monkeypatch.setattr("pipeline.sources.tars.PACKED_PIECE", len(one) + early)
        assert rows(tmp_path / "n.tar.gz", one + two) == (12, ["damaged_archive"])


@pytest.mark.parametrize("packing", PACK)
def test_other_bytes_behind_an_archive_are_told(tmp_path, packing):
    data = PACK[packing](FIRST + LAST + END) + b"what is this" * 100
    assert rows(tmp_path / f"n{packing}", data) == (12, ["damaged_archive"])


def test_a_window_larger_than_its_bound_is_not_allocated(tmp_path):
    window = {zstd.CompressionParameter.window_log: 28}
    packer = zstd.ZstdCompressor(options=window)
    data = packer.compress(FIRST + END) + packer.flush()
    assert rows(tmp_path / "n.tar.zst", data) == (0, ["damaged_archive"])


def test_names_take_no_more_memory_than_they_may(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_NAMES", 50_000)
    name = b"n" * 9980 + b".mid"
    many = (pax(b"9995 path=" + name + b"\n") + member("x", b"")) * 20
    readable, rules = rows(tmp_path / "n.tar.xz", lzma.compress(FIRST + many + END))
    assert (readable, rules) == (6 + 4, ["bomb"])


def test_extended_headers_of_many_records_take_no_more_than_linear_time(tmp_path):
    records = b"6 a=b\n" * 170_000  # 1 MB: copying the rest for each would take 20 s
    begin = time.process_time()
    assert rows(tmp_path / "n.tar", pax(records) + FIRST + END) == (6, [])
    assert time.process_time() - begin < 5


def test_extended_headers_without_end_are_read_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(tars, "MAX_HEADERS", 100_000)
    tar = FIRST + pax(b"6 a=b\n" * 85) * 200 + LAST + END
    assert rows(tmp_path / "n.tar.gz", gzip.compress(tar)) == (6, ["bomb"])
    assert rows(tmp_path / "n.tar", tar) == (12, [])  # a fraction of the bytes on disk


@pytest.mark.parametrize("packing", list(PACK)[1:])
def test_empty_streams_without_end_are_read_no_further(tmp_path, packing, monkeypatch):
    monkeypatch.setattr(tars, "MAX_EMPTY_STREAMS", 100)
    pack = PACK[packing]
    for empty, expected in ((99, (12, [])), (200, (6, ["bomb"]))):
        data = pack(FIRST) + pack(b"") * empty + pack(LAST + END)
        assert rows(tmp_path / f"n{packing}", data) == expected


# --- zip


def zipped(songs: dict[str, bytes] = SONGS) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in songs.items():
            archive.writestr(name, data)
    return out.getvalue()


ZIP = zipped()
DIRECTORY, END_AT = ZIP.index(b"PK\1\2"), ZIP.rindex(b"PK\5\6")
ENTRY = (END_AT - DIRECTORY) // len(SONGS)


def edited(at: int, layout: str, *values: int, data: bytes = ZIP) -> bytes:
    changed = bytearray(data)
    struct.pack_into(f"<{layout}", changed, at, *values)
    return bytes(changed)


def with_zip64(full: int, packed: int, offset: int) -> bytes:
    """The seventh entry's numbers are stated in a zip64 field."""
    at = DIRECTORY + 6 * ENTRY
    field = struct.pack("<HHQQQ", 1, 24, full, packed, offset)
    data = edited(at + 20, "LL", 2**32 - 1, 2**32 - 1)
    data = edited(at + 30, "H", len(field), data=data)
    data = edited(at + 42, "L", 2**32 - 1, data=data)
    data = edited(END_AT + 12, "L", END_AT - DIRECTORY + len(field), data=data)
    return data[: at + ENTRY] + field + data[at + ENTRY :]


@pytest.mark.parametrize("number", [2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_zip_member_outside_of_its_archive_is_a_row(tmp_path, number):
    path, rule = tmp_path / "n.zip", "damaged_member"
    assert rows(path, with_zip64(number, 10, 0)) == (11, ["too_large" if number < 2**53 else rule])
    assert rows(path, with_zip64(700, number, 0)) == (11, [rule])
    assert rows(path, with_zip64(700, 10, number)) == (11, [rule])
    assert rows(path, with_zip64(number, number, number)) == (11, [rule])


@pytest.mark.parametrize("place", [0, 2**31, 2**62, 2**63 - 1, 2**63 + 5, 2**64 - 1])
def test_a_zip64_locator_that_points_nowhere_hides_no_song(tmp_path, place):
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    plain = ZIP[:END_AT] + locator + ZIP[END_AT:]
    assert rows(tmp_path / "n.zip", plain) == (12, [])
    only = edited(END_AT + 20 + 8, "HHLL", 2**16 - 1, 2**16 - 1, 2**32 - 1, 2**32 - 1, data=plain)
    assert rows(tmp_path / "n.zip", only) == (0, ["damaged_archive"])


@pytest.mark.parametrize("count", [0, 1, 6, 13, 65_535])
def test_entries_beyond_their_stated_number_are_read(tmp_path, count):
    data = edited(END_AT + 8, "HH", count, count)
    assert rows(tmp_path / "n.zip", data) == (12, ["damaged_archive"])


def test_a_second_zip_behind_the_first_is_read_and_the_first_is_told(tmp_path):
    one, two = (zipped(dict(list(SONGS.items())[at : at + 6])) for at in (0, 6))
    assert rows(tmp_path / "n.zip", one + two) == (6, ["damaged_archive"])
    assert next(iter(list_files([tmp_path / "n.zip"], MOST))).name == "06.mid"


def test_a_comment_may_hold_the_marks_of_a_zip(tmp_path):
    comment = ZIP[END_AT:] * 9
    data = edited(END_AT + 20, "H", len(comment)) + comment
    assert rows(tmp_path / "n.zip", data) == (12, [])
    assert rows(tmp_path / "n.zip", ZIP + b"more")[1] == ["damaged_archive"]


# --- a run


def test_a_damaged_archive_does_not_end_the_run(demo, tmp_path):
    (tmp_path / "bad.tar").write_bytes(FIRST + tar_header(b"x.mid", SIZES["base 256, 2^64"]) + END)
    (tmp_path / "bad.tar.zst").write_bytes(zstd.compress(FIRST + LAST + END)[:-9])
    (tmp_path / "bad.zip").write_bytes(with_zip64(2**63, 2**63, 2**63))
    songs = sorted(demo[0].rglob("*.mid"))[:12]
    good = zipped({f"{n}.mid": path.read_bytes() for n, path in enumerate(songs)})
    (tmp_path / "good.zip").write_bytes(good)
    settings = DataSettings(ingest=IngestSettings(slice_files=16))
    prepared = prepare([tmp_path], tmp_path / "lakh", settings, restart=False)
    made = execute(prepared, PoolSettings(workers=1))
    ledger = made.ledger().to_pylist()
    damaged = [row["path"] for row in ledger if (row["rule"] or "").startswith("damaged")]
    assert damaged == ["bad.tar/bad.tar", "bad.tar.zst/bad.tar.zst", "bad.zip/06.mid"]
    assert len(made) > 5
