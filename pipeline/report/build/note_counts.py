"""Counts over the kept songs, made by the workers while they have each song in hand.

A worker counts for its slice and publishes the counts beside the slice's other parts; to finish
the dataset they are only added up. Everything is a whole number, so the sum is the same in any
order: one worker or eight, resumed or not.

A worker cannot know which songs are copies of one another, so copies count like all others
here. What is known of each song by itself is in the index, and is reported without copies.

Conventions
    family   of programs, as in `shards.gm.FAMILIES`, eight programs each
    grid     a number of steps a beat that onsets could have been snapped to
    error    distance of an onset from the nearest step of a grid, in whole microseconds
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numba import njit

from pipeline.midi import Recording
from pipeline.midi.controls import TEMPO_DTYPE
from pipeline.midi.notes import NOTE_DTYPE
from pipeline.midi.percussion import DECISIONS
from shards.codec import EncodedSong
from shards.gm import FAMILIES
from shards.song import DEFAULT_TEMPO, NOTE, Song
from shards.vocabulary import PROGRAMS, VELOCITY_BINS, VELOCITY_SHIFT, Vocabulary

GRIDS = (4, 6, 8, 12, 16, 24, 32, 48)
"""Steps a beat that the report lets a reader choose from."""
ERROR_BINS = 61
"""Errors in bins of a millisecond; the last holds all from 60 ms on."""
MOST_SOUNDING = 32
"""Notes sounding at once; more are counted as this many."""


def parts_of(vocabulary: Vocabulary) -> dict[str, tuple[int, ...]]:
    """What is counted, with its shape.

    songs               kept songs
    tokens              how often each token occurs, by id
    token_songs         songs in which each token occurs
    instrument_notes    notes by instrument class
    instrument_songs    songs in which each instrument class plays
    pitches             notes by family and pitch; drums not counted
    velocities          notes by velocity bin: first those of programs, then of drums
    durations           notes by duration in steps; drums not counted
    sounding            steps by how many notes sound, drums not counted; from the first onset
                        of a program to its last sound, silences inside included
    grid_exact          onsets that lie on a step, by grid
    grid_errors         onsets by grid and error
    grid_microseconds   sum of the errors, by grid
    kit_notes           notes by what decided whether a drum kit plays them, as in
                        `percussion.DECISIONS`; the first, nothing said, is not counted
    kit_songs           songs with such notes
    """
    return {
        "songs": (),
        "tokens": (len(vocabulary),),
        "token_songs": (len(vocabulary),),
        "instrument_notes": (vocabulary.instruments,),
        "instrument_songs": (vocabulary.instruments,),
        "pitches": (len(FAMILIES), 128),
        "velocities": (2, VELOCITY_BINS),
        "durations": (vocabulary.max_duration + 1,),
        "sounding": (MOST_SOUNDING + 1,),
        "grid_exact": (len(GRIDS),),
        "grid_errors": (len(GRIDS), ERROR_BINS),
        "grid_microseconds": (len(GRIDS),),
        "kit_notes": (len(DECISIONS),),
        "kit_songs": (len(DECISIONS),),
    }


class Tally:
    """The counts of some songs; one vector, so that adding two tallies adds two vectors.

    Args:
        vocabulary: what tokens and instruments mean.
        counts: shape (size,), int64; of an earlier tally. Zeros by default.

    Attributes:
        counts: all counts in one vector.
        parts: views on it by name, as in `parts_of`.

    Raises:
        ValueError: counts of another length, made with another vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, counts: np.ndarray | None = None) -> None:
        shapes = parts_of(vocabulary)
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        self.vocabulary = vocabulary
        self.counts = np.zeros(sum(sizes), np.int64) if counts is None else counts
        if self.counts.shape != (sum(sizes),):
            raise ValueError(f"a tally has {sum(sizes)} counts, not {self.counts.shape}")
        pieces = np.split(self.counts, np.cumsum(sizes)[:-1])
        self.parts: Mapping[str, np.ndarray] = MappingProxyType(
            {
                name: piece.reshape(shape)
                for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
            }
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.vocabulary, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and np.array_equal(self.counts, other.counts)

    __hash__ = None

    def count(self, song: Song, encoded: EncodedSong, recording: Recording) -> None:
        """Add one kept song, as it is stored, and the onsets of its file as they were played."""
        parts = self.parts
        parts["songs"][...] += 1
        tokens = np.bincount(encoded.tokens, minlength=len(self.vocabulary))
        parts["tokens"][...] += tokens
        parts["token_songs"][...] += tokens > 0
        self._count_notes(song.notes)
        self._count_onsets(recording.notes, recording.tempos, recording.ticks_per_beat)
        for decision, notes in recording.percussion.items():
            parts["kit_notes"][DECISIONS.index(decision)] += notes
            parts["kit_songs"][DECISIONS.index(decision)] += 1

    def _count_onsets(self, notes: np.ndarray, tempos: np.ndarray, ticks_per_beat: int) -> None:
        parts = self.parts
        _count_errors(
            *_columns(notes, "start"),
            *_columns(tempos, "tick", "microseconds"),
            _grid_distances(ticks_per_beat),
            DEFAULT_TEMPO[1],
            parts["grid_exact"],
            parts["grid_errors"],
            parts["grid_microseconds"],
        )

    def _count_notes(self, notes: np.ndarray) -> None:
        parts = self.parts
        playing = _count_notes(
            *_columns(notes, "start", "duration", "instrument", "pitch", "velocity"),
            parts["instrument_notes"],
            parts["pitches"],
            parts["velocities"],
            parts["durations"],
            parts["sounding"],
        )
        parts["instrument_songs"][...] += playing


def _columns(records: np.ndarray, *names: str) -> list[np.ndarray]:
    """Fields of a structured array, each contiguous: one type for the compiler, however few."""
    return [np.ascontiguousarray(records[name]) for name in names]


def warm_up() -> None:
    """Load the compiled kernels, or compile them, as `pipeline.midi.warm_up` does the reader's."""
    tally = Tally(Vocabulary())
    tally._count_notes(np.zeros(0, NOTE))
    tally._count_onsets(np.zeros(0, NOTE_DTYPE), np.zeros(0, TEMPO_DTYPE), 96)


def tally_fragment(number: int) -> str:
    """File name of a slice's tally."""
    return f"tally-{number:05d}.npy"


def total(vocabulary: Vocabulary, tallies: Iterable[np.ndarray]) -> Tally:
    """The sum of the counts of any number of tallies, in any order; of none, zeros."""
    whole = Tally(vocabulary)
    for counts in tallies:
        if counts.shape != whole.counts.shape:
            raise ValueError(f"a tally has {whole.counts.shape} counts, not {counts.shape}")
        whole.counts += counts
    return whole


@njit(cache=True)
def _count_notes(
    starts, lengths, instruments, pitches, velocities, by_class, by_pitch, loudness, held, sounding
):
    """Count the notes of one song.

    Args:
        starts, lengths, instruments, pitches, velocities: of the notes, by start.
        by_class, by_pitch, loudness, held, sounding: parts of a tally, added to.

    Returns:
        bool, by class: which play in this song.
    """
    playing = np.zeros(len(by_class), np.bool_)
    first, last = -1, 0  # the stretch from the first onset of a program to its last sound
    for i in range(len(starts)):
        instrument = instruments[i]
        playing[instrument] = True
        by_class[instrument] += 1
        loudness[np.int64(instrument >= PROGRAMS), velocities[i] >> VELOCITY_SHIFT] += 1
        if instrument < PROGRAMS:
            by_pitch[instrument >> 3, pitches[i]] += 1
            held[lengths[i]] += 1
            first = starts[i] if first < 0 else first
            last = max(last, starts[i] + lengths[i])
    change = np.zeros(max(last - first, 0) + 1, np.int32)
    for i in range(len(starts)):
        if instruments[i] < PROGRAMS:
            change[starts[i] - first] += 1
            change[starts[i] + lengths[i] - first] -= 1
    now, most = 0, len(sounding) - 1
    for step in range(len(change) - 1):
        now += change[step]
        sounding[min(now, most)] += 1
    return playing


@lru_cache(maxsize=64)
def _grid_distances(ticks_per_beat: int) -> np.ndarray:
    """Distance of each tick of a beat from the nearest step of each grid, in beats.

    Returns:
        shape (ticks_per_beat, len(GRIDS)), float64.
    """
    grids = np.array(GRIDS)
    past = np.arange(ticks_per_beat)[:, None] * grids % ticks_per_beat
    return np.minimum(past, ticks_per_beat - past) / (ticks_per_beat * grids)


@njit(cache=True)
def _count_errors(starts, tempo_ticks, tempos, distances, tempo, exact, errors, microseconds):
    """Count every onset's error by grid.

    Args:
        starts: onsets in ticks, ascending.
        tempo_ticks, tempos: changes of tempo [microseconds a beat], by tick.
        distances: from `_grid_distances`.
        tempo: before the first change.
        exact, errors, microseconds: parts of a tally, added to.
    """
    ticks_per_beat, grids = distances.shape
    last = errors.shape[1] - 1
    change, first = 0, 0
    while first < len(starts):
        start, end = starts[first], first + 1
        while end < len(starts) and starts[end] == start:
            end += 1
        notes, first = end - first, end
        while change < len(tempo_ticks) and tempo_ticks[change] <= start:
            tempo = tempos[change]
            change += 1
        place = start % ticks_per_beat
        for grid in range(grids):
            distance = distances[place, grid]
            if distance == 0.0:
                exact[grid] += notes
                errors[grid, 0] += notes
            else:
                error = np.int64(distance * tempo)
                errors[grid, min(error // 1000, last)] += notes
                microseconds[grid] += notes * error
