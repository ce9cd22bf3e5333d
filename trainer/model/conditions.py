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

    A condition that is not given adds nothing, so without any of them the model is the one that it
    would be without conditions. All weights are 0 at first.

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
        x = torch.zeros((), device=fields.device)
        for first, shift in ROWS:
            code = fields >> shift & 255
            x = x + self.fields(code + first) * (code > 0)[..., None]
        places = torch.arange(PROGRAMS // 2, device=fields.device)
        bits = torch.cat([half[..., None] >> places & 1 for half in band], dim=2)
        weights = bits.to(x.dtype) / bits.sum(dim=2, keepdim=True).clamp(min=1)
        return x + weights @ self.band.weight.to(x.dtype)
