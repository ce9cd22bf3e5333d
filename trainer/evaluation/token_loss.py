"""What a model pays for each target of some songs: every target once, on a memory of its own.

Conventions
    target   a song's token but its first; target t of a song is its token t + 1
    cost     nats, by head; 0 where a head has nothing to say
    flat     the targets of all songs, one song after the other
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainer.data.batches import IGNORED, Blocks
from trainer.data.sampler import ContiguousBatchSampler
from trainer.model.loss import token_losses
from trainer.model.transformer import TransformerXL

HEADS = ("tokens", "instruments", "velocities")


@dataclass(frozen=True)
class Costs:
    """What each target costs.

    Attributes:
        starts: shape (songs + 1,); where each song's targets begin in the flat arrays.
        heads: for each head that there is, shape (targets,), float32.
    """

    starts: np.ndarray
    heads: dict[str, np.ndarray]

    @property
    def all(self) -> np.ndarray:
        """Of all heads together, shape (targets,), float64."""
        return np.sum([*self.heads.values()], axis=0, dtype=np.float64)

    @property
    def songs(self) -> np.ndarray:
        """Which song each target is of, shape (targets,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def steps_needed(dataset: Any, numbers: np.ndarray, *, lanes: int, block: int) -> int:
    """Batches that `score_songs` takes."""
    return len(_sampler(dataset, numbers, lanes, block))


@torch.inference_mode()
def score_songs(
    model: TransformerXL,
    dataset: Any,
    numbers: np.ndarray,
    *,
    lanes: int,
    block: int,
    memory: int | None = None,
    knn: bool = True,
    advance: Callable[[], object] = lambda: None,
) -> Costs:
    """Score songs.

    Args:
        model: in evaluation mode.
        dataset: as `shards.open_dataset` gives it, of the model's vocabulary.
        numbers: shape (songs,); which songs.
        lanes: songs side by side; changes nothing but the time it takes.
        block: T of the training. Each song begins with a block of its own, as in generation, so
            that what a target sees depends on its song alone.
        memory: tokens that are remembered; None: as many as the model is made for.
        knn: let a model that has a kNN memory use it.
        advance: called after each batch.
    """
    sampler = _sampler(dataset, numbers, lanes, block)
    blocks = Blocks(dataset, numbers, block)
    device = model.norm.weight.device
    starts = np.concatenate([[0], np.cumsum(sampler.lengths)])
    found = {name: np.full(starts[-1], np.nan, np.float32) for name in HEADS}
    scored = 0
    carried, columns = model.empty_memory(lanes, length=memory), blocks.columns(lanes)
    if not knn:
        carried = carried._replace(store=None)
    for step in range(len(sampler)):
        blocks.fill(columns, sampler.pieces(0, step))
        batch = columns.to(device)
        output, carried = model(batch, carried.settled())
        played = (batch.targets != IGNORED).cpu().numpy()
        # The sampler keeps the order given, so that a segment_id's number is its song's.
        at = starts[batch.segment_ids.cpu().numpy()[played]] + batch.positions.cpu().numpy()[played]
        scored += len(at)
        for name, costs in token_losses(output, batch)._asdict().items():
            if costs is None:
                found.pop(name, None)
            else:
                found[name][at] = costs.cpu().numpy()[played]
        advance()
    assert scored == starts[-1], "a target was scored twice, or not at all"
    assert not any(np.isnan(costs).any() for costs in found.values())
    return Costs(starts, found)


def _sampler(dataset: Any, numbers: np.ndarray, lanes: int, block: int) -> ContiguousBatchSampler:
    lengths = dataset.index["tokens"].to_numpy()[numbers] - 1
    return ContiguousBatchSampler(lengths, lanes, block_size=block, mode="pad", tail="drain")
