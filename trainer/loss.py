"""How wrong the two heads are, as sums that add up over batches.

The loss is the negative log likelihood of token and instrument together, in nats a target: the
sum over both heads divided by the number of next-token targets. Each head's own mean is logged
beside it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trainer.batches import IGNORED, Batch
from trainer.model import Output


class Tally(NamedTuple):
    """Sums over any number of targets; each a scalar tensor.

    Attributes:
        token_nats: of the vocabulary head.
        instrument_nats: of the instrument head.
        targets: next-token targets.
        pitches: those of them that are pitches, and so have an instrument.
    """

    token_nats: Tensor
    instrument_nats: Tensor
    targets: Tensor
    pitches: Tensor

    @property
    def loss(self) -> Tensor:
        """Nats a target, both heads together; 0 where there is no target."""
        return (self.token_nats + self.instrument_nats) / self.targets.clamp(min=1)

    def means(self) -> dict[str, float]:
        """The loss, and each head's mean over its own targets, in nats."""
        return {
            "loss": float(self.loss),
            "tokens": float(self.token_nats / self.targets.clamp(min=1)),
            "instruments": float(self.instrument_nats / self.pitches.clamp(min=1)),
        }


def tally(output: Output, batch: Batch) -> Tally:
    """Score a batch's predictions, in fp32 whatever the precision of the model."""
    return Tally(
        _nats(output.tokens, batch.targets),
        _nats(output.instruments, batch.instrument_targets),
        (batch.targets != IGNORED).sum(),
        (batch.instrument_targets != IGNORED).sum(),
    )


def _nats(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def to_rows(tallies: list[Tally]) -> list[list[float]]:
    """The numbers of each tally: the one place where the device is waited for."""
    if not tallies:
        return []
    return torch.stack(
        [torch.stack([part.detach().float() for part in t]) for t in tallies]
    ).tolist()


def add(tallies: list[Tally]) -> Tally:
    """The sum, in float64 on the CPU."""
    return Tally(*torch.tensor(to_rows(tallies), dtype=torch.float64).sum(dim=0).unbind())
