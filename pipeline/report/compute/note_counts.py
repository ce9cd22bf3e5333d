"""Counts over the kept songs, made by the workers while they have each song in memory.

Each worker publishes the counts of its slice; to build the report they are added up. All counts
are integers, so the sum does not depend on the order: one worker or eight, resumed or not.

A worker cannot know which songs are duplicates, so here duplicates are counted like all others.
Statistics per song come from the index instead, and leave duplicates out.

Conventions
    family   eight programs, as in `shards.gm.FAMILIES`
    grid     a number of steps per beat that onsets could have been rounded to
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
"""Steps per beat that the report compares."""
ERROR_BINS = 61
"""Bins of one millisecond each; the last one holds every error from 60 ms on."""
MAX_SOUNDING = 32
"""Notes sounding at once; more are counted as this many."""


def array_shapes(vocabulary: Vocabulary) -> dict[str, tuple[int, ...]]:
    """Name and shape of each array of counts.

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
    decision_notes      notes by the evidence that decided whether a drum kit plays them, as in
                        `percussion.DECISIONS`; the first, no evidence, is not counted
    decision_songs      songs with such notes
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
        "sounding": (MAX_SOUNDING + 1,),
        "grid_exact": (len(GRIDS),),
        "grid_errors": (len(GRIDS), ERROR_BINS),
        "grid_microseconds": (len(GRIDS),),
        "decision_notes": (len(DECISIONS),),
        "decision_songs": (len(DECISIONS),),
    }


class NoteCounts:
    """The counts of some songs, in one vector, so that adding counts is adding vectors.

    Args:
        vocabulary: defines tokens and instrument classes.
        vector: shape (size,), int64; earlier counts to go on from. Zeros by default.

    Attributes:
        vector: all counts.
        arrays: views of it by name, as in `array_shapes`.

    Raises:
        ValueError: the vector has another length: it was made with another vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, vector: np.ndarray | None = None) -> None:
        shapes = array_shapes(vocabulary)
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        self.vocabulary = vocabulary
        self.vector = np.zeros(sum(sizes), np.int64) if vector is None else vector
        _check_size(self.vector, sum(sizes))
        views = np.split(self.vector, np.cumsum(sizes)[:-1])
        self.arrays: Mapping[str, np.ndarray] = MappingProxyType(
            {
                name: view.reshape(shape)
                for (name, shape), view in zip(shapes.items(), views, strict=True)
            }
        )

    def __add__(self, other: "NoteCounts") -> "NoteCounts":
        return NoteCounts(self.vocabulary, self.vector + other.vector)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoteCounts) and np.array_equal(self.vector, other.vector)

    __hash__ = None  # pyright: ignore[reportAssignmentType] (mutable, so not hashable)

    def count(self, song: Song, encoded: EncodedSong, recording: Recording) -> None:
        """Add one kept song as it is stored, and the onsets of its file before rounding."""
        arrays = self.arrays
        arrays["songs"][...] += 1
        tokens = np.bincount(encoded.tokens, minlength=len(self.vocabulary))
        arrays["tokens"][...] += tokens
        arrays["token_songs"][...] += tokens > 0
        self._count_notes(song.notes)
        self._count_onsets(recording.notes, recording.tempos, recording.ticks_per_beat)
        for decision, notes in recording.percussion.items():
            arrays["decision_notes"][DECISIONS.index(decision)] += notes
            arrays["decision_songs"][DECISIONS.index(decision)] += 1

    def _count_onsets(self, notes: np.ndarray, tempos: np.ndarray, ticks_per_beat: int) -> None:
        arrays = self.arrays
        _count_errors(
            np.ascontiguousarray(notes),
            np.ascontiguousarray(tempos),
            _grid_distances(ticks_per_beat),
            DEFAULT_TEMPO[1],
            arrays["grid_exact"],
            arrays["grid_errors"],
            arrays["grid_microseconds"],
        )

    def _count_notes(self, notes: np.ndarray) -> None:
        arrays = self.arrays
        playing = _count_notes(
            np.ascontiguousarray(notes),
            arrays["instrument_notes"],
            arrays["pitches"],
            arrays["velocities"],
            arrays["durations"],
            arrays["sounding"],
        )
        arrays["instrument_songs"][...] += playing


def warm_up() -> None:
    """Load the compiled kernels, or compile them, as `pipeline.midi.warm_up` does the reader's."""
    counts = NoteCounts(Vocabulary())
    counts._count_notes(np.zeros(0, NOTE))
    counts._count_onsets(np.zeros(0, NOTE_DTYPE), np.zeros(0, TEMPO_DTYPE), 96)


def note_counts_fragment(number: int) -> str:
    """File name of a slice's counts."""
    return f"note-counts-{number:05d}.npy"


def sum_counts(vocabulary: Vocabulary, vectors: Iterable[np.ndarray]) -> NoteCounts:
    """Add up the count vectors of any number of slices, in any order."""
    whole = NoteCounts(vocabulary)
    for vector in vectors:
        _check_size(vector, len(whole.vector))
        whole.vector += vector
    return whole


def _check_size(vector: np.ndarray, size: int) -> None:
    if vector.shape != (size,):
        raise ValueError(f"expected a vector of {size} counts, not of shape {vector.shape}")


@njit(cache=True)
def _count_notes(notes, by_class, by_pitch, by_velocity, by_duration, sounding):
    """Count the notes of one song.

    Args:
        notes: dtype NOTE, by start.
        by_class, by_pitch, by_velocity, by_duration, sounding: arrays of counts, added to.

    Returns:
        bool, by class: the classes that play in this song.
    """
    playing = np.zeros(len(by_class), np.bool_)
    first, last = -1, 0  # from the first onset of a program to its last sound
    for i in range(len(notes)):
        note = notes[i]
        playing[note.instrument] = True
        by_class[note.instrument] += 1
        is_drum = note.instrument >= PROGRAMS
        by_velocity[np.int64(is_drum), note.velocity >> VELOCITY_SHIFT] += 1
        if not is_drum:
            by_pitch[note.instrument >> 3, note.pitch] += 1
            by_duration[note.duration] += 1
            first = note.start if first < 0 else first
            last = max(last, note.start + note.duration)
    change = np.zeros(max(last - first, 0) + 1, np.int32)
    for i in range(len(notes)):
        note = notes[i]
        if note.instrument < PROGRAMS:
            change[note.start - first] += 1
            change[note.start + note.duration - first] -= 1
    now, top, since = 0, len(sounding) - 1, 0
    for step in range(len(change)):
        if change[step]:
            sounding[min(now, top)] += step - since
            now += change[step]
            since = step
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
def _count_errors(notes, tempos, distances, tempo, exact, errors, microseconds):
    """Count every onset's error by grid.

    Args:
        notes: dtype NOTE_DTYPE, by start.
        tempos: dtype TEMPO_DTYPE, by tick.
        distances: from `_grid_distances`.
        tempo: before the first change.
        exact, errors, microseconds: arrays of counts, added to.
    """
    ticks_per_beat = len(distances)
    counts = np.zeros(ticks_per_beat, np.int64)  # notes at the same tempo, by place in the beat
    places = np.empty(ticks_per_beat, np.int64)  # those with notes
    used, change, place, tick = 0, 0, 0, -1
    for i in range(len(notes)):
        if notes[i].start != tick:
            tick = notes[i].start
            if change < len(tempos) and tempos[change].tick <= tick:
                _add_errors(places[:used], counts, distances, tempo, exact, errors, microseconds)
                used = 0
                while change < len(tempos) and tempos[change].tick <= tick:
                    tempo = tempos[change].microseconds
                    change += 1
            place = tick % ticks_per_beat
        if not counts[place]:
            places[used] = place
            used += 1
        counts[place] += 1
    _add_errors(places[:used], counts, distances, tempo, exact, errors, microseconds)


@njit(cache=True)
def _add_errors(places, counts, distances, tempo, exact, errors, microseconds):
    """Count the errors of the notes at these places, and take the notes out of `counts`."""
    last = errors.shape[1] - 1
    for place in places:
        notes, counts[place] = counts[place], 0
        for grid in range(distances.shape[1]):
            distance = distances[place, grid]
            if distance == 0.0:
                exact[grid] += notes
                errors[grid, 0] += notes
            else:
                error = np.int64(distance * tempo)
                errors[grid, min(error // 1000, last)] += notes
                microseconds[grid] += notes * error
