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

from trainer.data.batches import Batch, BatchBuffer, Blocks
from trainer.data.sampler import ContiguousBatchSampler

AHEAD = 4
"""Batches that may be ready. The thread is a hundred times as fast as a step; this many bridge the
time in which a shard is mapped or an epoch planned."""

FETCH_TOKENS = 1 << 16
"""Tokens that are copied from the memory maps at once, or one batch if that is more. Looking up a
short block takes as long as a long one, so the thread fetches many steps together."""


class _Slot(NamedTuple):
    """A buffer, and the event after which the GPU no longer reads it; None without a GPU."""

    buffer: BatchBuffer
    is_read: torch.cuda.Event | None


Position = dict[str, int]
Ready = tuple[_Slot, Position] | BaseException
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
        self._device = device
        self._free: queue.SimpleQueue[Free] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Ready] = queue.SimpleQueue()
        for _ in range(AHEAD):
            event = torch.cuda.Event() if on_gpu else None
            self._free.put(_Slot(blocks.buffer(count, pinned=on_gpu), event))
        steps = max(1, FETCH_TOKENS // (count * blocks.block_size))
        fetched = blocks.buffer(count, blocks=steps)
        thread = threading.Thread(
            target=_prepare,
            args=(sampler, blocks, lanes, fetched, self._free, self._ready),
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
        start = time.perf_counter()
        ready = self._ready.get()
        self.waited += time.perf_counter() - start
        if isinstance(ready, BaseException):
            raise ready
        slot, position = ready
        batch = slot.buffer.to(self._device)
        if slot.is_read is not None:
            slot.is_read.record()
        self._free.put(slot)
        return batch, position


def _stop(free: queue.SimpleQueue[Free], thread: threading.Thread) -> None:
    """Stop the thread and wait: freeing tensors while Python shuts down aborts the process."""
    free.put(None)
    if thread is not threading.current_thread():  # garbage is collected in any thread
        thread.join()


def _prepare(
    sampler: ContiguousBatchSampler,
    blocks: Blocks,
    lanes: slice,
    fetched: BatchBuffer,
    free: queue.SimpleQueue[Free],
    ready: queue.SimpleQueue[Ready],
) -> None:
    """The thread's work: fill free buffers until one is None. Errors are raised in `__next__`."""
    try:
        steps = fetched.tensor.shape[2] // blocks.block_size
        while True:
            for position, count, spans in sampler.iter_step_ranges(steps):
                blocks.fill(fetched, spans[lanes])
                for step in range(count):
                    slot = free.get()
                    if slot is None:
                        return
                    if slot.is_read is not None:
                        slot.is_read.synchronize()
                    slot.buffer.copy_from(fetched, step * blocks.block_size)
                    ready.put((slot, {**position, "step": position["step"] + step + 1}))
    except BaseException as error:  # noqa: BLE001 - raised again in __next__
        ready.put(error)
