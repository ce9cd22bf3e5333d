"""Memorisation: the longest run of notes that a song has in common, note for note, with any of
the training songs.

A note is its instrument, pitch, length and the time since the note before it, in canonical order
(see `shards.song`); a run's first note counts without the time before it. Loudness and tempo do
not matter, and a transposed copy is no copy.

Training songs are gone through once, in blocks, by a hash of every run of n notes:

    hash of notes i to i + n - 1  =  sum over k < n of value(i + k) * RATIO ** k    mod 2 ** 64

in which value is a note's own hash, without the time for k = 0. Sums up to each note give that of
any run. Whoever shares n + 1 notes shares n, hence n only grows, among the places still in
question. At last the run found is compared note by note: no hash is taken at its word.

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
"""A first look tells runs apart by so many bits of their hash: a table of 4 MB."""
OF_QUERY, OF_TRAINING = -2, -1
"""The time before a song's first note: equal to no other, so that no run goes over a song's end."""


@dataclass(frozen=True)
class Copy:
    """The longest run of a song that stands in a training song too.

    Attributes:
        notes: how many; 0: no note is in common.
        at: the run's first note in the song.
        song: the training song, as it was numbered.
        song_at: the run's first note there.
    """

    notes: int = 0
    at: int = 0
    song: int = -1
    song_at: int = 0


class Runs:
    """Notes of several songs in a row, and the hash of any run of them.

    Args:
        songs: notes of each, dtype NOTE.
        first: the time that stands before a song's first note.
    """

    def __init__(self, songs: list[np.ndarray], first: int) -> None:
        self.lengths = np.array([len(notes) for notes in songs])
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        notes = np.concatenate(songs)
        times = np.diff(notes["start"], prepend=0)
        times[self.starts[:-1][self.lengths > 0]] = first
        sound = (notes["instrument"].astype(np.uint64) << 8) | notes["pitch"]
        self.alone = _mixed(sound << 32 | notes["duration"].astype(np.uint64))
        timed = _mixed(self.alone + _mixed(times.astype(np.uint64)))
        self._sums = np.zeros(len(notes) + 1, np.uint64)
        np.cumsum(timed * _powers(RATIO, len(notes)), out=self._sums[1:])
        self._shift = _powers(pow(RATIO, -1, 2**64), len(notes))

    def __len__(self) -> int:
        return len(self.alone)

    def hashes(self, places: np.ndarray, n: int) -> np.ndarray:
        """Hash of the n notes from each place on; there must be so many."""
        later = self._sums[places + n] - self._sums[places + 1]
        return self.alone[places] + later * self._shift[places]


def _powers(base: int, size: int) -> np.ndarray:
    powers = np.full(size, base, np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread 64-bit values over 64 bits, one to one: the finalizer of SplitMix64 (Steele 2014)."""
    values = values + GOLDEN
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Known:
    """The runs of n notes that the songs in question have, to look others up in.

    Args:
        queries: the songs.
        best: shape (songs,); how long a run each is known to share.
        n: the length of a run. Songs that may share one are in question: best >= n - 1.
    """

    def __init__(self, queries: Runs, best: np.ndarray, n: int) -> None:
        self.n = n
        ends = queries.starts[1:] - n + 1
        ranges = [
            np.arange(queries.starts[song], ends[song])
            for song in np.flatnonzero((best >= n - 1) & (queries.lengths >= n))
        ]
        self.places = np.concatenate([np.zeros(0, np.int64), *ranges])
        hashes = queries.hashes(self.places, n)
        order = np.argsort(hashes, kind="stable")
        self.places, self.hashes = self.places[order], hashes[order]
        self._maybe = np.zeros(1 << FILTER_BITS, bool)
        self._maybe[_high_bits(self.hashes)] = True

    def among(self, hashes: np.ndarray) -> np.ndarray:
        """Which hashes are known; ascending places in `hashes`."""
        likely = np.flatnonzero(self._maybe[_high_bits(hashes)])
        at = np.searchsorted(self.hashes, hashes[likely])
        at[at == len(self.hashes)] = 0
        return likely[self.hashes[at] == hashes[likely]] if len(self.hashes) else likely[:0]


def _high_bits(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)


def longest_copies(
    songs: list[np.ndarray],
    training: Iterable[tuple[int, np.ndarray]],
    *,
    block_notes: int = BLOCK_NOTES,
) -> list[Copy]:
    """The longest run that each song has in common with a training song.

    It is this, without the time that takes:

        max over training songs t, starts i and j of the largest n with
        songs[s][i : i + n] equal to t[j : j + n], in all but velocity and the time before i and j

    Args:
        songs: notes of each, dtype NOTE, in canonical order.
        training: a number for each training song, and its notes, likewise.
        block_notes: memory is bounded by about so many notes at once, and the longest song.

    Returns:
        One for each of `songs`; of several runs of one length the first that training songs have.
    """
    queries = Runs(songs, OF_QUERY)
    best = np.zeros(len(songs), np.int64)
    found: list[Copy] = [Copy()] * len(songs)
    owners = np.repeat(np.arange(len(songs)), queries.lengths)
    for numbers, notes in _blocks(training, block_notes):
        block = Runs(notes, OF_TRAINING)
        places = np.arange(len(block))
        for n in count(int(best.min(initial=0)) + 1):
            known = Known(queries, best, n)
            places = places[places + n <= len(block)]
            hashes = block.hashes(places, n)
            shared = known.among(hashes)
            if not len(shared):
                break
            places, hashes = places[shared], hashes[shared]
            for song, at, block_at in _records(known, hashes, places, owners):
                if best[song] >= n:
                    continue
                which = int(np.searchsorted(block.starts, block_at, side="right")) - 1
                at, song_at = int(at - queries.starts[song]), int(block_at - block.starts[which])
                ours, theirs = songs[song][at : at + n], notes[which][song_at : song_at + n]
                assert _is_copy(ours, theirs), "two runs of notes with one hash"
                best[song] = n
                found[song] = Copy(n, at, numbers[which], song_at)
    return found


def _records(
    known: Known, hashes: np.ndarray, places: np.ndarray, owners: np.ndarray
) -> list[list[int]]:
    """For each song with a known run among the hashes: song, place in it, first place of a hash."""
    different, first = np.unique(hashes, return_index=True)
    at = np.minimum(np.searchsorted(different, known.hashes), len(different) - 1)
    shared = different[at] == known.hashes
    ours, theirs = known.places[shared], places[first[at[shared]]]
    order = np.lexsort((ours, theirs, owners[ours]))
    songs, rows = np.unique(owners[ours][order], return_index=True)
    return np.stack([songs, ours[order][rows], theirs[order][rows]], axis=1).tolist()


def _blocks(
    training: Iterable[tuple[int, np.ndarray]], most: int
) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Songs in blocks of at least `most` notes; the last block may have fewer."""
    numbers, songs, size = [], [], 0
    for number, notes in training:
        numbers.append(number)
        songs.append(notes)
        size += len(notes)
        if size >= most:
            yield numbers, songs
            numbers, songs, size = [], [], 0
    if size:
        yield numbers, songs


def _is_copy(ours: np.ndarray, theirs: np.ndarray) -> bool:
    same = all((ours[name] == theirs[name]).all() for name in ("instrument", "pitch", "duration"))
    return same and (np.diff(ours["start"]) == np.diff(theirs["start"])).all()
