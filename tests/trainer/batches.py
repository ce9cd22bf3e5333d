"""Random batches, and whether two batches are equal."""

import torch
from torch import Tensor

from shards.vocabulary import Vocabulary
from trainer.data.batches import Batch


def random_batch(vocabulary: Vocabulary, segment_ids: Tensor, *, seed: int = 0) -> Batch:
    """Random tokens, instruments, bars, steps and targets, of the shape of segment_ids, (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    sizes = len(vocabulary), vocabulary.instruments + 1, 20, vocabulary.max_bar_steps
    columns = [torch.randint(size, segment_ids.shape, generator=generator) for size in sizes]
    targets = torch.randint(len(vocabulary), segment_ids.shape, generator=generator)
    return Batch(*columns, segment_ids=segment_ids, targets=targets)


def assert_same_batch(one: Batch, other: Batch) -> None:
    for name, a, b in zip(one._fields, one, other, strict=True):
        assert (a is None and b is None) or torch.equal(a, b), name
