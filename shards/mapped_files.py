"""Memory-map the files of a dataset, which may come from somebody else.

A map keeps no file open, so a dataset may have more files than a process may open. Only plain
files are opened: never a pipe, which could wait for ever, a device or a link. Headers are compared
with what they have to say and not parsed, or parsed only where they are short.
"""

import os
import re
import stat
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa

from shards.errors import ShardError
from shards.layout import FORMAT_VERSION, INDEX

ARROW_MAGIC = b"ARROW1\0\0"
MAX_ARROW_METADATA = 1 << 20
"""Bytes in the header of a table or of one of its batches; 60 columns take 3,400."""
NPY_HEADER = re.compile(rb"\x93NUMPY\x01\x00(..)(.*?) *\n", re.DOTALL)


def is_plain_file(path: Path) -> bool:
    """Whether a path is a file itself: no folder, pipe or device, and no link, not even to one."""
    return stat.S_ISREG(path.lstat().st_mode)


def check_plain(path: Path) -> None:
    """Refuse what is not a plain file.

    Raises:
        FileNotFoundError: there is nothing.
        ShardError: it is something else.
    """
    if not is_plain_file(path):
        raise ShardError(f"{path} is not a plain file: the dataset is damaged, make it again")


def map_file(path: Path) -> pa.Buffer:
    """Memory-map a whole plain file.

    Raises:
        ShardError: it is missing or not a plain file.
    """
    try:
        check_plain(path)
        with pa.memory_map(os.fsencode(path)) as file:
            return file.read_buffer()
    except FileNotFoundError:
        raise ShardError(f"{path} is missing: the dataset is incomplete, make it again") from None


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Memory-map an Arrow file; refused where it has another schema, or values that are not valid.

    The file's messages are read in order and its footer is not, so that each can be looked at
    before it is parsed: a compressed one is refused, for it could unpack to any size.
    """
    source = pa.BufferReader(map_file(path))
    try:
        if source.read(len(ARROW_MAGIC)) != ARROW_MAGIC:
            raise ShardError(f"{path} is damaged (not an Arrow file): make the dataset again")
        messages = pa.ipc.MessageReader.open_stream(source)
        found = pa.ipc.read_schema(_checked(messages.read_next_message(), path))
        if not found.equals(schema):
            raise ShardError(f"{path} has other columns than format version {FORMAT_VERSION}")
        batches = [pa.ipc.read_record_batch(_checked(message, path), found) for message in messages]
        table = pa.Table.from_batches(batches, found)
        table.validate(full=True)
    except (pa.ArrowException, OSError, EOFError, StopIteration, struct.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ShardError(f"{path} is damaged ({reason}): make the dataset again") from None
    return table


def _checked(message: pa.ipc.Message, path: Path) -> pa.ipc.Message:
    """Refuse a message whose header is long or that is compressed."""
    if message.metadata.size > MAX_ARROW_METADATA:
        raise ShardError(f"{path} has a header of {message.metadata.size:,} bytes: damaged")
    if message.type == "record batch" and _is_compressed(message.metadata):
        raise ShardError(f"{path} is compressed; a dataset's tables are not: make it again")
    return message


def _is_compressed(header: pa.Buffer) -> bool:
    """Whether a record batch has the field `compression`, which pyarrow does not show.

    Source: FlatBuffers internals, tables; Apache Arrow, format/Message.fbs: `header` is field 2 of
    Message, `compression` field 3 of RecordBatch.
    """
    message = struct.unpack_from("<I", header)[0]
    batch = _field(header, message, 2)
    batch += struct.unpack_from("<I", header, batch)[0]
    return _field(header, batch, 3) != batch


def _field(header: pa.Buffer, table: int, number: int) -> int:
    """Where field `number` of a FlatBuffers table lies; at the table itself where it is absent."""
    vtable = table - struct.unpack_from("<i", header, table)[0]
    size = struct.unpack_from("<H", header, vtable)[0]
    at = 4 + 2 * number
    return table + (struct.unpack_from("<H", header, vtable + at)[0] if at < size else 0)


def map_array(path: Path, dtype: np.dtype, length: int) -> np.ndarray:
    """Memory-map one array of a shard, read-only; refused where its type or length is another."""
    data = map_file(path)
    header = NPY_HEADER.match(memoryview(data)[: 1 << 16])
    size = header.end() if header else 0
    if header is None or struct.unpack("<H", header[1])[0] != size - 10 or size % 64:
        raise ShardError(f"{path} is damaged (no header of an .npy file): make the dataset again")
    described = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': ({length},), }}"
    if header[2] != described.encode():
        found = header[2].decode("ascii", "replace")
        raise ShardError(
            f"{path} holds {found}, but {INDEX} expects {described}: the dataset is damaged, make "
            "it again"
        )
    if data.size != size + length * dtype.itemsize:
        raise ShardError(f"{path} is damaged ({data.size:,} bytes): make the dataset again")
    return np.frombuffer(data, dtype, length, size)
