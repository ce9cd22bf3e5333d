"""How wrong the heads are, as sums that add up over batches.

The loss is the negative log likelihood of all that is predicted, in nats a target: the sum over
the heads divided by the number of next-token targets. Each head's own mean is logged beside it.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainer.data.batches import IGNORED, Batch
from trainer.model.transformer import Output


class TokenLosses(NamedTuple):
    """What each target costs, each shape (B, T), fp32; 0 where there is none.

    Attributes:
        tokens, instruments, velocities: of each head; velocities None where there is no head.
    """

    tokens: Tensor
    instruments: Tensor
    velocities: Tensor | None


class LossSums(NamedTuple):
    """Sums over any number of targets; each a scalar tensor.

    Attributes:
        token_nats: of the vocabulary head.
        instrument_nats: of the instrument head.
        velocity_nats: of the velocity head; 0 where there is none.
        targets: next-token targets.
        pitches: those of them that are pitches, and so have an instrument.
    """

    token_nats: Tensor
    instrument_nats: Tensor
    velocity_nats: Tensor
    targets: Tensor
    pitches: Tensor

    @property
    def total(self) -> Tensor:
        """Of all heads together."""
        return self.token_nats + self.instrument_nats + self.velocity_nats

    @property
    def loss(self) -> Tensor:
        """TokenLosses a target, all heads together; 0 where there is no target."""
        return self.total / self.targets.clamp(min=1)

    def means(self) -> dict[str, float]:
        """The loss, each head's mean over its own targets in nats, and bits a note.

        A note's bits are all that is said of it: rests, durations and meters included.
        """
        pitches = self.pitches.clamp(min=1)
        means = {
            "loss": float(self.loss),
            "tokens": float(self.token_nats / self.targets.clamp(min=1)),
            "instruments": float(self.instrument_nats / pitches),
        }
        if self.velocity_nats > 0:
            means["velocities"] = float(self.velocity_nats / pitches)
        return {**means, "bits_per_note": float(self.total / pitches) / math.log(2)}


def token_losses(output: Output, batch: Batch) -> TokenLosses:
    """Score a batch's predictions one by one, in fp32 whatever the precision of the model."""
    return TokenLosses(
        _cost(output.tokens, batch.targets),
        _cost(output.instruments, batch.instrument_targets),
        None if output.velocities is None else _cost(output.velocities, batch.velocity_targets),
    )


def _cost(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(targets)


def sum_losses(scored: TokenLosses, batch: Batch) -> LossSums:
    """Add up a batch's scores."""
    tokens, instruments, velocities = scored
    return LossSums(
        tokens.sum(),
        instruments.sum(),
        tokens.new_zeros(()) if velocities is None else velocities.sum(),
        (batch.targets != IGNORED).sum(),
        (batch.instrument_targets != IGNORED).sum(),
    )


def to_rows(tallies: list[LossSums]) -> list[list[float]]:
    """The numbers of each tally: the one place where the device is waited for."""
    if not tallies:
        return []
    return torch.stack(
        [torch.stack([part.detach().float() for part in t]) for t in tallies]
    ).tolist()


def add(tallies: list[LossSums]) -> LossSums:
    """The sum, in float64 on the CPU."""
    return LossSums(*torch.tensor(to_rows(tallies), dtype=torch.float64).sum(dim=0).unbind())


PLACES = 11
"""Ranges of positions in a song: below 16, below 32, and so on, each twice as long; the last is all
from 8,192 on."""


def loss_by_position(scored: TokenLosses, batch: Batch) -> Tensor:
    """How many nats and targets each range of positions has.

    Returns:
        shape (2, PLACES), fp32: nats of all heads together, then targets.
    """
    cost = scored.tokens + scored.instruments
    if scored.velocities is not None:
        cost = cost + scored.velocities
    which = ((batch.positions.clamp(min=8).float() / 8).log2().floor()).clamp(max=PLACES - 1)
    member = which[..., None] == torch.arange(PLACES, device=which.device)
    member &= (batch.targets != IGNORED)[..., None]
    return torch.stack([(cost[..., None] * member).sum((0, 1)), member.sum((0, 1)).float()])
