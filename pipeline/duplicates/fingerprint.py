"""The same music under two names: what a song sounds like, as a few numbers to compare.

Two songs are near-copies when they share many melodic figures. A figure is four notes of one
part's skyline, the first and any three of the next five, said by their pitch intervals and the
times between them. Nothing in it depends on key, tempo, instrument, loudness, track order,
resolution, or where the song starts; and because a figure may skip notes, many are left where
notes have been cut. Sets of figures are compared by MinHash, so 512 bytes a song are enough.

Conventions
    part      the notes of one channel, drums left out; in `pipeline audit`, of one instrument
    skyline   of the notes that start on one tick, the highest
    eighth    here: an eighth of a beat, the unit of times between notes

Sources: Broder 1997, On the resemblance and containment of documents (MinHash); Li, Owen, Zhang
2012, One permutation hashing; Shrivastava 2017, Optimal densification.
"""

import hashlib
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.midi import Recording
from shards.codec import EncodedSong

PLACES = 256
NEXT = 5
FEWEST_FIGURES = 64
"""With fewer, a song is compared by its exact music alone: scales and drones would merge."""
PARTS = 128
LONGEST = 255
"""Eighths: longer times between notes count as this."""


class Fingerprint(NamedTuple):
    """What the finish compares songs by.

    Attributes:
        signature: shape (PLACES,), uint16; the share of equal places in two songs estimates the
            Jaccard similarity of their sets of figures, standard error at most 0.031. None where
            there are too few figures to tell.
        anchor: the smallest hash of any figure, which near-copies tend to share.
    """

    signature: np.ndarray | None
    anchor: int


def music_hash(encoded: EncodedSong) -> str:
    """Equal for songs that encode to the same notes, meters and tempos, whatever their loudness."""
    digest = hashlib.md5(encoded.tokens.tobytes(), usedforsecurity=False)
    digest.update(encoded.instruments.tobytes())
    return digest.hexdigest()


def fingerprint(recording: Recording, music: str) -> Fingerprint:
    """A recording's fingerprint; `music`, its `music_hash`, stands in where it has no figures."""
    notes = recording.notes
    return fingerprint_of(
        melodic_figures(
            notes["start"].copy(),
            notes["channel"].copy(),
            notes["pitch"].copy(),
            notes["is_drum"].copy(),
            recording.ticks_per_beat,
        ),
        music,
    )


def fingerprint_of(figures: np.ndarray, music: str) -> Fingerprint:
    """The fingerprint of a song's figures; see `fingerprint`."""
    lowest, distinct = smallest_by_place(figures)
    if distinct < FEWEST_FIGURES:
        return Fingerprint(None, int(music[:16], 16))
    return Fingerprint(densified(lowest), int(figures.min()))


@njit(cache=True)
def mixed(hash_):
    """Spread 64 bits over all others (the finalizer of splitmix64)."""
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))


@njit(cache=True)
def skyline(start, channel, pitch, is_drum):
    """The notes' highest by part and tick.

    Args:
        start, channel, pitch, is_drum: fields of a recording's notes, by start.

    Returns:
        int64, shape (2, onsets): tick and pitch, part by part; and where each part begins, the
        last entry its end.
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
def melodic_figures(start, channel, pitch, is_drum, ticks_per_beat):
    """The hashes of a song's figures, uint64; one as often as it occurs.

    Args:
        start, channel, pitch, is_drum: fields of a recording's notes, by start; any number from
            0 to 127 that tells parts apart may stand for the channel.
        ticks_per_beat: the unit of `start`.
    """
    line, begin = skyline(start, channel, pitch, is_drum)
    figures = np.empty(line.shape[1] * 10, np.uint64)
    found = 0
    step = np.empty(NEXT + 1, np.uint64)
    for part in range(PARTS):
        for first in range(begin[part], begin[part + 1] - 3):
            reach = min(NEXT, begin[part + 1] - 1 - first)
            for n in range(1, reach + 1):
                time = 16 * (line[0, first + n] - line[0, first]) + ticks_per_beat
                time = min(time // (2 * ticks_per_beat), LONGEST)
                interval = line[1, first + n] - line[1, first] + 128
                step[n] = np.uint64(time << 8 | interval)
            for a in range(1, reach - 1):
                for b in range(a + 1, reach):
                    for c in range(b + 1, reach + 1):
                        figure = step[a] << np.uint64(32) | step[b] << np.uint64(16) | step[c]
                        figures[found] = mixed(figure + np.uint64(0x9E3779B97F4A7C15))
                        found += 1
    return figures[:found]


@njit(cache=True)
def smallest_by_place(figures):
    """The smallest hash at each place, and about how many figures are distinct.

    A figure's place is said by its highest bits.
    """
    lowest = np.full(PLACES, np.uint64(0xFFFFFFFFFFFFFFFF), np.uint64)
    for i in range(len(figures)):
        place = figures[i] >> np.uint64(56)
        if figures[i] < lowest[place]:
            lowest[place] = figures[i]
    filled = np.count_nonzero(lowest != np.uint64(0xFFFFFFFFFFFFFFFF))
    return lowest, filled


@njit(cache=True)
def densified(lowest):
    """Sixteen bits of each place's smallest hash; a place without takes those of another one.

    Which one depends on the place alone, so that equal sets have equal signatures.
    """
    signature = np.empty(PLACES, np.uint16)
    for place in range(PLACES):
        source, attempt = np.uint64(place), 0
        while lowest[source] == np.uint64(0xFFFFFFFFFFFFFFFF):
            attempt += 1
            source = mixed(np.uint64(place << 16 | attempt)) >> np.uint64(56)
        signature[place] = mixed(lowest[source] + np.uint64(attempt)) & np.uint64(0xFFFF)
    return signature
