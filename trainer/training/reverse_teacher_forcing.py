"""Reverse teacher forcing: keep the nearest tokens from the model, so that it looks further back.

With teacher forcing a model always sees the true token before the one it is to predict, and may
learn little more than what follows what. In training, now and then, some of it is kept back.

What an output at position t of a block depends on, beside the memory, which is always open, and
within its own segment_id (without a mode: positions 0 to t, its own included):

    shift    0 to t, all the same. A query sees keys up to t - 1, or its own where that leaves
             nothing; but its own token it still gets through the residual stream. So this hides
             nothing: it only keeps attention from looking at its own place.
    window   t, and all positions before the window that t lies in; windows have w tokens, counted
             from the block's start. Where that leaves a query nothing, its own key.
    strict   as shift, but no position that is masked_inputs, t neither: one in every w, whose input
             is a learned vector. Since w is at least 2 the token before it is always there, and
             from that and earlier ones a masked_inputs position must predict.

(A layer hands on what the layer below has seen: in window, a key before the window has seen
only what lies before its own window, and itself.)

A lane is drawn with probability `rtf_probability`, anew in every step, and w from 1 (strict: 2) to
`rtf_max_window`; both keyed by (seed, step), so that a resumed run draws the same.

Sources
    window: musicautobot, `rand_window_mask`. https://github.com/bearpelican/musicautobot
    strict: as the masked inputs of Devlin et al. 2018, BERT, but causal.
        https://arxiv.org/abs/1810.04805
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_STREAM = 0x52_54_46
"""Third part of the key, so that no other draw of the same (seed, step) is the same."""


class Hidden(NamedTuple):
    """What is kept from the model in one step; see `trainer.data.batches.Batch`.

    Attributes:
        min_distance: shape (B, T), int64; how far back the nearest key lies that a position may see.
        masked_inputs: shape (B, T), bool; None but in mode strict.
    """

    min_distance: Tensor
    masked_inputs: Tensor | None

    def lanes(self, lanes: slice) -> "Hidden":
        """Of some of the lanes."""
        return Hidden(*(None if part is None else part[lanes] for part in self))

    def to(self, device: torch.device) -> "Hidden":
        """The same on a device."""
        return Hidden(*(None if part is None else part.to(device) for part in self))


def draw(
    mode: str, *, lanes: int, block: int, share: float, longest: int, seed: int, step: int
) -> Hidden | None:
    """Draw for one step.

    Args:
        mode: one of `trainer.config.RTF_MODES`.
        lanes, block: B and T.
        share: probability of a lane, `rtf_probability`.
        longest: largest w, `rtf_max_window`.
        seed, step: the key.

    Returns:
        On the CPU; None where the mode is off.
    """
    if mode == "off":
        return None
    random = np.random.default_rng([seed, step, _STREAM])
    drawn = random.random(lanes) < share
    shortest = 2 if mode == "strict" else 1
    widths = random.integers(shortest, max(longest, shortest), lanes, endpoint=True)[:, None]
    phases = random.integers(0, widths)
    places = np.arange(block)
    min_distance = places % widths + 1 if mode == "window" else np.ones((lanes, block), np.int64)
    min_distance = np.where(drawn[:, None], min_distance, 0)
    masked_inputs = (places % widths == phases) & drawn[:, None] if mode == "strict" else None
    return Hidden(
        torch.from_numpy(min_distance),
        None if masked_inputs is None else torch.from_numpy(masked_inputs),
    )
