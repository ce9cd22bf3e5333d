"""A song's melodic n-grams, and the MinHash signature by which songs are compared.

Near-duplicates share many n-grams. An n-gram is four notes of one part's skyline: a note and any
three of the next five, given by their pitch intervals and times from the first. (So it is a
skip-gram: where notes are missing, n-grams that skip them remain.) It depends neither on key,
tempo, instrument, velocity, order of tracks, resolution, nor on where the song starts. MinHash
reduces the set of n-grams to 512 bytes per song.

Conventions
    part      the notes of one channel, drums left out; in `pipeline audit`, of one instrument
    skyline   the highest of the notes that start on each tick
    eighth    an eighth of a beat, the unit of times between notes
    bin       one of BINS equal ranges of hash values, selected by the highest bits

Sources: Broder 1997, On the resemblance and containment of documents (MinHash); Li, Owen, Zhang
2012, One permutation hashing; Shrivastava 2017, Optimal densification.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.midi import Recording
from shards.codec import EncodedSong

BINS = 256
NEXT_NOTES = 5
MIN_NGRAMS = 64
"""Songs with fewer are compared by exact music alone: scales and drones would match each other."""
PARTS = 128
MAX_EIGHTHS = 255
"""Longer times between notes count as this."""
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Stands for the smallest hash of a bin without n-grams."""


class Fingerprint(NamedTuple):
    """What songs are compared by once all are read.

    Attributes:
        signature: shape (BINS,), uint16. The share of bins in which two songs agree estimates the
            Jaccard similarity of their sets of n-grams, with a standard error of at most 0.031.
            None where there are too few n-grams.
        min_hash: the smallest hash of any n-gram, which near-duplicates tend to share.
    """

    signature: np.ndarray | None
    min_hash: int


def music_hash(encoded: EncodedSong) -> str:
    """Equal for songs with the same notes, meters and tempos, whatever their velocities."""
    digest = hashlib.md5(encoded.tokens.tobytes(), usedforsecurity=False)
    digest.update(encoded.instruments.tobytes())
    return digest.hexdigest()


def fingerprint(recording: Recording, music: str) -> Fingerprint:
    """Compute a recording's fingerprint; `music`, its `music_hash`, replaces missing n-grams."""
    fields = ("start", "channel", "pitch", "is_drum")
    start, channel, pitch, is_drum = (recording.notes[name].copy() for name in fields)
    ngrams = melodic_ngrams(start, channel, pitch, is_drum, recording.ticks_per_beat)
    return fingerprint_of(ngrams, music)


def fingerprint_of(ngrams: np.ndarray, music: str) -> Fingerprint:
    """Compute the fingerprint of a song from its n-grams; see `fingerprint`."""
    smallest, filled = smallest_by_bin(ngrams)
    if filled < MIN_NGRAMS:
        return Fingerprint(None, int(music[:16], 16))
    return Fingerprint(densify(smallest), int(ngrams.min()))


@njit(cache=True)
def mix_bits(hash_):
    """Make every bit of a 64-bit number depend on all others (the finalizer of splitmix64)."""
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))


@njit(cache=True)
def skyline(start, channel, pitch, is_drum):
    """Find the highest note of each part at each tick.

    Args:
        start, channel, pitch, is_drum: fields of a recording's notes, by start.

    Returns:
        int64, shape (2, onsets): tick and pitch, part by part; and int64, shape (PARTS + 1,): the
        column where each part begins, and the end.
    """
    count = np.zeros(PARTS + 1, np.int64)
    last = np.full(PARTS, -1, np.int64)
    for i in range(len(start)):
        c = channel[i]
        if not is_drum[i] and start[i] != last[c]:
            count[c + 1] += 1
            last[c] = start[i]
    begin = np.cumsum(count)
    at = begin[:-1].copy()
    line = np.empty((2, begin[-1]), np.int64)
    last[:] = -1
    for i in range(len(start)):
        c = channel[i]
        if is_drum[i]:
            continue
        if start[i] != last[c]:
            line[0, at[c]], line[1, at[c]] = start[i], pitch[i]
            at[c] += 1
            last[c] = start[i]
        else:
            line[1, at[c] - 1] = max(line[1, at[c] - 1], pitch[i])
    return line, begin


@njit(cache=True)
def melodic_ngrams(start, channel, pitch, is_drum, ticks_per_beat):
    """Hash a song's n-grams; uint64, each as often as it occurs.

    Args:
        start, channel, pitch, is_drum: fields of a recording's notes, by start. Any number from 0
            to 127 that identifies the part can stand for the channel.
        ticks_per_beat: the unit of `start`.
    """
    line, begin = skyline(start, channel, pitch, is_drum)
    ngrams = np.empty(line.shape[1] * 10, np.uint64)
    found = 0
    step = np.empty(NEXT_NOTES + 1, np.uint64)
    for part in range(PARTS):
        for first in range(begin[part], begin[part + 1] - 3):
            reach = min(NEXT_NOTES, begin[part + 1] - 1 - first)
            for n in range(1, reach + 1):
                time = 16 * (line[0, first + n] - line[0, first]) + ticks_per_beat
                time = min(time // (2 * ticks_per_beat), MAX_EIGHTHS)
                interval = line[1, first + n] - line[1, first] + 128
                step[n] = np.uint64(time << 8 | interval)
            for a in range(1, reach - 1):
                for b in range(a + 1, reach):
                    for c in range(b + 1, reach + 1):
                        ngram = step[a] << np.uint64(32) | step[b] << np.uint64(16) | step[c]
                        ngrams[found] = mix_bits(ngram + np.uint64(0x9E3779B97F4A7C15))
                        found += 1
    return ngrams[:found]


@njit(cache=True)
def smallest_by_bin(ngrams):
    """Find the smallest hash in each bin, and how many bins have any."""
    smallest = np.full(BINS, EMPTY, np.uint64)
    for i in range(len(ngrams)):
        bin_ = ngrams[i] >> np.uint64(56)
        if ngrams[i] < smallest[bin_]:
            smallest[bin_] = ngrams[i]
    return smallest, np.count_nonzero(smallest != EMPTY)


@njit(cache=True)
def densify(smallest):
    """Take sixteen bits of each bin's smallest hash; an empty bin borrows another bin's.

    Which one it borrows depends on the bin alone, so equal sets have equal signatures.
    """
    signature = np.empty(BINS, np.uint16)
    for bin_ in range(BINS):
        source, attempt = np.uint64(bin_), 0
        while smallest[source] == EMPTY:
            attempt += 1
            source = mix_bits(np.uint64(bin_ << 16 | attempt)) >> np.uint64(56)
        signature[bin_] = mix_bits(smallest[source] + np.uint64(attempt)) & np.uint64(0xFFFF)
    return signature
