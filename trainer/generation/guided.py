"""A model that is asked for something, and how strongly.

Each song is fed twice, with its conditions and without; what the conditions change is multiplied:
logits = without + guidance * (with - without).

Source: Ho and Salimans 2022, "Classifier-Free Diffusion Guidance".
"""

import numpy as np

from trainer.data.conditions import SHIFTS
from trainer.generation.incremental import IncrementalModel
from trainer.model.transformer import TransformerXL

KEPT = 255 << SHIFTS["section"]
"""What is given and what is written is no wish: it stays."""


class GuidedModel:
    """As an `IncrementalModel` of the given lanes.

    Args:
        model: in evaluation mode, trained with conditions.
        block_size: T of the training.
        lanes: B.
        guidance: 1: as without this class; 0: as without conditions.
    """

    def __init__(self, model: TransformerXL, block_size: int, lanes: int, guidance: float) -> None:
        self._model = IncrementalModel(model, block_size, 2 * lanes)
        self._guidance, self._lanes = guidance, lanes

    def feed(self, inputs: np.ndarray) -> None:
        """Feed inputs of shape (8, B, tokens); see `IncrementalModel.feed`."""
        without = inputs.copy()
        without[5] &= KEPT
        without[6:] = 0
        self._model.feed(np.concatenate([inputs, without], axis=1))

    def token_logits(self) -> np.ndarray:
        """Logits of the next token, shape (B, V)."""
        return self._guided(self._model.token_logits())

    def instrument_logits(self, tokens: np.ndarray) -> np.ndarray:
        """Logits of the next token's instrument, shape (B, P); `tokens`: shape (B,)."""
        return self._guided(self._model.instrument_logits(np.tile(tokens, 2)))

    def instrument_logits_after_pitches(self, lane: int, pitch0: int) -> np.ndarray:
        """Logits of the instrument after each pitch in one lane, shape (128, P)."""
        asked, free = (
            self._model.instrument_logits_after_pitches(each, pitch0)
            for each in (lane, lane + self._lanes)
        )
        return free + self._guidance * (asked - free)

    def velocity_logits(self, tokens: np.ndarray, instruments: np.ndarray) -> np.ndarray | None:
        """Logits of the next note's velocity, shape (B, bins); None without such a head."""
        logits = self._model.velocity_logits(np.tile(tokens, 2), np.tile(instruments, 2))
        return None if logits is None else self._guided(logits)

    def _guided(self, logits: np.ndarray) -> np.ndarray:
        asked, free = np.split(logits, 2)
        return free + self._guidance * (asked - free)
