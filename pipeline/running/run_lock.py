"""Keep two runs from working on one dataset at once.

The lock is a file beside the dataset, `.NAME.lock`, because the unfinished folder may not exist yet
and is renamed at the end. The system drops the lock when its process ends, however it ends: a file
that a killed run left behind is in nobody's way. On NFS the lock holds between machines.

Source: flock(2); the check after locking is that of lockfile_create(3) and systemd's
base/lock-util: a file that its holder has removed meanwhile locks nothing.
"""

import contextlib
import errno
import fcntl
import os
import socket
from pathlib import Path

from shards.errors import LakhxlError

SUFFIX = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What file systems answer that have no locks, such as Lustre without the option `flock`."""


class RunError(LakhxlError):
    """A run cannot start or resume in the folder it was given."""


class RunLock:
    """Keeps other runs away from a dataset until it is released or this process ends.

    Args:
        folder: where the finished dataset will be; its parent is made if it is missing.

    Attributes:
        note: what to tell the user if the file system has no locks; else empty.

    Raises:
        RunError: another run holds the lock.
        OSError: the lock's file cannot be made, for instance on a read-only file system.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = -1
        self._path = folder.with_name(f".{folder.name}{SUFFIX}")
        self._made_parent = not folder.parent.exists()
        self.note = ""
        while not self._is_current():
            self._close()
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the folder was removed again
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
                self._lock(folder)
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def _lock(self, folder: Path) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 200).decode(errors="replace") or "starting"
            self._close()
            raise RunError(
                f"{folder}: another run is working there ({holder}); wait until it ends, or give "
                "another --name"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                self._close()
                raise
            self.note = (
                f"{folder.parent}: this file system has no locks ({error.strerror}); see to it "
                "that no other run writes the same dataset"
            )

    def _is_current(self) -> bool:
        """Whether the locked file is still the one of that name: its last holder removes it."""
        if self._descriptor < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def release(self) -> None:
        """Let other runs in; removes the lock's file, and the parent folder if that was ours."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self._path.unlink()
                if self._made_parent:
                    self._path.parent.rmdir()  # only if it is empty
            self._close()

    __del__ = release
