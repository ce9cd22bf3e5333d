"""Read the central directory of a .zip, and its members.

Source: PKWARE APPNOTE 6.3.10.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from pipeline.sources.members import LARGEST, Damaged, Member, Refused
from pipeline.sources.plain_file import read_whole

END = struct.Struct("<4s4H2LH")
END64_AT = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
END_MARK, ENTRY_MARK = b"PK\5\6", b"PK\1\2"
FULL = 0xFFFFFFFF
STORED, DEFLATED = 0, 8


@dataclass(frozen=True)
class Directory:
    """Where the central directory lies, and what its end record says.

    Attributes:
        start, stop: its bytes in the file.
        entries: how many it is stated to have.
        shift: bytes before the archive, by which all of its offsets are too small.
        behind: whether bytes follow the archive.
    """

    start: int
    stop: int
    entries: int
    shift: int
    behind: bool


def zip_members(file: BinaryIO) -> Iterator[tuple[str, str, Member]]:
    """Each member of a zip: name, kind (`file` or a key of archives.KINDS), location.

    The directory is read to its last byte, whatever number of entries is stated.

    Raises:
        Damaged: the archive cannot be read further, or may hold more than its directory says.
    """
    directory = _central_directory(file)
    file.seek(directory.start)
    at, read = directory.start, 0
    while at < directory.stop:
        name, kind, member, length = _entry(file, directory)
        at, read = at + length, read + 1
        if at > directory.stop:
            raise Damaged("damaged_archive", "its central directory is damaged")
        yield name, kind, member
    if (read - directory.entries) % (1 << 16):  # old programs count to 65,535 and start over
        raise Damaged("damaged_archive", f"{read:,} entries, {directory.entries:,} are stated")
    if directory.shift or directory.behind:
        raise Damaged("damaged_archive", "other bytes stand before or behind it: not read")


def _entry(file: BinaryIO, directory: Directory) -> tuple[str, str, Member, int]:
    """The next entry of the central directory, and its length in bytes."""
    head = file.read(CENTRAL.size)
    if len(head) < CENTRAL.size or head[:4] != ENTRY_MARK:
        raise Damaged("damaged_archive", "its central directory is damaged")
    _, made, _, flags, method, _, _, crc, packed, full, *lengths, _, _, outer, offset = (
        CENTRAL.unpack(head)
    )
    name_length, extra_length, comment_length = lengths
    rest = name_length + extra_length + comment_length
    texts = file.read(rest)
    if FULL in (full, packed, offset):
        extra = texts[name_length : name_length + extra_length]
        full, packed, offset = _wide(extra, full, packed, offset)
    offset += directory.shift
    name = texts[:name_length].decode("utf-8" if flags & 0x800 else "cp437", "surrogateescape")
    length = CENTRAL.size + rest
    if full > LARGEST or offset + LOCAL.size + packed > directory.start:
        return name, "damaged_member", Member(0, 0), length
    kind = _kind(made >> 8, outer >> 16, flags, method)
    return name, kind, Member(offset, full, packed, method, crc), length


def _central_directory(file: BinaryIO) -> Directory:
    """Find the central directory, from the end of the file."""
    size = file.seek(0, os.SEEK_END)
    tail_at = max(size - (1 << 16) - END.size - END64_AT.size, 0)
    file.seek(tail_at)
    tail = file.read()
    found, behind = _end_record(tail)
    *_, entries, length, at, _ = END.unpack_from(tail, found)
    stop = tail_at + found
    before = found - END64_AT.size
    if before >= 0 and tail[before : before + 4] == b"PK\6\7":
        _, _, end_at, _ = END64_AT.unpack_from(tail, before)
        for place in (end_at, tail_at + before - END64.size):
            data = _bytes_at(file, place, END64.size, size)
            if len(data) == END64.size and data[:4] == b"PK\6\6":
                *_, entries, length, at = END64.unpack(data)
                stop = place
                break
    places = (stop - length, at)  # they differ if bytes stand before the archive
    marked = [place for place in places if _bytes_at(file, place, 4, size) == ENTRY_MARK]
    if not length and not entries:
        marked = [stop]
    if not marked or marked[0] < at:
        raise Damaged("damaged_archive", "its central directory is not where it is stated to be")
    return Directory(marked[0], marked[0] + length, entries, marked[0] - at, behind)


def _end_record(tail: bytes) -> tuple[int, bool]:
    """Position of the end record, and whether anything but zeros follows its comment.

    A comment may hold the mark of an end record: the one whose comment ends with the file is
    right; if there is none, the last.
    """
    last = found = tail.rfind(END_MARK, 0, max(len(tail) - END.size + len(END_MARK), 0))
    while found >= 0:
        comment = END.unpack_from(tail, found)[-1]
        if found + END.size + comment == len(tail):
            return found, False
        found = tail.rfind(END_MARK, 0, found)
    if last < 0:
        raise Damaged("damaged_archive", "it has no central directory: not a zip, or cut short")
    comment = END.unpack_from(tail, last)[-1]
    return last, bool(tail[last + END.size + comment :].strip(b"\0"))


def _bytes_at(file: BinaryIO, at: int, length: int, size: int) -> bytes:
    """Bytes of a file that has `size`; none if they do not lie in it."""
    if not 0 <= at <= size - length:
        return b""
    file.seek(at)
    return file.read(length)


def _wide(extra: bytes, full: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Take sizes and offsets over 4 GB from the zip64 extra field."""
    values = [full, packed, offset]
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field, at = extra[at + 4 : at + 4 + length], at + 4 + length
        if kind == 1:
            for n, value in enumerate(values):
                if value == FULL and len(field) >= 8:
                    values[n], field = int.from_bytes(field[:8], "little"), field[8:]
            break
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
    data = read_whole(file, size)
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
