"""What a song is asked to be, as a vector that is added to each token's embedding."""

from itertools import accumulate

import torch
from torch import Tensor, nn

from shards.vocabulary import PROGRAMS
from trainer.data.batches import Batch
from trainer.data.conditions import FIELDS, SHIFTS

ROWS = [*zip(accumulate([0, *FIELDS.values()]), SHIFTS.values(), strict=False)]
"""Of each field: its first row in the embedding, and the place of its bits."""


class ConditionEmbedding(nn.Module):
    """The sum of the embeddings of all conditions; a band is the mean over its programs.

    All weights are 0 at first, so that a new model is the one without conditions.

    Args:
        d_model: C.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.fields = nn.Embedding(sum(FIELDS.values()), d_model)
        self.band = nn.Embedding(PROGRAMS, d_model)

    def forward(self, batch: Batch) -> Tensor:
        """A batch of (B, T) tokens -> (B, T, C); without columns of conditions none is given."""
        none = torch.zeros_like(batch.tokens)
        fields, *band = (
            none if column is None else column
            for column in (batch.conditions, batch.band_low, batch.band_high)
        )
        x = self.fields((fields & 255) + ROWS[0][0])
        for first, shift in ROWS[1:]:
            x = x + self.fields((fields >> shift & 255) + first)
        places = torch.arange(PROGRAMS // 2, device=fields.device)
        bits = torch.cat([half[..., None] >> places & 1 for half in band], dim=2)
        weights = bits.to(x.dtype) / bits.sum(dim=2, keepdim=True).clamp(min=1)
        return x + weights @ self.band.weight.to(x.dtype)
