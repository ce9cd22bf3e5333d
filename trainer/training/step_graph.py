"""The training step as one CUDA graph: a GPU gets it in one launch, and waits for no Python.

A graph reads and writes memory at fixed addresses. So the batch is copied into tensors of its own,
the memories of the lanes are overwritten in place, and so are weights, optimizer state and learning
rates anyway. Random numbers follow torch's generator, which is seeded before each step as without
a graph.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shards.console import print_note
from trainer.cuda_graph import record
from trainer.data.batches import Batch
from trainer.model.memory import Memory
from trainer.training.optimizers import lists

Compute = Callable[[Batch, Sequence[Memory]], tuple[Tensor, list[Memory]]]
"""A step: of a batch and the memories, the results to read and the next memories; it may change
anything else in place."""

WARM_UP = 3
"""Steps before the graph is recorded: they compile, choose algorithms and make optimizer state,
which a recording must not."""


class StepGraph:
    """Takes a training step: the first few times as it is, then as a CUDA graph.

    Where the graph cannot be recorded it says so, and goes on as at first.

    Args:
        compute: the step.
        batch: any; the shapes and columns of all others must be the same.
        memories: overwritten by each step.
    """

    def __init__(self, compute: Compute, batch: Batch, memories: Sequence[Memory]) -> None:
        self._compute, self._memories = compute, memories
        self._batch = batch.map(torch.clone)
        self._results: Tensor
        self._steps, self._stream = 0, torch.cuda.Stream()
        self._take = on_stream(self._step, self._stream)

    def __call__(self, batch: Batch) -> Tensor:
        """Take a step; returns its results, still on the device."""
        columns = [column for column in batch if column is not None]
        fixed = [column for column in self._batch if column is not None]
        lists._foreach_copy_(fixed, columns)
        if self._steps == WARM_UP:
            try:
                self._take = record(self._step, self._stream)
            except RuntimeError as error:
                print_note(f"the training step runs without a CUDA graph ({error})")
        self._steps += 1
        self._take()
        return self._results.clone()

    def _step(self) -> None:
        self._results, memories = self._compute(self._batch, self._memories)
        lists._foreach_copy_(_tensors(self._memories), _tensors(memories))


def _tensors(memories: Sequence[Memory]) -> list[Tensor]:
    return [
        tensor
        for memory in memories
        for tensor in (*memory.keys, *memory.values, memory.segment_ids, memory.place, memory.last)
    ]


def on_stream(step: Callable[[], None], stream: torch.cuda.Stream) -> Callable[[], None]:
    """A function that takes a step on a stream, between what the current one did and will do."""

    def take() -> None:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step()
        torch.cuda.current_stream().wait_stream(stream)

    return take
