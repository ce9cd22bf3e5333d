"""The loss: cross-entropy by head, as sums that add up over batches.

The loss is the cross-entropy summed over all heads, divided by the number of next-token targets
(nats per token). Each head's mean over its own targets is logged as well.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.batches import IGNORED, Batch
from trainer.model.transformer import Output

POSITION_EDGES = (0, *(2**n for n in range(4, 14)))
"""First positions of the ranges that losses are grouped by: 0, 16, 32, … 8,192; the last is
open."""
POSITION_NAMES = (
    *(f"{first}-{stop - 1}" for first, stop in pairwise(POSITION_EDGES)),
    f"{POSITION_EDGES[-1]}-",
)


class TokenLosses(NamedTuple):
    """Cross-entropy of each target in nats, each shape (B, T), fp32; 0 where there is no target.

    Attributes:
        tokens, instruments, velocities: by head; velocities None without that head.
    """

    tokens: Tensor
    instruments: Tensor
    velocities: Tensor | None

    @property
    def total(self) -> Tensor:
        """The sum over the heads."""
        total = self.tokens + self.instruments
        return total if self.velocities is None else total + self.velocities


class LossSums(NamedTuple):
    """Sums over any number of targets; each a scalar tensor.

    Attributes:
        tokens: token loss of the next-token head, in nats.
        instruments: of the instrument head.
        velocities: of the velocity head; 0 without one.
        targets: number of next-token targets.
        instrument_targets: number of those whose program is predicted: pitches, bends and
            modulations.
        notes: number of those that start a note: pitches and drums.
    """

    tokens: Tensor
    instruments: Tensor
    velocities: Tensor
    targets: Tensor
    instrument_targets: Tensor
    notes: Tensor

    @property
    def total(self) -> Tensor:
        """The sum over the heads, in nats."""
        return self.tokens + self.instruments + self.velocities

    @property
    def loss(self) -> Tensor:
        """Nats per next-token target, all heads together; 0 if there is no target."""
        return self.total / self.targets.clamp(min=1)

    def means(self) -> dict[str, float]:
        """The loss, each head's mean over its own targets in nats, and bits per note.

        The bits per note are those of all tokens, rests, durations and meters included.
        """
        notes = self.notes.clamp(min=1)
        means = {
            "loss": float(self.loss),
            "tokens": float(self.tokens / self.targets.clamp(min=1)),
            "instruments": float(self.instruments / self.instrument_targets.clamp(min=1)),
        }
        if self.velocities > 0:
            means["velocities"] = float(self.velocities / notes)
        return {**means, "bits_per_note": float(self.total / notes) / math.log(2)}


def token_losses(output: Output, batch: Batch) -> TokenLosses:
    """The loss of each target of a batch, in fp32 whatever the precision of the model."""
    return TokenLosses(
        _cross_entropy(output.token_logits, batch.targets),
        _cross_entropy(output.instrument_logits, batch.instrument_targets),
        None
        if output.velocity_logits is None
        else _cross_entropy(output.velocity_logits, batch.velocity_targets),
    )


def _cross_entropy(logits: Tensor | None, targets: Tensor | None) -> Tensor:
    assert logits is not None
    assert targets is not None
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(targets)


def sum_losses(losses: TokenLosses, batch: Batch) -> LossSums:
    """Sum a batch's token losses and count its targets."""
    tokens, instruments, velocities = losses
    return LossSums(
        tokens.sum(),
        instruments.sum(),
        tokens.new_zeros(()) if velocities is None else velocities.sum(),
        _is_target(batch.targets).sum(),
        _is_target(batch.instrument_targets).sum(),
        _is_target(batch.velocity_targets).sum(),
    )


def _is_target(targets: Tensor | None) -> Tensor:
    assert targets is not None
    return targets != IGNORED


def to_rows(sums: Sequence[Iterable[Tensor]]) -> list[list[float]]:
    """Copy scalars, such as those of several `LossSums`, to the CPU; waits for the device once."""
    if not sums:
        return []
    return torch.stack(
        [torch.stack([column.detach().float() for column in each]) for each in sums]
    ).tolist()


def add(sums: Sequence[LossSums]) -> LossSums:
    """The sum, in float64 on the CPU."""
    return LossSums(*torch.tensor(to_rows(sums), dtype=torch.float64).sum(dim=0).unbind())


def loss_by_position(losses: TokenLosses, batch: Batch) -> Tensor:
    """Sum token losses and targets over ranges of positions in the song.

    Returns:
        shape (2, ranges), fp32, by POSITION_EDGES: nats of all heads together; targets.
    """
    assert batch.positions is not None
    edges = torch.tensor(POSITION_EDGES[1:], device=batch.positions.device)
    ranges = torch.bucketize(batch.positions, edges, right=True)
    member = ranges[..., None] == torch.arange(len(POSITION_EDGES), device=ranges.device)
    member &= _is_target(batch.targets)[..., None]
    nats = (losses.total[..., None] * member).sum((0, 1))
    return torch.stack([nats, member.sum((0, 1)).float()])
