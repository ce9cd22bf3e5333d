"""The lock of a run folder: one training at a time writes it.

The kernel holds the lock (flock) on the open file `lock`, whose content, host and process id, is
for messages only. So the lock of a process that was killed is free, on whatever host it ran;
NFS passes the lock on to its server. A file system that has no locks (ENOLCK and the like, as
Lustre mounted without flock) falls back to the content: a process of this host that is gone, or
the file deleted by hand.

The file is deleted when the training ends; one that is left tells of a process that was killed.
Children must not keep the lock after their parent's death: a fork closes the descriptor, and so
does exec.
"""

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from shards.errors import LakhxlError
from shards.plain_file import parse_json

LOCK = "lock"
"""The file's name."""
MAX_BYTES = 4096
"""Of the lock file's content."""
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What flock says on a file system that has no locks."""


class RunLock:
    """Keeps other trainings out of a run folder while its `with` block runs.

    Args:
        folder: of the run; it must exist.

    Attributes:
        taken_over: a sentence about the training that held the lock and died; None: nobody did.

    Raises:
        LakhxlError: another training holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.taken_over = folder / LOCK, None
        self._folder, self._descriptor = folder, -1
        while not self._take():
            pass  # the file was deleted between opening and locking it: it is another one by now
        os.register_at_fork(after_in_child=self._close)

    def _take(self) -> bool:
        """Open and lock the file; False if its name is another file's by then."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        self._descriptor = os.open(self.path, flags, 0o644)
        holder = self._holder()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            how = "the kernel holds no lock for it any more"
        except BlockingIOError:
            self._close()
            raise LakhxlError(self._refusal(holder)) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            if holder and not _is_dead(holder):
                self._close()
                raise LakhxlError(self._refusal(holder)) from None
            how = "no process of this host has that number any more"
        if not self.is_held():
            self._close()
            return False
        holder = self._holder()  # not the one before the lock was free
        if holder:
            self.taken_over = f"{self._folder}: took over from {_name(holder)}: {how}"
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

    def _refusal(self, holder: dict[str, Any]) -> str:
        other = _name(holder) if holder else "another process"
        return (
            f"{self._folder} is being trained by {other}: wait until it ends, or stop it. If its "
            f"machine is gone, delete {self.path}"
        )

    def is_held(self) -> bool:
        """Whether the folder's lock file is still the one that this process has locked."""
        mine = os.fstat(self._descriptor)
        try:
            now = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)

    def check(self) -> None:
        """Refuse to write any more once the lock file was deleted, by whatever hand.

        Raises:
            LakhxlError: it was; another training may write the folder now.
        """
        if not self.is_held():
            raise LakhxlError(
                f"{self.path} was deleted: another training may write there now, so this one ends "
                "without saving; --resume goes on from the last checkpoint"
            )

    def release(self) -> None:
        """Let others in, and delete the file."""
        if self._descriptor >= 0 and self.is_held():
            self.path.unlink()  # before the lock goes, or it would be another's file
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"


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
