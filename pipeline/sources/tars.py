"""A .tar from front to back, compressed or not: its members, one after another.

Not the tarfile module: that takes a damaged header in the middle for the end, keeps an object
for every member, and reads an extended header of any size into memory.

Sources: POSIX.1-2017, pax, ustar interchange format; GNU tar manual, basic tar format.
"""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.sources.members import Damaged, Member, readable

BLOCK = 512
LONGEST_HEADER = 1 << 20
"""Bytes of a tar's extended header; a real one holds a few names."""
PIECE = 1 << 20
"""Bytes that are unpacked at once."""
EXPANSION = 200.0
"""Bytes out of a compressed archive for each that went in; MIDI files give 3 to 10."""
HARMLESS = 1 << 30
"""Bytes out of a compressed archive that are allowed whatever went in."""
LZMA_MEMORY = 256 << 20


class Stream:
    """Bytes from front to back, out of a plain or a compressed file.

    Attributes:
        at: bytes given out or skipped so far.
        size: bytes of the file on the disk.
    """

    def __init__(self, file: BinaryIO, packing: "Packing | None") -> None:
        self._file, self._packing = file, packing
        self._unpacker = packing and packing.unpacker()
        self.size = os.fstat(file.fileno()).st_size
        self._ready = b""
        self._from = 0  # where the bytes not given out yet begin in _ready
        self._packed = b""
        self._out = 0
        self.at = 0

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def read_so_far(self) -> int:
        """Bytes of the file on the disk that have been read."""
        return self._file.tell()

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end only.

        Raises:
            Damaged: they cannot be unpacked, or the archive is a bomb.
        """
        if self._unpacker is None:
            data = self._file.read(size)
        elif size <= len(self._ready) - self._from:  # most reads are headers and small files
            data = self._ready[self._from : self._from + size]
            self._from += size
        else:
            pieces = [self._ready[self._from :]]
            missing = size - len(pieces[0])
            self._ready, self._from = b"", 0
            while missing > 0 and (piece := self._unpack()):
                pieces.append(piece[:missing])
                if len(piece) > missing:
                    self._ready, self._from = piece, missing
                missing -= len(pieces[-1])
            data = b"".join(pieces)
        self.at += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Leave the next `size` bytes out; False where there are fewer."""
        if self._unpacker is None:
            self.at += size
            self._file.seek(size, os.SEEK_CUR)
            return self._file.tell() <= self.size
        while size > 0:
            piece = self.read(min(size, PIECE))
            if not piece:
                return False
            size -= len(piece)
        return True

    def drain(self) -> None:
        """Read to the end: where checksums of compressed data stand."""
        if self._unpacker is not None:
            while self.read(PIECE):
                pass

    def _unpack(self) -> bytes:
        """The next bytes, at most PIECE of them; none at the end."""
        while True:
            if self._unpacker.eof:
                rest = self._unpacker.unused_data or self._file.read(PIECE)
                if not rest.startswith(self._packing.mark):
                    return b""  # padding, or something that somebody appended
                self._unpacker, self._packed = self._packing.unpacker(), rest
            packed, self._packed = self._packed, b""
            if not packed and self._unpacker.needs_input:
                packed = self._file.read(PIECE)
            try:
                piece = self._unpacker.decompress(packed, PIECE)
            except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
                raise Damaged("damaged_archive", f"it cannot be unpacked: {error}") from None
            self._out += len(piece)
            self._check_expansion()
            if piece:
                return piece
            if not packed and not self._unpacker.eof and self._unpacker.needs_input:
                raise Damaged("damaged_archive", "it stops in the middle of compressed data")

    def _check_expansion(self) -> None:
        ratio = self._out / max(self.read_so_far, 1)
        if self._out > HARMLESS and ratio > EXPANSION:
            detail = "it unpacks to absurdly many bytes"
            raise Damaged("bomb", detail, round(ratio, 1), EXPANSION)


class Inflate:
    """zlib's decompressor of gzip members, with the interface that bz2's and lzma's have."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        """Whether this member has ended."""
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        """What came behind the end of this member."""
        return self._inflate.unused_data

    @property
    def needs_input(self) -> bool:
        """Whether more has to come in before more goes out."""
        return not self._inflate.unconsumed_tail

    def decompress(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes more."""
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, most)


@dataclass(frozen=True)
class Packing:
    """A way to compress a tar: what a compressed stream starts with, and what unpacks it."""

    suffixes: tuple[str, ...]
    mark: bytes
    unpacker: Callable[[], Any]


PACKINGS = (
    Packing((".gz", ".tgz"), b"\x1f\x8b", Inflate),
    Packing((".xz", ".txz"), b"\xfd7zXZ\0", partial(lzma.LZMADecompressor, memlimit=LZMA_MEMORY)),
    Packing((".bz2", ".tbz2"), b"BZh", bz2.BZ2Decompressor),
)


def open_tar(path: Path) -> Stream:
    """Open a .tar, compressed or not, from its front.

    Raises:
        OSError: it cannot be opened.
    """
    name = path.name.lower()
    packing = next((one for one in PACKINGS if name.endswith(one.suffixes)), None)
    return Stream(path.open("rb"), packing)


def tar_members(stream: Stream) -> Iterator[tuple[str, str, Member]]:
    """Each member of a tar: its name, its kind (`file`, `folder` or one of KINDS), its place.

    Raises:
        Damaged: the archive cannot be read any further.
    """
    told: dict[str, Any] = {}  # by extended headers, of the next member
    while True:
        block = stream.read(BLOCK)
        if block == bytes(BLOCK):
            return
        header = _header(block)
        if header.type in b"LKxgX":
            if header.size > LONGEST_HEADER:
                raise Damaged("damaged_archive", f"an extended header of {header.size:,} bytes")
            data = stream.read(header.size)
            stream.skip(-header.size % BLOCK)
            told |= _extended(header.type, data)
            continue
        size, name = told.get("size", header.size), told.get("name", header.name)
        kind = "sparse" if told.get("sparse") else TYPES.get(header.type, "not_a_file")
        told = {}
        member = Member(stream.at, size)
        if header.type not in b"123456":  # those have no contents, whatever they say
            try:
                whole = stream.skip(size + -size % BLOCK)
            except Damaged as damaged:
                inside = f"{damaged}, in {readable(name)}"
                raise Damaged(damaged.rule, inside, damaged.value, damaged.threshold) from None
            if not whole:
                raise Damaged("damaged_archive", f"it ends inside {readable(name)}")
        yield name, kind, member


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


def _header(block: bytes) -> Header:
    if len(block) < BLOCK:
        raise Damaged("damaged_archive", "it stops without the mark of its end")
    try:
        stated = _number(block[148:156])
        size = _number(block[124:136])
    except ValueError:
        raise Damaged("damaged_archive", "a member's header makes no sense") from None
    if sum(block[:148]) + sum(block[156:]) + 8 * ord(" ") != stated or size < 0:
        raise Damaged("damaged_archive", "a member's header makes no sense")
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""  # GNU has times there
    return Header(f"{prefix}/{name}" if prefix else name, size, block[156])


def _number(field: bytes) -> int:
    """Octal digits, or with the top bit set base 256, as GNU writes sizes over 8 GB."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    return int(field.split(b"\0")[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _extended(type_: int, data: bytes) -> dict[str, Any]:
    """What an extended header says of the next member; links' targets are of no interest."""
    if type_ == ord("L"):
        return {"name": _text(data)}
    if type_ in b"Kg":
        return {}
    told: dict[str, Any] = {}
    try:
        while data and data[0]:
            length, _ = data.split(b" ", 1)
            record, data = data[: int(length)], data[int(length) :]
            key, value = record[len(length) + 1 : -1].split(b"=", 1)
            if key == b"path":
                told["name"] = _text(value)
            elif key == b"size":
                told["size"] = int(value)
            elif key.startswith(b"GNU.sparse"):
                told["sparse"] = True
            if not record or told.get("size", 0) < 0:
                raise ValueError(record)
    except ValueError:
        raise Damaged("damaged_archive", "an extended header makes no sense") from None
    return told
