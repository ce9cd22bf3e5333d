"""A file that one process at a time holds, whatever becomes of the others.

The kernel holds the lock (flock) on the open file, whose content, host and process id, is
for messages only. So the lock of a process that was killed is free, on whatever host it ran;
NFS passes the lock on to its server. A file system that has no locks (ENOLCK and the like, as
Lustre mounted without flock) falls back to the content: a process of this host that is gone, or
the file deleted by hand.

The file is deleted when its holder lets go; one that is left tells of a process that was killed.
Children must not keep the lock after their parent's death: a fork closes the descriptor, and so
does exec.

Source: flock(2); the check after locking is that of lockfile_create(3) and systemd's
base/lock-util: a file that its holder has removed meanwhile locks nothing.
"""

import errno
import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path
from typing import Any, Self

from shards.errors import LakhxlError
from shards.plain_file import parse_json

MAX_BYTES = 4096
"""Of the lock file's content."""
CHILD_SECONDS = 2.0
"""For a child that was forked just before its parent died to close the descriptor."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock says on a file system that has no locks."""


class FileLock:
    """Holds a lock file until it is released, deleted, or this process ends.

    Args:
        path: of the file; its folder must exist.

    Attributes:
        path: of the file.
        taken_over: the process that held the lock and died, and how that is known; or None.
        no_locks: what the file system says if it has no locks; None if it has.

    Raises:
        LakhxlError: another process holds the lock; as `refusal` puts it.
        FileNotFoundError: its folder is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.taken_over: str | None = None
        self.no_locks: str | None = None
        self._descriptor = -1
        latest = time.monotonic() + CHILD_SECONDS
        while not self._take(wait_for_child=time.monotonic() < latest):
            pass  # the file was deleted between opening and locking it: it is another one by now
        mine = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: (lock := mine()) and lock._close())

    def refusal(self, holder: str) -> LakhxlError:
        """The error of a lock that another process holds, such as `process 7 on host`."""
        return LakhxlError(f"{self.path} is held by {holder}")

    def _take(self, *, wait_for_child: bool) -> bool:
        """Open and lock the file; False if it is to be tried again.

        That is where the file's name is another file's by then; and, if wanted, where the holder is
        dead and only a child of it can hold the lock, until it closes the descriptor.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags, 0o644)
        holder = self._holder()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            how = "the kernel holds no lock for it any more"
        except BlockingIOError:
            self._close()
            if wait_for_child and holder and _is_dead(holder):
                time.sleep(CHILD_SECONDS / 100)
                return False
            raise self.refusal(_name(holder)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self._close()
                raise
            if holder and not _is_dead(holder):
                self._close()
                raise self.refusal(_name(holder)) from None
            self.no_locks = error.strerror
            how = "no process of this host has that number any more"
        if not self.is_held():
            self._close()
            return False
        if holder := self._holder():  # not the one before the lock was free
            self.taken_over = f"{_name(holder)}: {how}"
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "since": int(time.time())}
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(mine).encode() + b"\n", 0)
        return True

    def _holder(self) -> dict[str, Any]:
        """The content of the file; empty if it says nothing."""
        try:
            found = parse_json(os.pread(self._descriptor, MAX_BYTES, 0).decode(), 1)
        except ValueError:
            return {}
        is_whole = isinstance(found, dict) and type(found.get("pid")) is int
        return found if is_whole and isinstance(found.get("host"), str) else {}

    def is_held(self) -> bool:
        """Whether the file of that name is still the one that this process has locked."""
        if self._descriptor < 0:
            return False
        try:
            now = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(self._descriptor))

    def release(self) -> None:
        """Let others in, and delete the file."""
        if self.is_held():
            self.path.unlink()  # before the lock goes, or it would be another's file
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}" if holder else "another process"


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether a holder is known to be gone; never of another host's."""
    if holder["host"] != socket.gethostname() or holder["pid"] <= 0:
        return False
    try:
        os.kill(holder["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
