"""Stream through a .tar, compressed or not, member by member.

The tarfile module is not used: it takes a damaged header in the middle for the end of the archive,
keeps an object per member, and reads an extended header of any size into memory.

Sources: POSIX.1-2017, pax, ustar interchange format; GNU tar manual, basic tar format.
"""

import bz2
import errno
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.sources.members import LARGEST, Damaged, Member
from shards.text import escape_bytes

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BLOCK = 512
ZEROS = bytes(BLOCK)
"""Two blocks of them mark the end of an archive; one is taken for it too."""
MAX_HEADER = 1 << 20
"""Bytes of an extended header; a real one holds a few names."""
MAX_HEADERS = 16 << 20
"""Bytes of all extended headers; or four times the archive's own, if that is more."""
MAX_DIGITS = 20
"""Of the length of a record in an extended header, and the space behind it."""
PIECE = 1 << 20
"""Bytes decompressed at a time."""
PACKED_PIECE = 1 << 16
"""Compressed bytes read at a time. Thousands of empty streams in one piece cost its square."""
MAX_EXPANSION = 200.0
"""Uncompressed bytes per compressed byte; MIDI files give 3 to 10."""
MAX_EMPTY_STREAMS = 10_000
"""Compressed streams in a row that hold nothing; a real archive has one at its end."""
ALWAYS_ALLOWED = 256 << 20
"""Uncompressed bytes that are allowed whatever the ratio."""
LZMA_MEMORY = 256 << 20
ZSTD_WINDOW_LOG = 27
"""zstd may look back 2^27 bytes, as its highest level does; only --long=28 and more need more."""


NO_END = "it stops without an end-of-archive block"
BEHIND = "members follow its end-of-archive block: they are read too"


class Stream:
    """Read a plain or compressed file from front to back.

    Attributes:
        at: uncompressed bytes returned or skipped so far.
        size: bytes of the file on disk.
    """

    def __init__(self, file: BinaryIO, packing: "Packing | None") -> None:
        self._file, self._packing = file, packing
        self._unpacker: Any = packing and packing.unpacker()
        self.size = os.fstat(file.fileno()).st_size
        self._ready = b""
        self._from = 0  # start of the unread bytes in _ready
        self._packed = b""
        self._out = 0
        self.at = 0

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def read_so_far(self) -> int:
        """Bytes of the file on disk that have been read."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end.

        Raises:
            Damaged: they cannot be decompressed, or the archive is a decompression bomb.
        """
        if self._packing is None:
            data = self._file.read(size)
        elif size <= len(self._ready) - self._from:  # most reads are headers and small files
            data = self._ready[self._from : self._from + size]
            self._from += size
        else:
            pieces = [self._ready[self._from :]]
            missing = size - len(pieces[0])
            self._ready, self._from = b"", 0
            while missing > 0 and (piece := self._unpack(self._packing)):
                pieces.append(piece[:missing])
                if len(piece) > missing:
                    self._ready, self._from = piece, missing
                missing -= len(pieces[-1])
            data = b"".join(pieces)
        self.at += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Skip the next `size` bytes; False if there are fewer."""
        if self._packing is None:
            if self.at + size > self.size:
                return False
            self.at += size
            self._file.seek(size, os.SEEK_CUR)
            return True
        while size > 0:
            piece = self.read(min(size, PIECE))
            if not piece:
                return False
            size -= len(piece)
        return True

    def _unpack(self, packing: "Packing") -> bytes:
        """The next decompressed bytes, at most PIECE of them; none at the end."""
        empty = 0
        while True:
            if self._unpacker.eof:
                rest = self._next_stream(packing)
                if not rest:
                    return b""
                self._unpacker, self._packed = packing.unpacker(), rest
                empty += 1
                if empty > MAX_EMPTY_STREAMS:
                    raise Damaged("bomb", "too many empty streams", empty, MAX_EMPTY_STREAMS)
            packed, self._packed = self._packed, b""
            if not packed and self._unpacker.needs_input:
                packed = self._file.read(PACKED_PIECE)
            try:
                piece = self._unpacker.decompress(packed, PIECE)
            except UNPACKING_ERRORS as error:
                raise Damaged("damaged_archive", f"it cannot be decompressed: {error}") from None
            self._out += len(piece)
            ratio = self._out / max(self.read_so_far, 1)
            if self._out > ALWAYS_ALLOWED and ratio > MAX_EXPANSION:
                detail = "it decompresses to far too many bytes"
                raise Damaged("bomb", detail, round(ratio, 1), MAX_EXPANSION)
            if piece:
                return piece
            if not packed and not self._unpacker.eof and self._unpacker.needs_input:
                raise Damaged("damaged_archive", "it stops in the middle of compressed data")

    def _next_stream(self, packing: "Packing") -> bytes:
        """The first bytes of the next compressed stream, behind padding; none at the end."""
        rest = self._unpacker.unused_data.lstrip(b"\0")
        longest = max(map(len, packing.magic))
        while len(rest) < longest and (more := self._file.read(PACKED_PIECE)):
            rest = (rest + more).lstrip(b"\0")
        if rest and not rest.startswith(packing.magic):
            raise Damaged("damaged_archive", "other bytes follow its compressed data")
        return rest


class Inflate:
    """zlib's decompressor for gzip members, with the interface of bz2's and lzma's."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether this member has ended."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """Bytes after the end of this member."""
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether it needs more input before it gives more output."""
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """The next bytes, at most `max_length`."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


UNPACKING_ERRORS = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError)


@dataclass(frozen=True)
class Packing:
    """A way to compress a tar: the first bytes of its streams, and its decompressor."""

    suffixes: tuple[str, ...]
    magic: tuple[bytes, ...]
    unpacker: Callable[[], Any]


ZSTD_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG}
ZSTD_MAGIC = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))
"""A frame, and the sixteen kinds of skippable frames."""
PACKINGS = (
    Packing((".tar.gz", ".tgz"), (b"\x1f\x8b",), Inflate),
    Packing(
        (".tar.xz", ".txz"),
        (b"\xfd7zXZ\0",),
        partial(lzma.LZMADecompressor, memlimit=LZMA_MEMORY),
    ),
    Packing((".tar.bz2", ".tbz2"), (b"BZh",), bz2.BZ2Decompressor),
    Packing(
        (".tar.zst", ".tzst"), ZSTD_MAGIC, partial(zstd.ZstdDecompressor, options=ZSTD_OPTIONS)
    ),
)


def open_tar(path: Path, suffix: str | None = None) -> Stream:
    """Open a .tar, compressed or not, as its name says, or `suffix` in its place.

    What is named as a compressed tar may be one of another packing, or of none: browsers and
    servers unpack a .tar.gz on its way, and leave its name.

    Raises:
        OSError: it cannot be opened, or is not a plain file.
    """
    if path.exists() and not path.is_file():  # opening a pipe would block
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    name = suffix or path.name.lower()
    packing = next((one for one in PACKINGS if name.endswith(one.suffixes)), None)
    file = path.open("rb")
    if packing and suffix is None:
        head = file.read(BLOCK)
        file.seek(0)
        is_plain = head[257:262] == b"ustar"
        packed = next((one for one in PACKINGS if head.startswith(one.magic)), packing)
        packing = None if is_plain else packed
    return Stream(file, packing)


def tar_members(stream: Stream) -> Iterator[tuple[str, str, Member]]:
    """Each member of a tar: name, kind (`file`, `folder` or a key of archives.KINDS), location.

    The end-of-archive mark ends nothing: members behind it, of a second tar or behind a damaged
    spot full of zeros, are read too. Reading to the end also verifies checksums.

    Raises:
        Damaged: the archive cannot be read further, or has members behind the mark.
    """
    extended: dict[str, Any] = {}  # from extended headers, for the next member
    headers, ended, behind = 0, False, False
    while block := stream.read(BLOCK):
        if block == ZEROS[: len(block)]:
            ended = ended or len(block) == BLOCK
            continue
        behind = ended
        header = _header(block, is_first=stream.at == BLOCK)
        if header.type in b"LKxgX":
            if header.size > MAX_HEADER:
                raise Damaged("damaged_archive", f"an extended header of {header.size:,} bytes")
            headers += header.size
            if headers > max(MAX_HEADERS, 4 * stream.size):
                raise Damaged("bomb", "far too many extended headers", headers, MAX_HEADERS)
            data = stream.read(header.size)
            stream.skip(-header.size % BLOCK)
            extended |= _extended(header.type, data)
            continue
        size, name = extended.get("size", header.size), extended.get("name", header.name)
        kind = "sparse" if extended.get("sparse") else TYPES.get(header.type, "not_a_file")
        extended = {}
        member = Member(stream.at, size)
        if header.type == ord("S"):  # its map of holes goes on in blocks that no size counts
            more = block[482]
            while more:
                more = stream.read(BLOCK)[504:505].strip(b"\0")
            member = Member(stream.at, size)
        if header.type not in b"123456":  # those have no contents, whatever size they state
            try:
                whole = stream.skip(size + -size % BLOCK)
            except Damaged as damaged:
                inside = f"{damaged}, in {escape_bytes(name)}"
                raise Damaged(damaged.rule, inside, damaged.value, damaged.threshold) from None
            if not whole:
                raise Damaged("damaged_archive", f"it ends inside {escape_bytes(name)}")
        yield name, kind, member
    if behind or not ended:
        raise Damaged("damaged_archive", BEHIND if behind else NO_END)


TYPES = {
    ord(b"0"): "file",
    0: "file",
    ord(b"7"): "file",
    ord(b"1"): "link",
    ord(b"2"): "link",
    ord(b"5"): "folder",
    ord(b"S"): "sparse",
}


@dataclass(frozen=True)
class Header:
    """One 512-byte header block of a tar."""

    name: str
    size: int
    type: int


def _header(block: bytes, *, is_first: bool) -> Header:
    if len(block) < BLOCK:
        raise Damaged("damaged_archive", NO_END)
    fault = "it is no tar, or compressed" if is_first else "a member's header makes no sense"
    try:
        stated = _number(block[148:156])
        size = _number(block[124:136])
    except ValueError:
        raise Damaged("damaged_archive", fault) from None
    counted = block[:148] + b" " * 8 + block[156:]
    total = sum(counted)
    if stated < total:  # some old programs add signed bytes
        total -= 256 * sum(byte > 127 for byte in counted)
    if stated != total or not 0 <= size <= LARGEST:
        raise Damaged("damaged_archive", fault)
    name = _text(block[:100])
    prefix = (
        _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    )  # GNU tar stores times there
    return Header(f"{prefix}/{name}" if prefix else name, size, block[156])


def _number(field: bytes) -> int:
    """Octal digits; or base 256 if the top bit is set, as GNU tar writes sizes over 8 GB."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    return int(field.split(b"\0")[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _extended(type_: int, data: bytes) -> dict[str, Any]:
    """The fields of an extended header that apply to the next member; link targets are ignored."""
    if type_ == ord("L"):
        return {"name": _text(data)}
    if type_ in b"Kg":
        return {}
    fields: dict[str, Any] = {}
    try:
        for key, value in _records(data):
            if key == b"path":
                fields["name"] = _text(value)
            elif key == b"size":
                fields["size"] = int(value)
            elif key.startswith(b"GNU.sparse"):
                fields["sparse"] = True
    except ValueError:
        raise Damaged("damaged_archive", "an extended header makes no sense") from None
    if not 0 <= fields.get("size", 0) <= LARGEST:
        raise Damaged("damaged_archive", "an extended header states an impossible size")
    return fields


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header, each `LENGTH KEY=VALUE` and a newline; ValueError if not."""
    at = 0
    while at < len(data) and data[at]:
        space = data.index(b" ", at, at + MAX_DIGITS)
        stop = at + int(data[at:space])
        equals = data.index(b"=", space, stop)
        if not equals < stop <= len(data):
            raise ValueError(stop)
        yield data[space + 1 : equals], data[equals + 1 : stop - 1]
        at = stop
