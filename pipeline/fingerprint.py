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

from pipeline import order
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
    grams = _grams(song)
    if not order.are_at_least(grams, FEWEST_GRAMS):
        return None
    least = order.min_hash(grams, _MULTIPLIERS, _OFFSETS)
    return (least >> np.uint64(32)).astype(np.uint32)


def melodic_grams(song: Song) -> np.ndarray:
    """The song's grams as distinct 64-bit hashes, ascending; drums are left out."""
    return np.unique(_grams(song))


def _grams(song: Song) -> np.ndarray:
    notes = song.notes
    columns = (np.ascontiguousarray(notes[name]) for name in ("start", "instrument", "pitch"))
    return order.grams(*columns, GRAM, PROGRAMS, _MIX)
