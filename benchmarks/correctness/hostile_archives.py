"""Archives whose headers lie: are they rows and refusals only, in bounded time and memory?

Hypothesis edits header fields of a tar, in any packing, and of a zip: sizes, offsets, lengths,
names, types, extended headers, counts, comments and bytes around them. Checksums of headers are
made right again, so that the lie is believed.
"""

import bz2
import gzip
import io
import lzma
import resource
import struct
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click
import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from benchmarks.arguments import Measurement
from pipeline.sources.listing import SourceError, SourceFile, list_files, read_source
from pipeline.sources.members import Refused
from pipeline.sources.tars import open_tar, zstd

MAX_SIZE = 100_000
MAX_SECONDS = 5.0
"""CPU time for one archive of a few kilobytes."""
MAX_GROWTH = 384 << 20
"""Bytes of memory: 256 MiB to unpack .xz, 64 MiB for names, and pieces."""
SONGS = {f"songs/{n:02d}.mid": b"MThd song %d" % n * (20 + 30 * n) for n in range(12)}
EDGES = (0, 1, 511, 512, 2**16 - 1, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
PACK = {
    ".tar": bytes,
    ".tar.gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lambda data: lzma.compress(data, preset=0),
    ".tar.zst": zstd.compress,
}


@dataclass(frozen=True)
class Archive:
    """An archive under test.

    Attributes:
        suffix: of its file name.
        data: its bytes.
        songs: how many files at least must be rows, unless one says that the archive is damaged.
    """

    suffix: str
    data: bytes
    songs: int


numbers = st.sampled_from(EDGES) | st.integers(-1024, 4096) | st.integers(-(2**70), 2**70)


# --- tar


def tar_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A ustar header with a right checksum, whatever stands in its 12 bytes of size."""
    block = bytearray(512)
    block[: len(name)], block[100:108], block[124:136] = name, b"0000644\0", size
    block[148:156], block[156:157], block[257:265] = b" " * 8, kind, b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Bytes up to the next block."""
    return data + bytes(-len(data) % 512)


def octal(number: int) -> bytes:
    """A size of up to 8 GiB in a header."""
    return b"%011o\0" % number


@st.composite
def size_fields(draw: st.DrawFn) -> bytes:
    """Any 12 bytes of size."""
    number = draw(numbers)
    octal_digits = (b"%o" % number)[:11].ljust(12, draw(st.sampled_from([b"\0", b" "])))
    base_256 = b"\x80" + (number % 2**88).to_bytes(11)
    negative = (number % 2**96).to_bytes(12)
    return draw(
        st.sampled_from([octal_digits, base_256, negative]) | st.binary(min_size=12, max_size=12)
    )


@st.composite
def pax_headers(draw: st.DrawFn) -> bytes:
    """An extended header of a few records, which may state wrong lengths."""
    data = b""
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from([b"size", b"path", b"GNU.sparse.size", b"mtime", b"", b"size="]))
        value = draw(numbers.map(lambda n: b"%d" % n) | st.binary(max_size=40))
        record = b" %s=%s\n" % (key, value)
        length = draw(st.just(len(record) + len(str(len(record) + 2))) | numbers)
        data += b"%d%s" % (length, record)
    size = draw(st.just(octal(len(data))) | size_fields())
    return tar_header(b"pax", size, draw(st.sampled_from([b"x", b"g", b"L", b"K"]))) + padded(data)


@st.composite
def tars(draw: st.DrawFn) -> Archive:
    """A tar with a few lies in it, packed and perhaps cut or added to."""
    blocks = [
        tar_header(name.encode(), octal(len(data))) + padded(data) for name, data in SONGS.items()
    ]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(blocks) - 1))
        name, body = blocks[at][:100].rstrip(b"\0"), blocks[at][512:]
        size = blocks[at][124:136].ljust(12, b"\0")
        edit = draw(st.sampled_from(["size", "type", "name", "pax", "insert", "byte"]))
        if edit == "size":
            blocks[at] = tar_header(name, draw(size_fields())) + body
        elif edit == "type":
            kind = draw(st.binary(min_size=1, max_size=1))
            blocks[at] = tar_header(name, size, kind) + body
        elif edit == "name":
            blocks[at] = tar_header(draw(st.binary(max_size=99)), size) + body
        elif edit == "pax":
            blocks.insert(at, draw(pax_headers()))
        elif edit == "insert":
            filling = draw(st.binary(max_size=40) | st.integers(0, 5000).map(bytes))
            blocks.insert(at, draw(st.sampled_from([filling, padded(filling)])))
        elif blocks[at]:
            place = draw(st.integers(0, len(blocks[at]) - 1))
            blocks[at] = blocks[at][:place] + draw(st.binary(max_size=3)) + blocks[at][place + 1 :]
    suffix = draw(st.sampled_from(list(PACK)))
    data = PACK[suffix](b"".join(blocks) + bytes(1024))
    if draw(st.booleans()):
        return Archive(suffix, data, 0)
    cut = draw(st.integers(0, len(data)))
    return Archive(suffix, data[:cut] + draw(st.binary(max_size=600) | st.just(data)), 0)


# --- zip


def plain_zip() -> bytes:
    """The songs in a zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in SONGS.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


ZIP = plain_zip()
END_AT = ZIP.rindex(b"PK\5\6")
DIRECTORY = ZIP.index(b"PK\1\2")
ENTRY = (END_AT - DIRECTORY) // len(SONGS)
ENTRY_FIELDS = ((6, "H"), (8, "H"), (10, "H"), (16, "L"), (20, "L"), (24, "L"), (28, "H"),
                (30, "H"), (32, "H"), (38, "L"), (42, "L"))  # fmt: skip
NAME_LENGTH = 28
END_FIELDS = ((4, "H"), (6, "H"), (8, "H"), (10, "H"), (12, "L"), (16, "L"), (20, "H"))


def put(data: bytearray, at: int, layout: str, number: int) -> None:
    """Overwrite a field, with as much of the number as it holds."""
    struct.pack_into(f"<{layout}", data, at, number % 256 ** struct.calcsize(f"<{layout}"))


@st.composite
def zips(draw: st.DrawFn) -> Archive:
    """A zip with a few lies in its directory and end records."""
    local, end = bytearray(ZIP[:DIRECTORY]), bytearray(ZIP[END_AT:])
    entries = [bytearray(ZIP[at : at + ENTRY]) for at in range(DIRECTORY, END_AT, ENTRY)]
    songs = len(SONGS)
    for _ in range(draw(st.integers(0, 3))):
        entry = draw(st.sampled_from(entries))
        edit = draw(st.sampled_from(["entry", "zip64", "end", "local"]))
        if edit == "entry":
            at, layout = draw(st.sampled_from(ENTRY_FIELDS))
            put(entry, at, layout, draw(numbers))
            songs = 0 if at == NAME_LENGTH else songs
        elif edit == "zip64":
            for at in draw(st.lists(st.sampled_from([20, 24, 42]), unique=True)):
                put(entry, at, "L", 2**32 - 1)
            values = b"".join((draw(numbers) % 2**64).to_bytes(8, "little") for _ in range(3))
            field = struct.pack("<HH", draw(st.sampled_from([1, 2])), len(values)) + values
            put(entry, 30, "H", len(field))
            entry += field
            put(end, 12, "L", sum(map(len, entries)))
        elif edit == "end":
            put(end, *draw(st.sampled_from(END_FIELDS)), draw(numbers))
        else:
            put(local, draw(st.integers(0, len(local) - 4)), "L", draw(numbers))
    between = b""
    if draw(st.booleans()):
        fields = [draw(numbers) % 2**64 for _ in range(5)]
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 12, *fields[:3])
        between = draw(st.sampled_from([b"", record]))
        between += struct.pack(
            "<4sLQL", b"PK\6\7", 0, draw(st.just(END_AT) | st.just(fields[4])), 1
        )
    comment = draw(st.binary(max_size=60) | st.just(ZIP[END_AT:]) | st.just(ZIP[END_AT:] * 3))
    if draw(st.sampled_from([True, True, False])):
        put(end, 20, "H", len(comment))
    before = draw(st.sampled_from([b"", b"", b"MZ program"]))
    data = before + bytes(local) + b"".join(entries) + between + end + comment
    return Archive(".zip", data, songs)


archives = tars() | zips()


# --- the check


def read_all(path: Path) -> Counter[str]:
    """List an archive and read its files as a run does: how many were read, or refused by what.

    Anything but a refusal is an error of ours, and raised.
    """
    outcomes: Counter[str] = Counter()
    try:
        files = list(list_files([path], MAX_SIZE))
    except SourceError:
        return outcomes
    stream = None if path.suffix == ".zip" else open_tar(path)
    for file in files:
        try:
            outcomes["read"] += bool(_read(file, stream)) or 1
        except Refused as refused:
            outcomes[refused.rule] += 1
    if stream is not None:
        stream.__exit__()
    return outcomes


def _read(file: SourceFile, stream) -> bytes:
    if stream is None or file.refused is not None:
        return read_source(file, MAX_SIZE)
    stream.skip(file.member.offset - stream.at)
    data = stream.read(file.member.size)
    assert len(data) == file.member.size <= MAX_SIZE
    return data


def check(archive: Archive, folder: Path) -> Counter[str]:
    """Read an archive; it must be rows in bounded time, and hide no song in silence."""
    path = folder / f"archive{archive.suffix}"
    path.write_bytes(archive.data)
    begin = time.process_time()
    outcomes = read_all(path)
    assert time.process_time() - begin < MAX_SECONDS
    told = outcomes.keys() & {"damaged_archive", "bomb"}
    assert told or outcomes.total() >= archive.songs, outcomes
    return outcomes


@click.command(cls=Measurement, help=__doc__)
@click.option("--cases", default=10_000, show_default=True, help="Archives to read.")
@click.option("--seed", default=0, show_default=True)
def command(cases: int, seed: int) -> None:
    outcomes, told = Counter(), Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with tempfile.TemporaryDirectory() as folder:

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=cases,
            deadline=None,
            database=None,
            derandomize=False,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(archives)
        def run(archive: Archive) -> None:
            found = check(archive, Path(folder))
            outcomes.update(found)
            told[archive.suffix] += 1

        run()
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
    assert growth < MAX_GROWTH, f"{growth:,} bytes of memory"
    print(f"{told.total():,} archives, seed {seed}:", _counts(told))
    print("files:", _counts(outcomes))
    print(f"no traceback, none slower than {MAX_SECONDS:g} s, {growth / 2**20:.0f} MiB more memory")


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())
