"""The lock of a run folder: one training at a time writes it; see `shards.file_lock`."""

from pathlib import Path

from shards.errors import LakhxlError
from shards.file_lock import FileLock

LOCK = "lock"
"""The file's name."""


class RunLock(FileLock):
    """Keeps other trainings out of a run folder while its `with` block runs.

    Args:
        folder: of the run; it must exist.

    Raises:
        LakhxlError: another training holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / LOCK)

    def refusal(self, holder: str) -> LakhxlError:
        """See `FileLock.refusal`."""
        return LakhxlError(
            f"{self.path.parent} is being trained by {holder}: wait until it ends, or stop it. If "
            f"its machine is gone, delete {self.path}"
        )

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
