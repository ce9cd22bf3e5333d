"""Read the central directory of a .zip, and its members.

Source: PKWARE APPNOTE 6.3.10.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipeline.sources.members import Damaged, Member, Refused

END = struct.Struct("<4s4H2LH")
END64_AT = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
FULL = 0xFFFFFFFF
STORED, DEFLATED = 0, 8


def zip_members(file: BinaryIO) -> Iterator[tuple[str, str, Member]]:
    """Each member of a zip: name, kind (`file` or a key of archives.KINDS), location.

    Raises:
        Damaged: the archive cannot be read further.
    """
    at, entries = _central_directory(file)
    file.seek(at)
    for _ in range(entries):
        yield _entry(file)


def _entry(directory: BinaryIO) -> tuple[str, str, Member]:
    """The next entry of the central directory."""
    head = directory.read(CENTRAL.size)
    if len(head) < CENTRAL.size or head[:4] != b"PK\1\2":
        raise Damaged("damaged_archive", "its central directory is damaged")
    _, made, _, flags, method, _, _, crc, packed, full, *lengths, _, _, outer, offset = (
        CENTRAL.unpack(head)
    )
    name_length, extra_length, comment_length = lengths
    raw = directory.read(name_length)
    extra = directory.read(extra_length)
    directory.seek(comment_length, os.SEEK_CUR)
    full, packed, offset = _wide(extra, full, packed, offset)
    name = raw.decode("utf-8" if flags & 0x800 else "cp437", "surrogateescape")
    kind = _kind(made >> 8, outer >> 16, flags, method)
    return name, kind, Member(offset, full, packed, method, crc)


def _central_directory(file: BinaryIO) -> tuple[int, int]:
    """The position of the central directory, and its number of entries."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(size - (1 << 16) - END.size, 0)
    file.seek(tail_at)
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < END.size:
        raise Damaged("damaged_archive", "it has no central directory: not a zip, or cut short")
    *_, entries, length, at, _ = END.unpack_from(tail, found)
    if FULL in (length, at) or entries == 0xFFFF:
        back = tail_at + found - END64_AT.size
        if back >= 0:
            file.seek(back)
            mark, _, end_at, _ = END64_AT.unpack(file.read(END64_AT.size))
            if mark == b"PK\6\7":
                file.seek(end_at)
                data = file.read(END64.size)
                if len(data) == END64.size and data[:4] == b"PK\6\6":
                    *_, entries, length, at = END64.unpack(data)
    if at + length > size or entries * CENTRAL.size > length:
        raise Damaged("damaged_archive", "its central directory lies outside the file: cut short")
    return at, entries


def _wide(extra: bytes, full: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Take sizes and offsets over 4 GB from the zip64 extra field."""
    values = [full, packed, offset]
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1:
            for n, value in enumerate(values):
                if value == FULL and len(field) >= 8:
                    values[n], field = int.from_bytes(field[:8], "little"), field[8:]
    full, packed, offset = values
    return full, packed, offset


def _kind(system: int, mode: int, flags: int, method: int) -> str:
    """`file`, or the reason a member is refused; `mode` is valid if the zip was made on Unix."""
    form = mode & 0o170000 if system == 3 else 0
    if form == 0o120000:
        return "link"
    if form not in (0, 0o100000):
        return "not_a_file"
    if flags & 1:
        return "encrypted"
    return "file" if method in (STORED, DEFLATED) else "unknown_method"


def exactly(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes of an unbuffered file."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    if len(data) < size:
        raise Refused("damaged_member", "the archive ends inside it")
    return data


def unzipped(file: BinaryIO, member: Member, max_size: int) -> bytes:
    """The contents of a zip member, checked against its stated size and checksum."""
    file.seek(member.offset)
    head = exactly(file, LOCAL.size)
    if head[:4] != b"PK\3\4":
        raise Refused("damaged_member", "it is not where the central directory says")
    *_, name_length, extra_length = LOCAL.unpack(head)
    file.seek(name_length + extra_length, os.SEEK_CUR)
    packed = exactly(file, member.packed or 0)
    data = packed
    if member.method == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, max_size + 1)
        except zlib.error as error:
            raise Refused("damaged_member", f"it cannot be decompressed: {error}") from None
    if len(data) > max_size:
        raise Refused("too_large", "larger than max_file_size", len(data), max_size)
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise Refused("damaged_member", "its bytes differ from the stated size or checksum")
    return data
