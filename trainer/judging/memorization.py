"""Find the longest run of notes that a song shares, note for note, with any training song.

A note is compared by instrument, pitch, duration and the time since the previous note, in canonical
order (see `shards.song`); the first note of a run is compared without that time. Velocity and tempo
are ignored; a transposed run does not match.

Training songs are read once, in blocks. Runs are compared by a rolling hash:

    hash of notes i to i + n - 1  =  sum over k < n of value(i + k) * RATIO ** k    mod 2 ** 64

where value is the hash of one note, for k = 0 without its time. Prefix sums give the hash of any
run. Songs that share n + 1 notes share n, so n only grows, and only starts that matched at n are
tried at n + 1. Every match is then compared note by note, so a hash collision cannot count.

Source: Karp and Rabin 1987, Efficient randomized pattern-matching algorithms, for the rolling
hash; Carlini et al. 2023, https://arxiv.org/abs/2202.07646, for verbatim copies as the measure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

RATIO = 0x9E3779B97F4A7C15
"""Any odd number without a pattern; odd numbers have an inverse modulo 2 ** 64."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
BLOCK_NOTES = 1 << 20
FILTER_BITS = 22
"""Leading bits of a hash that a first, fast lookup compares: a table of 4 MB."""
QUERY_START, TRAINING_START = -2, -1
"""The time before a song's first note. They differ from all times and from each other, so no run
matches across the end of a song."""


@dataclass(frozen=True)
class Match:
    """The longest run of notes of a song that also occurs in a training song.

    Attributes:
        notes: length of the run; 0: no note matches.
        start: index of the run's first note in the song.
        training_song: number of the training song; -1: none.
        training_start: index of the run's first note there.
    """

    notes: int = 0
    start: int = 0
    training_song: int = -1
    training_start: int = 0


class RollingHashes:
    """The notes of several songs, concatenated, and the hash of any run of them.

    Args:
        songs: notes of each, dtype NOTE.
        start_time: stands for the time before a song's first note.
    """

    def __init__(self, songs: list[np.ndarray], start_time: int) -> None:
        self.lengths = np.array([len(notes) for notes in songs])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        notes = np.concatenate(songs)
        times = np.diff(notes["start"], prepend=0)
        times[self.starts[:-1][self.lengths > 0]] = start_time
        sound = (notes["instrument"].astype(np.uint64) << 8) | notes["pitch"]
        self._untimed = _mixed(sound << 32 | notes["duration"].astype(np.uint64))
        timed = _mixed(self._untimed + _mixed(times.astype(np.uint64)))
        self._sums = np.zeros(len(notes) + 1, np.uint64)
        np.cumsum(timed * _powers(RATIO, len(notes)), out=self._sums[1:])
        self._inverse_powers = _powers(pow(RATIO, -1, 2**64), len(notes))

    def __len__(self) -> int:
        return len(self._untimed)

    def hashes(self, starts: np.ndarray, n: int) -> np.ndarray:
        """The hash of the `n` notes from each of `starts` on; there must be that many."""
        later = self._sums[starts + n] - self._sums[starts + 1]
        return self._untimed[starts] + later * self._inverse_powers[starts]


def _powers(base: int, size: int) -> np.ndarray:
    powers = np.full(size, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Hash 64-bit values one to one: the finalizer of SplitMix64 (Steele 2014)."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class RunLookup:
    """All runs of n notes of the songs whose match may still grow to n, for lookup by hash.

    Args:
        queries: the songs.
        best: shape (songs,); length of each song's longest match so far. Only songs with
            best >= n - 1 can have a match of n notes.
        n: the length of a run.
    """

    def __init__(self, queries: RollingHashes, best: np.ndarray, n: int) -> None:
        ends = queries.starts[1:] - n + 1
        ranges = [
            np.arange(queries.starts[song], ends[song])
            for song in np.flatnonzero((best >= n - 1) & (queries.lengths >= n))
        ]
        starts = np.concatenate([np.zeros(0, np.int64), *ranges])
        hashes = queries.hashes(starts, n)
        order = np.argsort(hashes, kind="stable")
        self.starts, self.hashes = starts[order], hashes[order]
        self._filter = np.zeros(1 << FILTER_BITS, bool)
        self._filter[_leading_bits(self.hashes)] = True

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Indices of the hashes that a run here has, ascending."""
        likely = np.flatnonzero(self._filter[_leading_bits(hashes)])
        at = np.searchsorted(self.hashes, hashes[likely])
        at[at == len(self.hashes)] = 0
        return likely[self.hashes[at] == hashes[likely]] if len(self.hashes) else likely[:0]


def _leading_bits(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)


def longest_matches(
    songs: list[np.ndarray],
    training: Iterable[tuple[int, np.ndarray]],
    *,
    block_notes: int = BLOCK_NOTES,
) -> list[Match]:
    """Find the longest run of notes that each song shares with a training song.

    Equals this slow definition:

        max over training songs t, starts i and j of the largest n with
        songs[s][i : i + n] equal to t[j : j + n], in all but velocity and the time before i and j

    Args:
        songs: notes of each, dtype NOTE, in canonical order.
        training: number and notes of each training song, likewise.
        block_notes: about how many training notes are in memory at once (at least one song).

    Returns:
        One match per song; of several matches of equal length, the first in training order.
    """
    queries = RollingHashes(songs, QUERY_START)
    best = np.zeros(len(songs), np.int64)
    matches = [Match()] * len(songs)
    owners = np.repeat(np.arange(len(songs)), queries.lengths)
    for numbers, block_songs in _blocks(training, block_notes):
        block = RollingHashes(block_songs, TRAINING_START)
        starts = np.arange(len(block))
        for n in count(int(best.min(initial=0)) + 1):
            lookup = RunLookup(queries, best, n)
            starts = starts[starts + n <= len(block)]
            hashes = block.hashes(starts, n)
            shared = lookup.find(hashes)
            if not len(shared):
                break
            starts, hashes = starts[shared], hashes[shared]
            for song, query_at, block_at in _first_matches(lookup, hashes, starts, owners):
                if best[song] >= n:
                    continue
                which = int(np.searchsorted(block.starts, block_at, side="right")) - 1
                start = int(query_at - queries.starts[song])
                training_start = int(block_at - block.starts[which])
                run = songs[song][start : start + n]
                training_run = block_songs[which][training_start : training_start + n]
                assert _is_equal(run, training_run), "two runs of notes with one hash"
                best[song] = n
                matches[song] = Match(n, start, numbers[which], training_start)
    return matches


def _first_matches(
    lookup: RunLookup, hashes: np.ndarray, starts: np.ndarray, owners: np.ndarray
) -> list[list[int]]:
    """The first match, in training order, of each song that has one.

    Each as [song, start among the queries' notes, start among the block's notes].
    """
    distinct, first = np.unique(hashes, return_index=True)
    at = np.minimum(np.searchsorted(distinct, lookup.hashes), len(distinct) - 1)
    shared = distinct[at] == lookup.hashes
    query_starts, block_starts = lookup.starts[shared], starts[first[at[shared]]]
    order = np.lexsort((query_starts, block_starts, owners[query_starts]))
    songs, rows = np.unique(owners[query_starts][order], return_index=True)
    return np.stack([songs, query_starts[order][rows], block_starts[order][rows]], axis=1).tolist()


def _blocks(
    training: Iterable[tuple[int, np.ndarray]], min_notes: int
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Group songs into blocks of at least `min_notes` notes; the last block may have fewer."""
    numbers, songs, size = [], [], 0
    for number, notes in training:
        numbers.append(number)
        songs.append(notes)
        size += len(notes)
        if size >= min_notes:
            yield numbers, songs
            numbers, songs, size = [], [], 0
    if size:
        yield numbers, songs


def _is_equal(run: np.ndarray, other: np.ndarray) -> bool:
    same = all((run[name] == other[name]).all() for name in ("instrument", "pitch", "duration"))
    return same and bool((np.diff(run["start"]) == np.diff(other["start"])).all())
