"""Open and read a plain file; what was one when it was listed may be anything by now."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from pipeline.sources.members import Refused

MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN)
"""System errors that no file is to blame for: they end the run."""


@contextmanager
def open_plain(path: str) -> Iterator[FileIO]:
    """Open a plain file, unbuffered; errors of the system inside the block refuse it too.

    Raises:
        Refused: it is a link, not a plain file, or cannot be opened or read.
        OSError: a system error that is not the file's fault; see MACHINE.
    """
    rule = "cannot_open"
    try:
        # A pipe or device would block on opening; a link may lead anywhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Refused("not_a_file", "not a plain file")
            rule = "cannot_read"
            with FileIO(descriptor, closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in MACHINE:
            raise
        if error.errno == errno.ELOOP or Path(path).is_symlink():
            raise Refused("link", "a link is not followed") from None
        raise Refused(rule, error.strerror or str(error)) from None


def read_whole(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, or as many as there are; one unbuffered read may give fewer."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
