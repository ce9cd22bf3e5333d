"""Batches made ready in the background while the step before them computes.

A thread copies what the sampler names from the memory maps into a few fixed pieces of memory,
pinned where a GPU is to fetch them, and hands them round: nothing is allocated while training.
What a batch holds is the sampler's alone to say, so how far the thread is ahead changes nothing.
"""

import queue
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from trainer.data.batches import Batch, Blocks, Columns
from trainer.data.sampler import ContiguousBatchSampler

AHEAD = 4
"""Batches that may be ready. The thread is a hundred times as fast as a step; this many bridge
the moment when a shard is mapped or an epoch planned."""

SPAN = 1 << 16
"""Tokens that are copied from the memory maps at once, or one batch if that is more. A short
block costs as much to look up as a long one, so the thread fetches many steps of it together."""


class _Room(NamedTuple):
    """Columns, and what tells that the GPU has fetched them."""

    columns: Columns
    fetched: Any  # torch.cuda.Event on a GPU, else None


class Loader(Iterator[tuple[Batch, dict[str, int]]]):
    """Batches from the sampler's position on, epoch after epoch; without end.

    Each comes with the sampler's position after it, to go on from: the sampler itself is ahead.

    Args:
        sampler: with tail wrap or drop; its own from now on.
        blocks: of the same songs.
        device: where the batches go.
        lanes: which of the sampler's lanes, where several devices share them; None: all.

    Attributes:
        waited: seconds that `next` has waited for the thread, in all.
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
        span = max(1, SPAN // (count * blocks.block_size))
        self._free: queue.SimpleQueue[_Room | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(AHEAD):
            event = torch.cuda.Event() if on_gpu else None
            self._free.put(_Room(blocks.columns(count, pinned=on_gpu), event))
        thread = threading.Thread(
            target=_make_ready,
            args=(
                sampler,
                blocks,
                lanes,
                blocks.columns(count, blocks=span),
                self._free,
                self._ready,
            ),
            name="loader",
            daemon=True,
        )
        thread.start()
        self.close = weakref.finalize(self, _end, self._free, thread)  # also when it is forgotten

    def __next__(self) -> tuple[Batch, dict[str, int]]:
        """The next batch, on the device, and the position after it.

        Raises:
            ShardError: the dataset is damaged.
        """
        begun = time.perf_counter()
        made = self._ready.get()
        self.waited += time.perf_counter() - begun
        if isinstance(made, BaseException):
            raise made
        room, position = made
        batch = room.columns.to(self._device)
        if room.fetched is not None:
            room.fetched.record()
        self._free.put(room)
        return batch, position


def _end(free: queue.SimpleQueue[_Room | None], thread: threading.Thread) -> None:
    """Let the thread end, and wait: one that frees tensors while Python shuts down aborts it."""
    free.put(None)
    if thread is not threading.current_thread():  # garbage is collected in any thread
        thread.join()


def _make_ready(
    sampler: ContiguousBatchSampler,
    blocks: Blocks,
    lanes: slice,
    fetched: Columns,
    free: queue.SimpleQueue[_Room | None],
    ready: queue.SimpleQueue[Any],
) -> None:
    """The thread's work: fill what is free; None ends it. What goes wrong is the trainer's."""
    try:
        steps = fetched.whole.shape[2] // blocks.block_size
        while True:
            for begin, count, pieces in sampler.spans(steps):
                blocks.fill(fetched, pieces[lanes])
                for step in range(count):
                    room = free.get()
                    if room is None:
                        return
                    if room.fetched is not None:
                        room.fetched.synchronize()
                    room.columns.take(fetched, step * blocks.block_size)
                    ready.put((room, {**begin, "step": begin["step"] + step + 1}))
    except BaseException as error:  # noqa: BLE001 - raised again where the batch is asked for
        ready.put(error)
