"""What the model alone does not keep of what is asked: the key, and that every part plays.

Both act only as long as a song is not as asked, and choose among what the model would write there.
"""

from collections.abc import Sequence

import numpy as np

from shards.keys import KEYS, PROFILES
from shards.vocabulary import PITCHES

SHARPNESS = 0.25
"""How far a key's profile raises and lowers the shares of pitch classes: to 25 % and 1 %."""
PULL = 4.0
"""Logit of a pitch class for each 1/12 that its share lacks, while another key fits as well."""
MARGIN = 0.15
"""By how much the asked key must correlate better than all others for nothing to be favoured: as
much as that of half of 200 real songs does."""
HEARD_AT_FIRST = 96
"""Steps of music in the key that a song counts as before its first note."""


class KeyPull:
    """Favours the pitch classes that a key lacks, as long as what is written is not clearly in it.

    What sounds too much is held back, so that the tonic alone does not win.

    Args:
        key: one of `shards.keys.KEYS`.
    """

    def __init__(self, key: str) -> None:
        self._key = KEYS.index(key)
        shares = np.maximum(1 / 12 + SHARPNESS * PROFILES[self._key], 0.01)
        self._shares = shares / shares.sum()
        self._sounding = HEARD_AT_FIRST * self._shares

    def push(self, pitch: int, duration: int) -> None:
        """Hear a note, of some steps."""
        self._sounding[pitch % 12] += duration

    def bias(self) -> np.ndarray:
        """What to add to the logits of the pitches, shape (128,)."""
        shares = self._sounding / self._sounding.sum()
        centred = shares - 1 / 12
        fits = PROFILES @ centred / np.linalg.norm(centred)
        ahead = fits[self._key] - np.delete(fits, self._key).max()
        strength = PULL * np.clip(1 - ahead / MARGIN, 0, 2)
        return np.resize(strength * np.clip(12 * (self._shares - shares), -2, 2), PITCHES)


class MissingParts:
    """Which of the parts that a song is to have do not play yet.

    Args:
        parts: of each the instrument classes that may play it, shape (classes,), bool.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = list(parts)

    def push(self, instrument: int) -> None:
        """Hear a note of an instrument class."""
        self._parts = [part for part in self._parts if not part[instrument]]

    def classes(self) -> np.ndarray | None:
        """The classes of the missing parts, shape (classes,), bool; None: none is missing."""
        return np.any(self._parts, axis=0) if self._parts else None
