"""The same music under two names: what a song sounds like, as a few numbers to compare.

Two songs are near-copies when they share many melodic grams: six consecutive steps of a part's
skyline, each an inter-onset time and a pitch interval. Nothing in a gram depends on key, tempo,
instrument, loudness, track order or where in the bar the song starts. Sets of grams are compared
by MinHash, so 512 bytes a song are enough.

Sources: Broder 1997, On the resemblance and containment of documents (MinHash);
Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, chapter 3 (banding).
"""

import hashlib

import numpy as np

from shards.codec import EncodedSong
from shards.song import Song
from shards.vocabulary import PROGRAMS

GRAM = 6
HASHES = 128
FEWEST_GRAMS = 16
"""With fewer, a song is compared by its exact music alone: scales and drum loops would merge."""

_MULTIPLIERS = np.random.default_rng(20).integers(0, 2**63, HASHES, np.uint64) * 2 + 1
_OFFSETS = np.random.default_rng(21).integers(0, 2**63, HASHES, np.uint64)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd: spreads neighbouring integers


def music_hash(encoded: EncodedSong) -> str:
    """Equal for songs that encode to the same notes, meters and tempos, whatever their loudness."""
    digest = hashlib.md5(encoded.tokens.tobytes(), usedforsecurity=False)
    digest.update(encoded.instruments.tobytes())
    return digest.hexdigest()


def signature(song: Song) -> np.ndarray | None:
    """MinHash of the song's melodic grams, or None where it has too few to tell.

    Returns:
        shape (HASHES,), uint32. The share of equal places in two signatures estimates the
        Jaccard similarity of the songs' gram sets, standard error at most 0.045.
    """
    grams = melodic_grams(song)
    if len(grams) < FEWEST_GRAMS:
        return None
    hashes = zip(_MULTIPLIERS, _OFFSETS, strict=True)
    return np.array([(grams * a + b).min() >> np.uint64(32) for a, b in hashes], np.uint32)


def melodic_grams(song: Song) -> np.ndarray:
    """The song's grams as distinct 64-bit hashes, ascending; drums are left out."""
    part, start, pitch = _skylines(song)
    if len(part) <= GRAM:
        return np.zeros(0, np.uint64)
    same_part = part[1:] == part[:-1]
    time, interval = np.diff(start), np.diff(pitch)
    letters = (time.astype(np.uint64) << np.uint64(8)) + (interval + 128).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(letters, GRAM)
    within = np.lib.stride_tricks.sliding_window_view(same_part, GRAM).all(axis=1)
    grams = np.zeros(len(windows), np.uint64)
    for column in range(GRAM):
        grams = (grams ^ windows[:, column]) * _MIX
        grams ^= grams >> np.uint64(29)
    return np.unique(grams[within])


def _skylines(song: Song) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part, start and pitch of the highest note at each onset of each part, part by part."""
    notes = song.notes[song.notes["instrument"] < PROGRAMS]
    part, start = notes["instrument"].astype(np.int64), notes["start"]
    pitch = notes["pitch"].astype(np.int64)
    order = np.lexsort((-pitch, start, part))
    part, start, pitch = part[order], start[order], pitch[order]
    top = np.ones(len(part), bool)
    top[1:] = (part[1:] != part[:-1]) | (start[1:] != start[:-1])
    return part[top], start[top], pitch[top]
