"""Hand out the tasks of slices once their files can be read.

Loose files and plain archives can be read at once. A compressed .tar can only be read from front
to back, by one reader. That reader is a thread of the parent: it goes through the archive once
and unpacks the files of each slice into a spool file next to the unfinished dataset. The spool
file is deleted when its slice is done. The reader pauses while too many bytes or slices are
spooled, so an archive of any size needs limited disk space and little memory. (zlib in Python
cannot build or use an index of restart points, so workers cannot unpack for themselves.
Unpacking takes 0.13 ms per file and a worker 1.7 ms, so one reader feeds a dozen workers.)

A resumed run reads the archive again up to the last slice it needs, and spools only those.
"""

import queue
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from pipeline.running.messages import RunContext, SliceTask
from pipeline.sources.listing import Slice
from pipeline.sources.members import Damaged, Member, Refused
from pipeline.sources.tars import Stream, open_tar


def spool_path(folder: Path, number: int) -> Path:
    """Path of the spool file with the unpacked files of a slice."""
    return folder / f"spool-{number:05d}"


class SpoolQuota:
    """Limits how much may be spooled at once; the reader waits here until spools are deleted."""

    def __init__(self, max_bytes: int, max_slices: int) -> None:
        self._max_bytes, self._max_slices = max_bytes, max_slices
        self._sizes: dict[int, int] = {}
        self._changed = threading.Condition()
        self._closed = False

    def acquire(self, number: int, size: int) -> bool:
        """Wait until a slice of `size` bytes fits or is the only one; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(size))
            self._sizes[number] = size
            return not self._closed

    def _fits(self, size: int) -> bool:
        if not self._sizes:
            return True
        total = sum(self._sizes.values()) + size
        return len(self._sizes) < self._max_slices and total <= self._max_bytes

    def release(self, number: int) -> None:
        """The spool file of a slice is gone."""
        with self._changed:
            self._sizes.pop(number, None)
            self._changed.notify()

    def close(self) -> None:
        """Stop waiting for space."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class Feed:
    """Hands out the tasks of slices, each once its files can be read.

    Args:
        slices: what to process, in order; a task is handed out as is.
        context: of the run.
        max_bytes, max_slices: how much may be spooled at once.
    """

    def __init__(
        self,
        slices: Iterable[Slice | SliceTask],
        context: RunContext,
        *,
        max_bytes: int,
        max_slices: int,
    ) -> None:
        self._context = context
        self._direct: deque[Slice | SliceTask] = deque()
        self._streamed: list[Slice] = []
        for each in slices:
            if isinstance(each, Slice) and each.streamed:
                self._streamed.append(each)
            else:
                self._direct.append(each)
        self._spooled = {slice_.number for slice_ in self._streamed}
        self._quota = SpoolQuota(max_bytes, max_slices)
        self._ready: queue.SimpleQueue[SliceTask | Exception | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        if self._streamed:
            self._reader = threading.Thread(target=self._read_archives, daemon=True)

    def __enter__(self) -> "Feed":
        if self._reader is not None:
            self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._quota.close()
        if self._reader is not None:
            self._reader.join()

    @property
    def exhausted(self) -> bool:
        """Whether every task has been handed out."""
        return not self._direct and self._reader is None

    def take(self) -> SliceTask | None:
        """Return a task that can start now; None if there is none yet, or none is left.

        Raises:
            OSError: the archive cannot be opened or read, or its files cannot be spooled.
        """
        if self._reader is not None:
            try:
                task = self._ready.get_nowait()
            except queue.Empty:
                pass
            else:
                if isinstance(task, Exception):
                    raise task
                if task is not None:
                    return task
                self._reader.join()
                self._reader = None
        if self._direct:
            each = self._direct.popleft()
            return each if isinstance(each, SliceTask) else self._context.task(each, each.files())
        return None

    def done(self, number: int) -> None:
        """The files of a slice are not needed any more."""
        if number in self._spooled:  # a Ray node must not delete the parent's spool
            spool_path(self._context.folder, number).unlink(missing_ok=True)
        self._quota.release(number)

    def _read_archives(self) -> None:
        """Run the reader's thread: go through each archive once."""
        try:
            for archive, slices in groupby(self._streamed, lambda slice_: slice_.part.archive):
                assert archive is not None, "only archives are streamed"
                with open_tar(archive) as stream:
                    members = _MembersAhead(stream)
                    for slice_ in slices:
                        if not self._spool(members, slice_):
                            return
            self._ready.put(None)
        except Exception as error:  # noqa: BLE001 (raised again by `take`)
            self._ready.put(error)

    def _spool(self, members: "_MembersAhead", slice_: Slice) -> bool:
        """Unpack the files of one slice end to end; False if the feed is closed."""
        files = slice_.files()
        size = sum(file.member.size for file in files if file.member)
        if not self._quota.acquire(slice_.number, size):
            return False
        path = spool_path(self._context.folder, slice_.number)
        spooled, offset = [], 0
        with path.open("wb") as out:
            for file in files:
                if file.member is not None:
                    data = members.read(file.member)
                    if isinstance(data, Refused):
                        file = replace(file, member=None, refused=data)
                    else:
                        file = replace(file, path=str(path), member=Member(offset, len(data)))
                        offset += out.write(data)
                spooled.append(file)
        self._ready.put(self._context.task(slice_, spooled))
        return True


class _MembersAhead:
    """Reads the members of a stream in order; where the archive has changed, refuses the rest."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._refused: Refused | None = None

    def read(self, member: Member) -> bytes | Refused:
        if self._refused is None:
            try:
                self._stream.skip(member.offset - self._stream.at)
                data = self._stream.read(member.size)
                if len(data) == member.size:
                    return data
                why = "it is shorter"
            except Damaged as damaged:
                why = str(damaged)
            detail = f"the archive has changed since it was listed: {why}"
            self._refused = Refused("cannot_read", detail)
        return self._refused
