"""Which songs are worth learning from: a table of rules, each with a measure and a bound.

A rule that turns a song down gives its code, what it measured and the bound it broke; the
ledger keeps all three. Bounds are themselves allowed.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards import settings
from shards.settings import setting
from shards.song import Song


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds a song must stay within, silence already removed; every bound is itself allowed."""

    min_notes: int = setting(
        50, "Notes in the whole song. Fewer is a ring tone or a test; 1 % of real songs.", low=1
    )
    min_onsets: int = setting(
        16, "Different steps at which notes start; fewer is a chord or two held on.", low=1
    )
    min_pitches: int = setting(
        4, "Different pitches, drum keys among them; fewer is a metronome or a test tone.", low=1
    )
    min_seconds: float = setting(
        8.0, "From the start to the end of the last note; shorter is a jingle.", low=0
    )
    max_seconds: float = setting(
        3600.0, "Longer is a concert or a fault; symphonies of an hour stay.", low=1
    )
    max_bars: int = setting(
        4096, "More is a fault of meter or tempo; the arrays hold 65,536.", low=1
    )
    max_notes: int = setting(
        60_000, "More is black MIDI; the fullest of 2,500 real songs has 31,837.", low=1
    )
    max_notes_per_second: float = setting(
        100.0, "Mean over the song; more is black MIDI, made to be seen and not heard.", low=1
    )

    def __post_init__(self) -> None:
        """Refuse what the arrays cannot hold."""
        settings.check(self)
        if self.max_bars > 65_536:
            raise settings.SettingError(f"max_bars is {self.max_bars}; expected at most 65536")


@dataclass(frozen=True)
class Measured:
    """A song and the numbers that more than one rule asks for.

    Attributes:
        song: canonical, silence removed.
        seconds: from the start to the end of the last note.
        bars: up to the last onset.
    """

    song: Song
    seconds: float
    bars: int


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
        measure: what it looks at.
        bound: the setting it holds that against.
        broken_by: value, bound -> whether the song is turned down.
    """

    code: str
    measure: Callable[[Measured], float]
    bound: str
    broken_by: Callable[[float, float], bool]


def _onsets(measured: Measured) -> int:
    return len(np.unique(measured.song.notes["start"]))


def _pitches(measured: Measured) -> int:
    notes = measured.song.notes
    return len(np.unique(notes["pitch"].astype(np.int64) + 128 * (notes["instrument"] >= 128)))


RULES = (
    Rule("too_few_notes", lambda m: len(m.song.notes), "min_notes", operator.lt),
    Rule("too_many_notes", lambda m: len(m.song.notes), "max_notes", operator.gt),
    Rule("too_few_onsets", _onsets, "min_onsets", operator.lt),
    Rule("too_few_pitches", _pitches, "min_pitches", operator.lt),
    Rule("too_short", lambda m: m.seconds, "min_seconds", operator.lt),
    Rule("too_long", lambda m: m.seconds, "max_seconds", operator.gt),
    Rule("too_many_bars", lambda m: m.bars, "max_bars", operator.gt),
    Rule(
        "too_dense",
        lambda m: len(m.song.notes) / max(m.seconds, 1.0),
        "max_notes_per_second",
        operator.gt,
    ),
)


def rejection(measured: Measured, limits: Limits) -> Rejection | None:
    """The first rule that turns the song down, or None to keep it."""
    for rule in RULES:
        value, bound = float(rule.measure(measured)), float(getattr(limits, rule.bound))
        if rule.broken_by(value, bound):
            return Rejection(rule.code, value, bound)
    return None
