"""Slices whose files can be read now: at once where they lie by themselves, or once unpacked.

A compressed .tar can only be read from front to back, and by one reader. That reader is a
thread of the parent: it goes through the archive once and writes the files of each slice that
is still to do into a spool, one file beside the unfinished dataset, which is gone when its slice
is done. It waits where too many bytes or slices lie ready, so an archive of any size takes up a
bounded piece of disk and next to no memory. (An index of points to restart from would let
workers unpack for themselves, but zlib, as Python has it, can neither make nor use one; and
unpacking takes 0.13 ms a file where a worker takes 1.7, so one reader feeds a dozen workers.)

A run that goes on reads the archive again up to the last slice it needs, and spools those only.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from pipeline.running.tasks import SliceJob
from pipeline.sources.listing import Slice, SourceFile
from pipeline.sources.members import Damaged, Member
from pipeline.sources.tars import Stream, open_tar


def spool_path(folder: Path, number: int) -> Path:
    """Where the unpacked files of a slice lie."""
    return folder / f"spool-{number:05d}"


class Room:
    """How much may lie in spools at once; the reader waits for room, the pool makes it."""

    def __init__(self, most_bytes: int, most_slices: int) -> None:
        self._most_bytes, self._most_slices = most_bytes, most_slices
        self._held: dict[int, int] = {}
        self._changed = threading.Condition()
        self._closed = False

    def take(self, number: int, size: int) -> bool:
        """Wait until a slice of `size` bytes fits, or is the only one; False once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fits(size))
            self._held[number] = size
            return not self._closed

    def _fits(self, size: int) -> bool:
        held = sum(self._held.values())
        few = len(self._held) < self._most_slices and held + size <= self._most_bytes
        return few or not self._held

    def give_back(self, number: int) -> None:
        """A slice's spool is gone."""
        with self._changed:
            self._held.pop(number, None)
            self._changed.notify()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()


class Feed:
    """Hands out the jobs of slices, each when its files can be read.

    Args:
        slices: what is to do, in order.
        job: makes a slice and its files into a job.
        folder: the unfinished dataset.
        most_bytes, most_slices: what may lie in spools at once.
    """

    def __init__(
        self,
        slices: Iterable[Slice],
        job: Callable[[Slice, Sequence[SourceFile]], SliceJob],
        folder: Path,
        *,
        most_bytes: int,
        most_slices: int,
    ) -> None:
        slices = list(slices)
        self._job, self._folder = job, folder
        self._direct = deque(one for one in slices if not one.streamed)
        self._streamed = [one for one in slices if one.streamed]
        self._spooled = {one.number for one in self._streamed}
        self._room = Room(most_bytes, most_slices)
        self._ready: queue.SimpleQueue[SliceJob | Exception | None] = queue.SimpleQueue()
        self._reader: threading.Thread | None = None
        if self._streamed:
            self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Feed":
        if self._reader is not None:
            self._reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._room.close()
        if self._reader is not None:
            self._reader.join()

    @property
    def exhausted(self) -> bool:
        """Whether every job has been handed out."""
        return not self._direct and self._reader is None

    def take(self) -> SliceJob | None:
        """A job that can begin now; None where none can yet, or there is none any more.

        Raises:
            OSError: the archive cannot be read, or its files cannot be written beside the dataset.
        """
        if self._reader is not None:
            try:
                job = self._ready.get_nowait()
            except queue.Empty:
                pass
            else:
                if isinstance(job, Exception):
                    raise job
                if job is not None:
                    return job
                self._reader.join()
                self._reader = None
        if self._direct:
            slice_ = self._direct.popleft()
            return self._job(slice_, slice_.files())
        return None

    def done(self, number: int) -> None:
        """The files of a slice will not be asked for any more."""
        if number in self._spooled:  # on a cluster a spool is not the node's to remove
            spool_path(self._folder, number).unlink(missing_ok=True)
        self._room.give_back(number)

    def _read(self) -> None:
        """The reader's thread: through each archive once."""
        try:
            for archive, slices in groupby(self._streamed, lambda one: one.part.archive):
                with open_tar(archive) as stream:
                    for slice_ in slices:
                        if not self._spool(stream, slice_):
                            return
            self._ready.put(None)
        except Exception as error:  # noqa: BLE001 (raised again by `take`)
            self._ready.put(error)

    def _spool(self, stream: Stream, slice_: Slice) -> bool:
        """Write one slice's files end to end; False where nobody wants them any more."""
        files = slice_.files()
        size = sum(file.member.size for file in files if file.member)
        if not self._room.take(slice_.number, size):
            return False
        path = spool_path(self._folder, slice_.number)
        spooled, at = [], 0
        with path.open("wb") as out:
            for file in files:
                if file.member is not None:
                    out.write(_next(stream, file))
                    member = Member(at, file.member.size)
                    at += file.member.size
                    file = replace(file, path=str(path), member=member)
                spooled.append(file)
        self._ready.put(self._job(slice_, spooled))
        return True


def _next(stream: Stream, file: SourceFile) -> bytes:
    """A file's bytes, which lie ahead in the stream."""
    try:
        stream.skip(file.member.offset - stream.at)
        data = stream.read(file.member.size)
    except Damaged as damaged:
        raise OSError(f"{file.path}: {damaged}; it has changed since it was listed") from damaged
    if len(data) < file.member.size:
        raise OSError(f"{file.path} has changed since it was listed")
    return data
