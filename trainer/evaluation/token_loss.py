"""The loss of each target of some songs, in nats: every target once, with a memory of its own song.

Conventions
    target   a song's token except its first; target t of a song is its token t + 1
    loss     in nats, by head; 0 where a head predicts nothing
    flat     an array over the targets of all songs, one song after the other
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from shards.reader import SongSource
from trainer.data.batches import IGNORED, Blocks
from trainer.data.sampler import ContiguousBatchSampler
from trainer.model.loss import token_losses
from trainer.model.transformer import TransformerXL


@dataclass(frozen=True)
class SongLosses:
    """The loss of each target of some songs.

    Attributes:
        starts: shape (songs + 1,); where each song's targets begin in the flat arrays.
        heads: for each head of the model, flat, float32.
    """

    starts: np.ndarray
    heads: dict[str, np.ndarray]

    @property
    def total(self) -> np.ndarray:
        """Summed over the heads, flat, float64."""
        return np.stack([*self.heads.values()]).sum(axis=0, dtype=np.float64)

    @property
    def songs(self) -> np.ndarray:
        """Which song each target belongs to, flat, from 0."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def count_batches(dataset: SongSource, numbers: np.ndarray, *, lanes: int, block_size: int) -> int:
    """How many batches `score_songs` takes."""
    return len(_sampler(dataset, numbers, lanes, block_size))


def score_songs(
    model: TransformerXL,
    dataset: SongSource,
    numbers: np.ndarray,
    *,
    lanes: int,
    block_size: int,
    memory: int | None = None,
    knn: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> SongLosses:
    """Compute the loss of every target of some songs.

    Args:
        model: in evaluation mode.
        dataset: of the model's vocabulary.
        numbers: shape (songs,); which songs.
        lanes: songs processed at once; affects only the speed.
        block_size: T of the training. Each song begins with a new block, as in generation, so
            what a target sees depends only on its song.
        memory: length of the memory in tokens; None: as configured in the model.
        knn: whether a model that has a kNN memory uses it.
        advance: called after each batch.
    """
    sampler = _sampler(dataset, numbers, lanes, block_size)
    blocks = Blocks(dataset, numbers, block_size)
    return score_blocks(model, blocks, sampler, memory=memory, knn=knn, advance=advance)


@torch.inference_mode()
def score_blocks(
    model: TransformerXL,
    blocks: Blocks,
    sampler: ContiguousBatchSampler,
    *,
    memory: int | None = None,
    knn: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> SongLosses:
    """Compute the loss of every target of a sampler's songs, as its blocks hold them.

    Args:
        sampler: in order, with tail drain, in mode pad.
        model, memory, knn, advance: as for `score_songs`.
    """
    lanes = sampler.batch_size
    device = model.norm.weight.device
    starts = np.concatenate([[0], np.cumsum(sampler.lengths)])
    heads: dict[str, np.ndarray] = {}
    scored = 0
    state, buffer = model.empty_memory(lanes, length=memory), blocks.buffer(lanes)
    if not knn:
        state = state._replace(store=None)
    for step in range(len(sampler)):
        blocks.fill(buffer, sampler.spans(0, step))
        batch = buffer.to(device)
        output, state = model(batch, state.flush())
        is_target = buffer.arrays["targets"] != IGNORED
        # The sampler keeps the given order of songs, so a segment_id is the number of its song.
        songs = buffer.arrays["segment_ids"][is_target]
        at = starts[songs] + buffer.arrays["positions"][is_target]
        scored += len(at)
        for name, losses in token_losses(output, batch)._asdict().items():
            if losses is None:
                continue
            if name not in heads:
                heads[name] = np.full(starts[-1], np.nan, np.float32)
            heads[name][at] = losses.cpu().numpy()[is_target]
        advance()
    assert scored == starts[-1], "a target was scored twice, or not at all"
    assert not any(np.isnan(losses).any() for losses in heads.values())
    return SongLosses(starts, heads)


def _sampler(
    dataset: SongSource, numbers: np.ndarray, lanes: int, block_size: int
) -> ContiguousBatchSampler:
    lengths = dataset.index["tokens"].to_numpy()[numbers] - 1
    return ContiguousBatchSampler(lengths, lanes, block_size=block_size, mode="pad", tail="drain")
