"""Open files that others may have prepared: plain files only, and JSON of bounded size and depth.

A path in a dataset or a run can be a named pipe, which would be waited for without end, or a
device such as /dev/zero, which never ends; a JSON file can be larger than memory, or nested deeper
than the parser's stack. All of these are refused before anything is read.
"""

import json
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from shards.errors import LakhxlError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
"""What else than a plain file a path can name."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
"""A string, whose brackets do not count (one without an end goes to the end of the text, or its
every quote would be tried as a start); an opening bracket; a closing one."""


def open_plain(path: Path) -> BufferedReader:
    """Open a plain file for reading, without waiting for anybody.

    Raises:
        FileNotFoundError: there is none.
        LakhxlError: it is a folder, a named pipe, a device or a socket.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode  # of what was opened, not of what the name means by now
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise LakhxlError(f"{path} is {kind}; expected a plain file")
    return os.fdopen(descriptor, "rb")


def read_plain(path: Path, most_bytes: int) -> bytes:
    """The content of a plain file of at most `most_bytes`.

    Raises:
        FileNotFoundError: there is none.
        LakhxlError: it is not a plain file, or larger.
    """
    with open_plain(path) as file:
        content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise LakhxlError(f"{path} has {size:,} bytes; expected at most {most_bytes:,}")
    return content


def read_json(path: Path, most_bytes: int, most_depth: int) -> Any:
    """The value in a JSON file.

    Args:
        path: a plain file in UTF-8.
        most_bytes: its size; the value takes up to about 30 times as much memory.
        most_depth: arrays and objects inside each other; `[]` has depth 1.

    Raises:
        FileNotFoundError: there is no such file.
        LakhxlError: it is not a plain file, too large, too deep, or not JSON; the message names
            the path, and does not say what to do.
    """
    try:
        return parse_json(read_plain(path, most_bytes).decode(), most_depth)
    except ValueError as error:
        raise LakhxlError(f"{path} is damaged ({error})") from None


def parse_json(text: str, most_depth: int) -> Any:
    """The value that a JSON text stands for.

    Raises:
        ValueError: it is not JSON, or nested deeper than `most_depth`.
    """
    depth = 0
    for match in _BRACKETS.finditer(text):
        first = match.group()[0]
        depth += (first in "[{") - (first in "]}")
        if depth > most_depth:
            raise ValueError(f"nested deeper than {most_depth} at character {match.start()}")
    return json.loads(text)
