"""Prepares batches in a thread while the step before them computes.

The thread copies what the sampler names from the memory maps into a few fixed buffers, pinned if a
GPU copies from them, so nothing is allocated while training. The sampler alone decides what a batch
holds, so how far the thread is ahead changes no number.
"""

import queue
import threading
import time
import weakref
from collections.abc import Iterator
from typing import NamedTuple

import torch

from trainer.data.batches import Batch, BatchBuffer, Blocks, widened
from trainer.data.sampler import ContiguousBatchSampler

BUFFERS = 2
"""One is read while the other is filled, which takes a hundredth of the time. More would bridge the
moment in which an epoch is planned, but the thread is up to a sixth slower with four: less of them
stays in the caches."""

FETCH_TOKENS, FETCH_LENGTH = 1 << 16, 1 << 12
"""Tokens of a buffer, and of each lane, at least. Looking up a short block takes as long as a long
one, so the thread fetches several steps together."""

Position = dict[str, int]


class _Slot(NamedTuple):
    """A buffer, and the event after which the GPU no longer reads it; None without a GPU."""

    buffer: BatchBuffer
    is_read: torch.cuda.Event | None


class _Fetched(NamedTuple):
    """Consecutive steps in a buffer: the position of the first, and how many."""

    slot: _Slot
    position: Position
    steps: int


Ready = _Fetched | BaseException
Free = _Slot | None


class Loader(Iterator[tuple[Batch, Position]]):
    """Batches from the sampler's position on, epoch after epoch, without end.

    Each comes with the sampler's position after it, to resume from: the sampler itself is ahead.

    Args:
        sampler: with tail wrap or drop; the loader's own from now on.
        blocks: of the same songs.
        device: where the batches go.
        lanes: which of the sampler's lanes, if several devices share them; None: all.

    Attributes:
        waited: seconds that `next` has waited for the thread, in total.
    """

    def __init__(
        self,
        sampler: ContiguousBatchSampler,
        blocks: Blocks,
        device: torch.device,
        *,
        lanes: slice | None = None,
    ) -> None:
        lanes = lanes or slice(None)
        count = len(range(sampler.batch_size)[lanes])
        on_gpu = device.type == "cuda"
        self.waited = 0.0
        self._device, self._block_size = device, blocks.block_size
        self._free: queue.SimpleQueue[Free] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Ready] = queue.SimpleQueue()
        length = max(FETCH_LENGTH, FETCH_TOKENS // count)
        steps = max(1, length // blocks.block_size)
        for _ in range(BUFFERS):
            event = torch.cuda.Event() if on_gpu else None
            self._free.put(_Slot(blocks.buffer(count, blocks=steps, pinned=on_gpu), event))
        self._batches: Iterator[tuple[Batch, Position]] = iter(())
        thread = threading.Thread(
            target=_prepare,
            args=(sampler, blocks, lanes, steps, self._free, self._ready),
            name="loader",
            daemon=True,
        )
        thread.start()
        # a finalizer, so that the thread also ends if the loader is garbage-collected
        self.close = weakref.finalize(self, _stop, self._free, thread)

    def __next__(self) -> tuple[Batch, Position]:
        """The next batch, on the device, and the position after it.

        Raises:
            ShardError: the dataset is damaged.
        """
        batch = next(self._batches, None)
        if batch is None:
            self._batches = _batches(self._wait(), self._device, self._block_size, self._free)
            batch = next(self._batches)
        return batch

    def _wait(self) -> _Fetched:
        start = time.perf_counter()
        ready = self._ready.get()
        self.waited += time.perf_counter() - start
        if isinstance(ready, BaseException):
            raise ready
        return ready


def _batches(
    fetched: _Fetched, device: torch.device, block_size: int, free: queue.SimpleQueue[Free]
) -> Iterator[tuple[Batch, Position]]:
    """The steps in a buffer, on a device, with the position after each; then frees the buffer."""
    slot, position, steps = fetched
    buffer = slot.buffer
    columns = [column.to(device, non_blocking=True) for column in (buffer.narrow, buffer.wide)]
    if slot.is_read is not None:
        slot.is_read.record()
    for step in range(steps):
        here = slice(step * block_size, (step + 1) * block_size)
        batch = widened(*(column[:, :, here] for column in columns))
        yield batch, {**position, "step": position["step"] + step + 1}
    free.put(slot)


def _stop(free: queue.SimpleQueue[Free], thread: threading.Thread) -> None:
    """Stop the thread and wait: freeing tensors while Python shuts down aborts the process."""
    free.put(None)
    if thread is not threading.current_thread():  # garbage is collected in any thread
        thread.join()


def _prepare(
    sampler: ContiguousBatchSampler,
    blocks: Blocks,
    lanes: slice,
    steps: int,
    free: queue.SimpleQueue[Free],
    ready: queue.SimpleQueue[Ready],
) -> None:
    """The thread's work: fill free buffers until one is None. Errors are raised in `__next__`."""
    try:
        while True:
            for position, count, spans in sampler.iter_step_ranges(steps):
                slot = free.get()
                if slot is None:
                    return
                if slot.is_read is not None:
                    slot.is_read.synchronize()
                blocks.fill(slot.buffer, spans[lanes])
                ready.put(_Fetched(slot, position, count))
    except BaseException as error:  # noqa: BLE001 - raised again in __next__
        ready.put(error)
