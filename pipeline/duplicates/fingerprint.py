"""A song's fingerprint: MinHash signatures of its n-grams, and where in the song these stand.

Near-duplicates share many n-grams, and share them in the same order. MinHash reduces each kind of
n-grams (`pipeline.duplicates.ngrams`) to 1,024 bytes per song (`pipeline.duplicates.signature`).

Sources: Broder 1997, On the resemblance and containment of documents (MinHash); Li, Owen, Zhang
2012, One permutation hashing; Shrivastava 2017, Optimal densification.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from pipeline.duplicates.lines import lines
from pipeline.duplicates.ngrams import EMPTY, densify, melodic_ngrams, top_line_ngrams
from pipeline.midi import Recording
from shards.codec import EncodedSong

MIN_NGRAMS = 64
"""Songs with fewer are compared by exact music alone: scales and drones would match each other."""


class Fingerprint(NamedTuple):
    """What songs are compared by once all are read.

    Attributes:
        melodies: a SIGNATURE's bytes, of the melodic n-grams; None where there are too few.
        top_line: likewise of the top line's n-grams.
        min_hash: the smallest hash of any melodic n-gram, which near-duplicates tend to share.
    """

    melodies: bytes | None
    top_line: bytes | None
    min_hash: int


def music_hash(encoded: EncodedSong) -> str:
    """Equal for songs with the same notes, meters and tempos, whatever their velocities."""
    digest = hashlib.md5(encoded.tokens.tobytes(), usedforsecurity=False)
    digest.update(encoded.instruments.tobytes())
    return digest.hexdigest()


def fingerprint(recording: Recording, music: str) -> Fingerprint:
    """Compute a recording's fingerprint; `music`, its `music_hash`, replaces missing n-grams."""
    skylines, begin, end, top_line = lines(recording.notes)
    melodic = melodic_ngrams(skylines, begin, end, recording.ticks_per_beat)
    melodies = signature(*melodic)
    min_hash = int(music[:16], 16) if melodies is None else int(melodic[0].min())
    return Fingerprint(melodies, signature(*top_line_ngrams(top_line)), min_hash)


def signature(smallest: np.ndarray, places: np.ndarray) -> bytes | None:
    """Reduce the smallest hashes of each bin, and their places; None where bins are too few."""
    if np.count_nonzero(smallest != EMPTY) < MIN_NGRAMS:
        return None
    return b"".join(array.tobytes() for array in densify(smallest, places))
