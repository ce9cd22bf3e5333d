"""Which songs are worth learning from: a table of rules, each with a measure and a bound.

A rule judges what `pipeline.clean.features` measured, most of it a column of index.arrow. One that
turns a song down gives its code, what it measured and the bound it broke; the ledger keeps all
three. Bounds are themselves allowed. docs/log.md shows what each turns down of 2,500 real files.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shards import settings
from shards.settings import setting

Row = Mapping[str, Any]
"""What was measured of one song, by column."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds a song must stay within, silence already removed; every bound is itself allowed."""

    min_notes: int = setting(
        50,
        "Notes in the whole song. Fewer is a ring tone or a test; three of 2,500 files have 23 to "
        "28, the next 66.",
        low=1,
    )
    max_notes: int = setting(
        60_000, "More is black MIDI; the fullest of 2,500 real songs has 30,464.", low=1
    )
    min_onsets: int = setting(
        16,
        "Different steps at which notes start; fewer is a chord or two held on. Real songs have at "
        "least 48.",
        low=1,
    )
    min_pitches: int = setting(
        4,
        "Different pitches, drum keys among them; fewer is a metronome or a test tone. Drum loops "
        "have 6.",
        low=1,
    )
    min_seconds: float = setting(
        8.0,
        "From the start to the end of the last note; shorter is a jingle. Real fragments have at "
        "least 10.9.",
        low=0,
    )
    max_seconds: float = setting(
        3600.0,
        "Longer is a concert or a fault; symphonies of an hour stay. The longest of 2,500 real "
        "files has 2,647.",
        low=1,
    )
    max_bars: int = setting(
        4096,
        "More is a fault of meter or tempo; the arrays hold 65,536, real songs reach 952.",
        low=1,
    )
    max_notes_per_second: float = setting(
        80.0,
        "Mean over the song; more is black MIDI, made to be seen and not heard. Real songs reach "
        "68, one piano piece that no hand can play 100.",
        low=1,
    )
    max_busiest_second: int = setting(
        400,
        "Notes that start in the fullest second; more is black MIDI for a moment. An orchestra "
        "reaches 268.",
        low=1,
    )
    max_parts: int = setting(
        64,
        "Pairs of track and channel that play; more is a medley of files or a sample bank. Real "
        "songs reach 30, a megamix 156.",
        low=1,
    )
    min_bpm: float = setting(
        20.0,
        "Tempo in force for most of the song; slower is a fault of the file. Real songs have at "
        "least 46.",
        low=0,
    )
    max_bpm: float = setting(
        440.0,
        "Tempo in force for most of the song; faster is a fault. Real songs reach 404.",
        low=0,
    )
    max_same_pitch: float = setting(
        0.6,
        "Share of notes on one pitch or drum key; more is one key hammered. Drum parts and a "
        "fanfare reach 0.59.",
        low=0,
    )
    max_same_duration: float = setting(
        1.0,
        "Share of notes of one length, drums not counted; 1 lets all pass, since of 2,500 real "
        "files ten have over 0.997, most of them whole songs.",
        low=0,
    )
    max_lengthened: float = setting(
        0.5,
        "Share of notes that are shorter than half a step, and no drums: the grid clips the song. "
        "Real songs reach 0.46.",
        low=0,
    )
    max_merged: float = setting(
        0.6,
        "Share of notes lost because another one is on the same step and pitch. Whole doubled "
        "tracks bring sound songs to 0.57.",
        low=0,
    )

    def __post_init__(self) -> None:
        """Refuse what the arrays cannot hold."""
        settings.check(self)
        if self.max_bars > 65_536:
            raise settings.SettingError(f"max_bars is {self.max_bars}; expected at most 65536")


@dataclass(frozen=True)
class Rejection:
    """A rule's verdict on one song."""

    rule: str
    value: float
    threshold: float


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        code: its name in the ledger.
        measured: what it looks at: a column of the index, or SQL over several.
        bound: the setting it holds that against.
        broken_by: value, bound -> whether the song is turned down.
        of_several: row -> value, where what it looks at is no column.
    """

    code: str
    measured: str
    bound: str
    broken_by: Callable[[float, float], bool]
    of_several: Callable[[Row], float] | None = None

    def value(self, row: Row) -> float | None:
        """What it measures of a song; None where there is no such figure, which passes."""
        return self.of_several(row) if self.of_several else row[self.measured]


def _raised(row: Row) -> float:
    return row["durations_lengthened"] / (row["notes"] + row["notes_merged"])


def _doubled(row: Row) -> float:
    return row["notes_merged"] / (row["notes"] + row["notes_merged"])


RAISED = "durations_lengthened / (notes + notes_merged)"
DOUBLED = "notes_merged / (notes + notes_merged)"

RULES = (
    Rule("too_few_notes", "notes", "min_notes", operator.lt),
    Rule("too_many_notes", "notes", "max_notes", operator.gt),
    Rule("too_few_onsets", "onsets", "min_onsets", operator.lt),
    Rule("too_few_pitches", "sounds", "min_pitches", operator.lt),
    Rule("too_short", "seconds", "min_seconds", operator.lt),
    Rule("too_long", "seconds", "max_seconds", operator.gt),
    Rule("too_many_bars", "bars", "max_bars", operator.gt),
    Rule("too_dense", "notes_per_second", "max_notes_per_second", operator.gt),
    Rule("burst", "busiest_second", "max_busiest_second", operator.gt),
    Rule("too_many_parts", "parts", "max_parts", operator.gt),
    Rule("too_slow", "bpm", "min_bpm", operator.lt),
    Rule("too_fast", "bpm", "max_bpm", operator.gt),
    Rule("one_pitch", "same_pitch", "max_same_pitch", operator.gt),
    Rule("one_length", "same_duration", "max_same_duration", operator.gt),
    Rule("clipped", RAISED, "max_lengthened", operator.gt, _raised),
    Rule("mostly_doubled", DOUBLED, "max_merged", operator.gt, _doubled),
)


def rejection(row: Row, limits: Limits) -> Rejection | None:
    """The first rule that turns the song down, or None to keep it."""
    for rule in RULES:
        value, bound = rule.value(row), float(getattr(limits, rule.bound))
        if value is not None and rule.broken_by(value, bound):
            return Rejection(rule.code, float(value), bound)
    return None
