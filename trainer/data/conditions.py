"""What a song is asked to be: its tempo, meter, key, band, length and density, as numbers.

A model that was trained with conditions gets them beside every token, each of them only sometimes,
so that it writes with and without. They are read from the index of the dataset; nothing of them is
stored in the token stream.

Conventions
    code    a small number, 0 where the condition is not given
    fields  the codes of one token, eight bits each, in one int64; see FIELDS
    band    128 bits in two int64, one per program; whether it is given, and has drums, is a field
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

import numpy as np

from shards.codec import MAX_BARS
from shards.errors import SettingError
from shards.keys import KEYS, TONICS
from shards.vocabulary import Vocabulary

FIELDS = {"tempo": 42, "meter": 73, "key": 25, "density": 50, "bars_left": 146, "section": 3,
          "band": 3}  # fmt: skip
"""Field -> number of its codes, in the order of their bits: the first is in the lowest eight."""
SHIFTS = {name: 8 * number for number, name in enumerate(FIELDS)}

TEMPOS_PER_OCTAVE, MIN_BPM = 8, 15
DENSITIES_PER_OCTAVE = 4
"""Notes per bar: 1 to 4,096."""
EXACT_BARS_LEFT, BARS_LEFT_PER_OCTAVE = 64, 8
PLAIN, GIVEN, WRITTEN = range(3)
"""Codes of the field `section`: the song itself; what is given ahead; what is written to it. See
`trainer.data.sections`."""

_SPELLED = {"Db": "C#", "D#": "Eb", "Gb": "F#", "G#": "Ab", "A#": "Bb",
            "Cb": "B", "Fb": "E", "E#": "F", "B#": "C"}  # fmt: skip
_KEY = re.compile(r"([A-Ga-g])([#b]?)\s*(m|(?i:minor|major|maj|min))?")


def _bars_left_codes() -> np.ndarray:
    """Code of 0 to MAX_BARS bars: exact up to 63, then 8 per octave; from 1 on."""
    bars = np.arange(MAX_BARS + 1)
    octaves = np.log2(np.maximum(bars, EXACT_BARS_LEFT) / EXACT_BARS_LEFT)
    codes = np.where(
        bars < EXACT_BARS_LEFT, bars, EXACT_BARS_LEFT + np.floor(BARS_LEFT_PER_OCTAVE * octaves)
    )
    return 1 + codes.astype(np.int64)


BARS_LEFT = _bars_left_codes()
"""Code of the field `bars_left` for 0 to MAX_BARS bars; shape (MAX_BARS + 1,)."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a song is asked to be; None: anything.

    Attributes:
        tempo: quarter notes per minute.
        meter: as 3/4.
        key: as in the index: C or F#m.
        bars: up to and including the last onset's.
        notes_per_bar: drums included.
        programs: the programs of the band; all of them.
        drums: whether it has drums; read only where `programs` is given.
    """

    tempo: float | None = None
    meter: str | None = None
    key: str | None = None
    bars: int | None = None
    notes_per_bar: float | None = None
    programs: tuple[int, ...] | None = None
    drums: bool = False

    @classmethod
    def of_song(cls, row: Mapping[str, Any]) -> "Conditions":
        """All conditions that a song meets, from its row of the index."""
        return cls(
            tempo=row["bpm"],
            meter=row["meter"],
            key=row["key"],
            bars=row["bars"],
            notes_per_bar=row["notes"] / max(row["bars"], 1),
            programs=tuple(row["programs"]),
            drums=row["drum_share"] > 0,
        )


INDEX_COLUMNS = ("bpm", "meter", "key", "bars", "notes", "programs", "drum_share")
"""Columns of the index that `Conditions.of_song` reads."""


class ConditionCodes(NamedTuple):
    """Conditions as numbers.

    Attributes:
        fields: of every token, without `bars_left` and `section`.
        last_bar: of the song, from 0, for `bars_left`; None where the length is not given.
        band: two int64.
    """

    fields: int = 0
    last_bar: int | None = None
    band: tuple[int, int] = (0, 0)


NO_CONDITIONS = ConditionCodes()


def encode_conditions(conditions: Conditions, vocabulary: Vocabulary) -> ConditionCodes:
    """Turn conditions into numbers. What the vocabulary lacks, or is no number, is not given."""
    codes = {}
    tempo, notes = conditions.tempo, conditions.notes_per_bar
    if tempo and 0 < tempo < math.inf:
        codes["tempo"] = _clipped(round(TEMPOS_PER_OCTAVE * math.log2(tempo / MIN_BPM)), "tempo")
    if vocabulary.meters and (meter := vocabulary.ids.get(f"m{conditions.meter}")):
        codes["meter"] = 1 + meter - vocabulary.meter0
    if conditions.key in KEYS:
        codes["key"] = 1 + KEYS.index(conditions.key)
    if notes and 0 < notes < math.inf:
        codes["density"] = _clipped(math.floor(DENSITIES_PER_OCTAVE * math.log2(notes)), "density")
    fields = sum(code << SHIFTS[name] for name, code in codes.items())
    last = None if conditions.bars is None else conditions.bars - 1
    encoded = ConditionCodes(fields, last)
    if conditions.programs is None:
        return encoded
    return with_band(encoded, conditions.programs, conditions.drums)


def with_band(codes: ConditionCodes, programs: Iterable[int], drums: bool) -> ConditionCodes:
    """The same conditions with another band, or with one; see `Conditions`."""
    others = codes.fields & ~(255 << SHIFTS["band"])
    return codes._replace(fields=others + (1 + drums << SHIFTS["band"]), band=_band(programs))


def condition_fields(codes: ConditionCodes, bars: np.ndarray) -> np.ndarray | int:
    """The fields of tokens in given bars of a song that is not rearranged, int64."""
    fields, last, _ = codes
    return fields if last is None else fields + bars_left_field(last - bars)


def bars_left_field(bars: np.ndarray) -> np.ndarray:
    """The field `bars_left` for so many bars, int64."""
    return BARS_LEFT.take(bars, mode="clip") << SHIFTS["bars_left"]


def _clipped(code: int, name: str) -> int:
    return 1 + min(max(code, 0), FIELDS[name] - 2)


def _band(programs: Iterable[int]) -> tuple[int, int]:
    """One bit per program, as two signed numbers of 64 bits."""
    bits = sum(1 << program for program in set(programs))
    halves = bits & (2**64 - 1), bits >> 64
    low, high = (half - 2**64 if half >= 2**63 else half for half in halves)
    return low, high


def parse_key(text: str) -> str:
    """A key as users write it -> as the index does: "D minor", "Dm", "Bb major", "F#".

    Raises:
        SettingError: it is not a key.
    """
    match = _KEY.fullmatch(text.strip())
    if match is None:
        raise SettingError(f"key is {text!r}; expected one as in C, F#m, Bb or 'D minor'")
    letter, accidental, mode = match.groups()
    note = letter.upper() + accidental
    note = _SPELLED.get(note, note)
    is_minor = (mode or "").lower().startswith("mi") or mode == "m"
    return note + "m" * is_minor


def transposed_key(key: str | None, semitones: int) -> str | None:
    """The key so many semitones higher."""
    if key not in KEYS:
        return None
    tonic = TONICS.index(key.removesuffix("m")) + semitones
    return TONICS[tonic % 12] + "m" * key.endswith("m")


def draw_given(rng: np.random.Generator, probability: float) -> tuple[str, ...]:
    """Draw which conditions a song that has some is given.

    Each is left out on its own with the given probability, but with one half where that is less.

    Returns:
        Names of fields of `Conditions`, for `only`.
    """
    is_given = (rng.random(len(_DRAWN)) >= min(probability, 0.5)).tolist()
    return tuple(compress(_DRAWN, is_given))


def only(conditions: Conditions, names: Iterable[str]) -> Conditions:
    """The conditions of these names; the drums are those of the programs."""
    values = vars(conditions)
    return Conditions(**{name: values[name] for name in names}, drums=conditions.drums)


_DRAWN = ("tempo", "meter", "key", "bars", "notes_per_bar", "programs")
