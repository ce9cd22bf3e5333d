"""The 24 keys: their names, in the index of a dataset and in what a model is asked, and profiles.

Source: Krumhansl 1990, Cognitive Foundations of Musical Pitch: the profiles of Krumhansl and
    Kessler.
"""

import numpy as np

TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""By pitch class, as they are most often spelled."""
KEYS = (*TONICS, *(f"{tonic}m" for tonic in TONICS))
"""The major keys, then the minor ones."""

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""How well each pitch class fits into the keys of C."""


def _profiles() -> np.ndarray:
    """The 24 keys' profiles, mean 0 and norm 1, shape (24, 12): major from C on, then minor."""
    rows = [np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    centred = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


PROFILES = _profiles()
"""How each pitch class fits into each of KEYS, shape (24, 12)."""
