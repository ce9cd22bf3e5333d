"""Reverse teacher forcing: mask recent tokens at random, so that the model looks further back.

With teacher forcing a model always sees the true token before the one it predicts, and may learn
little more than which token follows which. In training, part of the recent context is masked at
random.

Without masking, the output at position t of a block depends on positions 0 to t of its own
segment, and on the memory. The memory is never masked. The modes change the rest:

    shift    0 to t still. A query attends to keys up to t - 1, or to its own key where that leaves
             none; the residual stream still carries its own token. So nothing is hidden: attention
             only cannot read its own position.
    window   t, and the positions before the window that contains t; windows have w tokens, counted
             from the block's start. A query left without keys attends to its own.
    strict   as shift, without the masked positions, t included: one position in every w has its
             input replaced by a learned vector. w is at least 2, so the token before a masked
             position is always visible, and the position predicts from that and earlier tokens.

(Information passes through layers: in window, a key before the window carries what lies before
its own window, and itself.)

Each step selects each lane with probability `rtf_probability`, and draws w from 1 (strict: 2) to
`rtf_max_window`; both draws are keyed by (seed, step), so a resumed run repeats them.

Sources
    window: musicautobot, `rand_window_mask`. https://github.com/bearpelican/musicautobot
    strict: as the masked inputs of Devlin et al. 2018, BERT, but causal.
        https://arxiv.org/abs/1810.04805
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.batches import Batch

_STREAM = 0x52_54_46
"""Third part of the random key: no other draw of the same (seed, step) uses it."""


class ContextMask(NamedTuple):
    """What one step masks; see the columns of the same names in `trainer.data.batches.Batch`.

    Attributes:
        min_distance: shape (B, T), int64; distance to the nearest key that a position may see.
        masked_inputs: shape (B, T), bool; None except in mode strict.
    """

    min_distance: Tensor
    masked_inputs: Tensor | None

    def apply(self, batch: Batch, lanes: slice) -> Batch:
        """The batch with the mask of its lanes, on its device."""
        device, masked = batch.tokens.device, self.masked_inputs

        def moved(column: Tensor) -> Tensor:
            given = column[lanes].contiguous()
            if device.type == "cuda":  # any other memory would have to wait for the GPU
                given = given.pin_memory()
            return given.to(device, non_blocking=True)

        return batch._replace(
            min_distance=moved(self.min_distance),
            masked_inputs=None if masked is None else moved(masked),
        )


def draw_mask(
    mode: str,
    *,
    lanes: int,
    block_size: int,
    probability: float,
    max_window: int,
    seed: int,
    step: int,
) -> ContextMask | None:
    """Draw the mask of one step.

    Args:
        mode: one of `trainer.config.RTF_MODES`.
        lanes, block_size: B and T.
        probability: with which a lane is masked, `rtf_probability`.
        max_window: largest w, `rtf_max_window`.
        seed, step: the random key.

    Returns:
        On the CPU; None if the mode is off.
    """
    if mode == "off":
        return None
    random = np.random.default_rng([seed, step, _STREAM])
    selected = random.random(lanes)[:, None] < probability
    min_window = 2 if mode == "strict" else 1
    windows = random.integers(min_window, max(max_window, min_window), lanes, endpoint=True)
    windows = windows[:, None]
    phases = random.integers(0, windows)
    positions = np.arange(block_size)
    ones = np.ones((lanes, block_size), np.int64)
    distances = positions % windows + 1 if mode == "window" else ones
    masked_inputs = None
    if mode == "strict":
        masked_inputs = torch.from_numpy((positions % windows == phases) & selected)
    return ContextMask(torch.from_numpy(np.where(selected, distances, 0)), masked_inputs)
