"""The ids of tokens and the numbers of instrument classes.

A vocabulary is a function of its settings alone. Both are saved with every dataset and every
run; the fingerprint is equal for equal vocabularies.

Conventions
    id          index of a token's name in `names`; stored as uint16
    instrument  class in [0, instruments): 0-127 a General MIDI program, 128 + n the n-th key of
                the percussion map; 255 in the arrays: no instrument
    step        one cell of the grid; `steps_per_beat` of them make a quarter note
    whole note  a bar of 4/4: 4 * steps_per_beat steps
    bin         velocities have 32 bins, tempos 16 per octave, pitch bends one per 25 cents up
                to an octave, modulation 8 levels

Source: General MIDI 1 (percussion keys 35-81) and General MIDI 2 (27-87), MIDI Association.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np

from shards import settings
from shards.gm import DRUM_NAMES, PROGRAM_NAMES
from shards.settings import Settings, setting

PROGRAMS = PITCHES = 128
NO_INSTRUMENT = 255
NO_VELOCITY = 255
VELOCITY_BINS = 32
VELOCITY_SHIFT = 2
"""A velocity's bin is the velocity shifted right by this many bits."""
PERCUSSION_MAPS = {"gm": (35, 81), "gm2": (27, 87), "full": (0, 126)}
"""First and last percussion key of each map. Key 127, where no drum is known, would be class 255,
which means none in the arrays."""

DURATIONS_PER_OCTAVE = 16
MAX_REST_BARS = 8
"""Whole notes in the longest rest token."""

NO_LIMIT = 1 << 62
"""More steps than any song has."""

MIN_BPM, TEMPO_OCTAVES, TEMPOS_PER_OCTAVE = 15, 5, 16

BEND_CENTS, MAX_BEND_CENTS = 25, 1200
BEND_VALUES = np.arange(-MAX_BEND_CENTS, MAX_BEND_CENTS + 1, BEND_CENTS)
MODULATION_VALUES = np.rint(np.arange(8) * 127 / 7).astype(np.int64)
"""Values of the bend tokens, in cents, and of the modulation tokens, 0 to 127."""

MAX_BAR_BEATS = 16
MAX_NUMERATORS = {2: 8, 4: 16, 8: 24, 16: 24}
"""Meters in the vocabulary: denominator -> largest numerator, in bars of up to MAX_BAR_BEATS."""


class Kind(IntEnum):
    """Kinds of token, in the order of their ids."""

    PAD, SOS, EOS, PITCH, DRUM, DURATION, REST, METER, TEMPO, BEND, MODULATION, UNUSED = range(12)


SPECIAL = ("<pad>", "<sos>", "<eos>")


@dataclass(frozen=True, kw_only=True)
class CodecSettings(Settings):
    """What a song's token stream can express, and how finely."""

    steps_per_beat: int = setting(
        24,
        "Grid cells in a quarter note. 12 holds sixteenths and eighth triplets; 24 holds "
        "thirty-seconds and sixteenth triplets too, for 1 to 2 % more tokens.",
        low=4,
        high=96,
    )
    max_duration: int = setting(
        8,
        "Bars of 4/4 in the longest duration token. Longer notes are cut to it and counted: 2 in "
        "10,000 real notes.",
        low=1,
        high=64,
    )
    percussion: str = setting(
        "gm2",
        "Percussion map: gm keys 35-81 (175 instrument classes), gm2 27-87 (189), full 0-126 "
        "(255). Keys outside are dropped and counted: 1 % of real drum notes with gm, which lacks "
        "the main drum of some songs, 0.1 % with gm2.",
        choices=tuple(PERCUSSION_MAPS),
    )
    meters: bool = setting(
        True, "Put meter changes into the stream. Without them every song is in 4/4."
    )
    tempos: bool = setting(
        True, "Put tempo changes into the stream. Without them every song is played at 120."
    )
    controls: str = setting(
        "none",
        "Pitch bend and modulation in the stream, one token per change at a grid step. The report "
        "shows how many songs have any, and how many tokens they take.",
        choices=("none", "bend", "mod", "bend,mod"),
    )


class Vocabulary:
    """Names and ids of every token, for one choice of settings.

    Ids in this order: `<pad> <sos> <eos>`, pitches n0..n127, drums by key (k27..k87), durations
    d1.., rests r1.., meters, tempos, bends, modulations, then unused names up to a multiple of
    eight, which makes matrix products on GPUs faster.

    Attributes:
        durations: steps of each duration token, ascending, int64; see `_durations`.
        rests: steps of each rest token, ascending, int64: every step to a whole note, then whole
            notes up to MAX_REST_BARS.
        rest_room: shape (rests,), int64; how many more steps of rest may follow each rest token.
            A long rest is written longest token first, and this is what is left at most.
        drum_duration: steps that a drum note lasts, since its token does not say: a sixteenth.
    """

    pad, sos, eos = range(3)
    pitch0 = len(SPECIAL)
    drum0 = pitch0 + PITCHES

    def __init__(self, codec_settings: CodecSettings | None = None) -> None:
        self.settings = codec_settings or CodecSettings()
        steps = self.settings.steps_per_beat
        self.low_key, self.high_key = PERCUSSION_MAPS[self.settings.percussion]
        self.drums = self.high_key - self.low_key + 1
        self.instruments = PROGRAMS + self.drums
        self.max_duration = self.settings.max_duration * 4 * steps
        self.durations = _durations(4 * steps, self.max_duration)
        self.drum_duration = steps // 4
        self.rests = np.concatenate(
            [np.arange(1, 4 * steps), 4 * steps * np.arange(1, MAX_REST_BARS + 1)]
        )
        self.rest_room = np.append(np.diff(self.rests) - 1, NO_LIMIT)
        self.meters: tuple[tuple[int, int], ...] = (
            tuple(_meters(steps)) if self.settings.meters else ()
        )
        self.tempos = _tempo_bins() if self.settings.tempos else np.zeros(0, np.int64)
        controls = self.settings.controls.split(",")
        self.bends = BEND_VALUES if "bend" in controls else np.zeros(0, np.int64)
        self.modulations = MODULATION_VALUES if "mod" in controls else np.zeros(0, np.int64)
        self.duration0 = self.drum0 + self.drums
        self.rest0 = self.duration0 + len(self.durations)
        self.meter0 = self.rest0 + len(self.rests)
        self.tempo0 = self.meter0 + len(self.meters)
        self.bend0 = self.tempo0 + len(self.tempos)
        self.modulation0 = self.bend0 + len(self.bends)
        self.unused0 = self.modulation0 + len(self.modulations)
        self.names = self._names()

    def _names(self) -> tuple[str, ...]:
        names = [*SPECIAL]
        names += [f"n{pitch}" for pitch in range(128)]
        names += [f"k{key}" for key in range(self.low_key, self.high_key + 1)]
        names += [f"d{steps}" for steps in self.durations.tolist()]
        names += [f"r{steps}" for steps in self.rests.tolist()]
        names += [f"m{numerator}/{denominator}" for numerator, denominator in self.meters]
        names += [f"t{bpm_text(tempo)}" for tempo in self.tempos.tolist()]
        names += [f"b{cents}" for cents in self.bends]
        names += [f"w{level}" for level in self.modulations]
        unused = -len(names) % 8
        return (*names, *(f"<unused{n}>" for n in range(unused)))

    def __repr__(self) -> str:
        per_beat = f"{self.settings.steps_per_beat} steps per beat"
        return f"<Vocabulary: {len(self)} tokens, {self.instruments} instruments, {per_beat}>"

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(self.settings)

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token name -> id."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def _kinds(self) -> np.ndarray:
        """The kind of each id, int64; one more than there are, of UNUSED."""
        groups = [self.pitch0, self.drum0, self.duration0, self.rest0, self.meter0, self.tempo0]
        groups += [self.bend0, self.modulation0, self.unused0]
        first_ids = np.array([*range(len(SPECIAL)), *groups])
        return np.searchsorted(first_ids, np.arange(len(self) + 1), side="right") - 1

    @cached_property
    def rest_steps(self) -> np.ndarray:
        """Steps that each id moves time on, int64; 0 where it is no rest."""
        steps = np.zeros(len(self) + 1, np.int64)
        steps[self.rest0 : self.meter0] = self.rests
        return steps

    def kind(self, tokens: np.ndarray) -> np.ndarray:
        """The `Kind` of each token; same shape, int64. An id beyond the vocabulary is UNUSED."""
        return self._kinds.take(tokens, mode="clip")

    def is_note(self, tokens: np.ndarray) -> np.ndarray:
        """Whether each token starts a note, melodic or a drum; same shape, bool."""
        return (tokens >= self.pitch0) & (tokens < self.duration0)

    def has_instrument(self, tokens: np.ndarray) -> np.ndarray:
        """Whether each token comes with a class that it does not imply: a pitch or a control.

        Same shape, bool.
        """
        kind = self.kind(tokens)
        return (kind == Kind.PITCH) | (kind == Kind.BEND) | (kind == Kind.MODULATION)

    @cached_property
    def instrument_names(self) -> tuple[str, ...]:
        """The General MIDI name of each class; a percussion key without one gets its number."""
        keys = range(self.low_key, self.high_key + 1)
        return (*PROGRAM_NAMES, *(DRUM_NAMES.get(key, f"Percussion key {key}") for key in keys))

    @cached_property
    def drum_classes(self) -> np.ndarray:
        """Instrument class of each percussion key, NO_INSTRUMENT outside the map; (128,) uint8."""
        classes = np.full(128, NO_INSTRUMENT, np.uint8)
        keys = np.arange(self.low_key, self.high_key + 1)
        classes[keys] = PROGRAMS + keys - self.low_key
        return classes

    @cached_property
    def bar_steps(self) -> dict[tuple[int, int], int]:
        """Meter -> steps in one of its bars; always has 4/4."""
        steps = 4 * self.settings.steps_per_beat
        return {(n, d): steps * n // d for n, d in ((4, 4), *self.meters)}

    @property
    def max_bar_steps(self) -> int:
        """Steps in the longest bar of any meter in the vocabulary."""
        return max(self.bar_steps.values())

    @property
    def step_dtype(self) -> np.dtype:
        """Type of the `steps` array: one byte where the longest bar fits, two otherwise."""
        return np.dtype(np.uint8 if self.max_bar_steps <= 256 else np.uint16)

    def meter_id(self, numerator: int, denominator: int) -> int:
        """The token of a meter; KeyError where the vocabulary has none."""
        return self.ids[f"m{numerator}/{denominator}"]

    def tempo_bins(self, microseconds: np.ndarray) -> np.ndarray:
        """Nearest bin, by ratio, of tempos in microseconds per quarter note; same shape, int64."""
        edges = self._tempo_edges
        return len(edges) - np.searchsorted(edges, np.asarray(microseconds), side="left")

    @cached_property
    def _tempo_edges(self) -> np.ndarray:
        """Microseconds between neighbouring bins, ascending."""
        return _tempo_at(np.arange(TEMPO_OCTAVES * TEMPOS_PER_OCTAVE) + 0.5)[::-1].copy()

    @cached_property
    def nearest_durations(self) -> np.ndarray:
        """Index of the nearest duration token, by ratio, of 0 to `max_duration` steps; int64.

        A duration just between two tokens, their geometric mean, takes the longer; 0 takes the
        shortest.
        """
        steps, tokens = np.arange(self.max_duration + 1), self.durations
        return np.searchsorted(tokens[:-1] * tokens[1:], steps * steps, side="right")

    @cached_property
    def stored_durations(self) -> np.ndarray:
        """What a duration of 0 to `max_duration` steps becomes, in steps; int64."""
        return self.durations[self.nearest_durations]

    @cached_property
    def has_duration(self) -> np.ndarray:
        """Whether a duration token has exactly so many steps, of 0 to `max_duration`; bool."""
        return np.isin(np.arange(self.max_duration + 1), self.durations)

    @cached_property
    def longest_rests(self) -> np.ndarray:
        """Index of the longest rest token of at most so many steps, of 0 to `rests[-1]`; int64.

        -1 for 0 steps.
        """
        return np.searchsorted(self.rests, np.arange(self.rests[-1] + 1), side="right") - 1

    def rest_counts(self, steps: np.ndarray) -> np.ndarray:
        """How many tokens a rest of so many steps takes; same shape, int64."""
        longest = int(self.rests[-1])
        if steps.max(initial=0) < longest:  # as in most songs; dividing takes longer
            return self._short_rest_counts[steps]
        return steps // longest + self._short_rest_counts[steps % longest]

    @cached_property
    def _short_rest_counts(self) -> np.ndarray:
        """How many tokens a rest takes that is shorter than the longest token, int64."""
        whole_notes, left = np.divmod(np.arange(self.rests[-1]), 4 * self.settings.steps_per_beat)
        return np.int64(whole_notes > 0) + (left > 0)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits; equal if and only if every name and instrument class is."""
        text = json.dumps([self.names, self.settings.percussion, self.settings.steps_per_beat])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain data for vocabulary.json; the names are for people, `from_json` ignores them."""
        return {
            "settings": settings.to_json(self.settings),
            "fingerprint": self.fingerprint,
            "instruments": self.instruments,
            "names": list(self.names),
            "instrument_names": list(self.instrument_names),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, where: str = "vocabulary.json") -> "Vocabulary":
        """Build the vocabulary that `to_json` described.

        Raises:
            SettingError: a setting is unknown, or this version makes another vocabulary from the
                same settings, so that ids would mean something else.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("settings"), Mapping):
            raise settings.SettingError(f"{where} is not a vocabulary: it has no 'settings'")
        vocabulary = cls(settings.from_json(CodecSettings, data["settings"], where=where))
        if data.get("fingerprint") != vocabulary.fingerprint:
            raise settings.SettingError(
                f"{where} has fingerprint {data.get('fingerprint')}, but its settings give "
                f"{vocabulary.fingerprint} in this version: make the dataset again"
            )
        return vocabulary


def _durations(whole_note: int, longest: int) -> np.ndarray:
    """Steps of the duration tokens, ascending, int64.

    Every step to a whole note, then DURATIONS_PER_OCTAVE in each doubling, evenly spaced within it
    as floating-point numbers are, so that two, three and five whole notes are exact. A duration
    moves by at most 3.1 %.
    """
    octaves = np.arange(math.ceil(math.log2(longest / whole_note)))
    mantissas = np.arange(DURATIONS_PER_OCTAVE, 2 * DURATIONS_PER_OCTAVE)
    spaced = (whole_note * np.outer(2**octaves, mantissas)).ravel()
    spaced = (spaced + DURATIONS_PER_OCTAVE // 2) // DURATIONS_PER_OCTAVE
    return np.concatenate([np.arange(1, whole_note), spaced[spaced < longest], [longest]])


def _meters(steps_per_beat: int) -> Iterator[tuple[int, int]]:
    """Meters whose bar is a whole number of steps and at most 16 quarter notes long."""
    whole_note = 4 * steps_per_beat
    for denominator, max_numerator in MAX_NUMERATORS.items():
        for numerator in range(1, max_numerator + 1):
            steps, rest = divmod(whole_note * numerator, denominator)
            if rest == 0 and steps <= MAX_BAR_BEATS * steps_per_beat:
                yield numerator, denominator


def _tempo_bins() -> np.ndarray:
    """Microseconds per quarter note at the centre of each tempo bin, slowest first; int64.

    15 to 480 beats per minute, 16 per octave: neighbours differ by 4.4 %, about the smallest
    difference that listeners notice, so no tempo in this range moves by more than 2.2 %. 60, 120
    and 240 are exact.
    """
    return _tempo_at(np.arange(TEMPO_OCTAVES * TEMPOS_PER_OCTAVE + 1))


def _tempo_at(bins: np.ndarray) -> np.ndarray:
    """Microseconds per quarter note at a bin, or at a fraction between two; int64."""
    return np.rint(60e6 / (MIN_BPM * 2.0 ** (bins / TEMPOS_PER_OCTAVE))).astype(np.int64)


def bpm_text(microseconds: int) -> str:
    """Beats per minute with one decimal, as in token names."""
    return f"{60e6 / microseconds:.1f}"


def velocity_bin(velocity: np.ndarray) -> np.ndarray:
    """The bin, 0-31, of MIDI velocities 1-127; four velocities share one."""
    return (np.asarray(velocity) >> VELOCITY_SHIFT).astype(np.uint8)


def velocity_of_bin(bins: np.ndarray) -> np.ndarray:
    """The MIDI velocity of each bin: its third, so that 64 and 127 change little."""
    return ((np.asarray(bins, np.uint8) << VELOCITY_SHIFT) + 2).astype(np.uint8)


def bend_bins(cents: np.ndarray) -> np.ndarray:
    """Nearest bin of pitch bends in cents, clipped to an octave. Same shape, int64."""
    last = MAX_BEND_CENTS // BEND_CENTS
    nearest = (np.asarray(cents, np.int64) + BEND_CENTS // 2) // BEND_CENTS
    return np.clip(nearest, -last, last) + last


def modulation_bins(values: np.ndarray) -> np.ndarray:
    """Nearest of the eight levels for modulation values 0-127; same shape, int64."""
    return (14 * np.asarray(values, np.int64) + 127) // 254
