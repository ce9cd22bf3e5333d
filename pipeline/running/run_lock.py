"""Keep two runs from working on one dataset at once; see `shards.file_lock`.

The lock is a file beside the dataset, `.NAME.lock`, because the unfinished folder may not exist yet
and is renamed at the end.
"""

import contextlib
from pathlib import Path

from shards.errors import LakhxlError
from shards.file_lock import FileLock

SUFFIX = ".lock"


class RunError(LakhxlError):
    """A run cannot start or resume in the folder it was given."""


class RunLock(FileLock):
    """Keeps other runs away from a dataset until it is released or this process ends.

    Args:
        folder: where the finished dataset will be; its parent is made if it is missing.

    Raises:
        RunError: another run holds the lock.
        OSError: the lock's file cannot be made, for instance on a read-only file system.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._descriptor = folder, -1
        self._made_parent = not folder.parent.exists()
        while self._descriptor < 0:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):  # the folder was removed again
                super().__init__(folder.with_name(f".{folder.name}{SUFFIX}"))

    @property
    def note(self) -> str:
        """What to tell the user if the file system has no locks; else empty."""
        if self.no_locks is None:
            return ""
        return (
            f"{self._folder.parent}: this file system has no locks ({self.no_locks}); see to it "
            "that no other run writes the same dataset"
        )

    def refusal(self, holder: str) -> LakhxlError:
        """See `FileLock.refusal`."""
        return RunError(
            f"{self._folder}: another run is working there ({holder}); wait until it ends, or give "
            "another --name"
        )

    def release(self) -> None:
        """Let other runs in; removes the lock's file, and the parent folder if that was ours."""
        if self.is_held():
            with contextlib.suppress(OSError):  # the folder may be read-only by now
                self.path.unlink()
                if self._made_parent:
                    self.path.parent.rmdir()  # only if it is empty
        self._close()

    __del__ = release
