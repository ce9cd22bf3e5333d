"""Which songs are kept: a table of rules, each with a measured value and a bound.

A rule looks at what `pipeline.clean.features` measured. When it rejects a song, the ledger stores
its code, the value and the bound. A value equal to the bound is allowed. The figures about real
songs in the help texts are of 2,500 files: benchmarks/correctness/bounds-results.md.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from shards.errors import SettingError
from shards.settings import Settings, setting


class Row(Protocol):
    """The measurements of one song, by column; or of all songs, as arrays."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Limits(Settings):
    """Bounds on a song after silence removal; a value equal to its bound is allowed."""

    min_notes: int = setting(
        50,
        "Notes in the song. Fewer is a ring tone or a test: three of 2,500 files have 23 to 28, "
        "the next has 66.",
        low=1,
    )
    max_notes: int = setting(
        60_000,
        "Notes in the song. More is black MIDI; the longest of 2,500 real songs has 30,464.",
        low=1,
    )
    min_onsets: int = setting(
        16,
        "Distinct steps at which notes start. Fewer is one or two held chords; real songs have at "
        "least 48.",
        low=1,
    )
    min_pitches: int = setting(
        4,
        "Distinct pitches and drum keys. Fewer is a metronome or a test tone; drum loops have 6.",
        low=1,
    )
    min_seconds: float = setting(
        8.0,
        "Seconds from the start to the end of the last note. Shorter is a jingle; real fragments "
        "have at least 10.9.",
        low=0,
    )
    max_seconds: float = setting(
        3600.0,
        "Seconds. Longer is a concert or a fault; an hour keeps symphonies, and the longest of "
        "2,500 real files has 2,647.",
        low=1,
    )
    max_bars: int = setting(
        4096,
        "Bars. More is a fault of meter or tempo; real songs reach 952, and the arrays cannot "
        "hold more than 65,536.",
        low=1,
        high=65_536,
    )
    max_notes_per_second: float = setting(
        120.0,
        "Mean over the song. More is black MIDI, made to be seen and not heard; 35 songs between "
        "80 and this were looked at: dense remixes, and music.",
        low=1,
    )
    max_busiest_second: int = setting(
        400,
        "Notes that start within the busiest second. More is a burst of black MIDI; an orchestra "
        "reaches 268.",
        low=1,
    )
    max_parts: int = setting(
        64,
        "Pairs of track and channel that play notes. More is a medley of files or a sample bank: "
        "real songs reach 30, a megamix 156.",
        low=1,
    )
    max_onset_error: float = setting(
        60.0,
        "Milliseconds from its step that 95 % of the notes stay within. More is a slow beat that "
        "the notes do not follow: at 50 beats per minute a step is 100 long; real songs reach 48.",
        low=0,
    )
    min_bpm: float = setting(
        20.0,
        "Beats per minute, of the tempo in force longest. Slower only where the beat is not "
        "repaired: no token is slower than 15; real songs have at least 46.",
        low=0,
    )
    max_bpm: float = setting(
        480.0,
        "Beats per minute, of the tempo in force longest. No token is faster; real songs reach "
        "404, and four above 440 were music.",
        low=0,
    )
    max_same_pitch_share: float = setting(
        0.9,
        "Share of notes on the commonest pitch, drums not counted. More is a test tone. A fanfare "
        "has 0.59, and 19 of 19 songs above 0.6 that were looked at were music.",
        low=0,
    )
    max_same_duration_share: float = setting(
        1.0,
        "Share of notes with the commonest duration, drums not counted. 1 allows everything: ten "
        "of 2,500 real files have more than 0.997, and most of those are whole songs.",
        low=0,
    )
    max_lengthened: float = setting(
        0.5,
        "Share of notes lengthened to one step because they are shorter than half a step, drums "
        "not counted. More means that the grid is too coarse for the song; real songs reach 0.46.",
        low=0,
    )
    max_merged: float = setting(
        0.6,
        "Share of notes merged into another note of the same step, class and pitch. Songs whose "
        "tracks are written twice reach 0.57.",
        low=0,
    )

    def __post_init__(self) -> None:
        """Refuse values outside their bounds, and bounds that no song is within."""
        super().__post_init__()
        for name in ("notes", "seconds", "bpm"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise SettingError(f"min_{name} is {low}, above max_{name}, {high}: no song fits")


@dataclass(frozen=True)
class Rejection:
    """Why a song is rejected: the rule's code, the measured value, and the bound it broke."""

    rule: str
    value: float
    threshold: float


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        code: the rule's name in the ledger.
        measured: what it looks at: a column of the index, or SQL over several columns.
        bound: the setting to compare it with.
        broken_by: value, bound -> whether the song is rejected.
        compute: row -> value, where `measured` is not a single column.
    """

    code: str
    measured: str
    bound: str
    broken_by: Callable[[float, float], bool]
    compute: Callable[[Row], float] | None = None

    def value(self, row: Row) -> float | None:
        """The measured value of a song; None, which passes, where the song has none."""
        return self.compute(row) if self.compute else row[self.measured]


def _share_rule(code: str, column: str, bound: str) -> Rule:
    """A rule that limits a count as a share of all notes, merged ones included."""
    return Rule(
        code,
        f"{column} / (notes + notes_merged)",
        bound,
        operator.gt,
        lambda row: row[column] / (row["notes"] + row["notes_merged"]),
    )


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
    Rule("off_grid", "onset_error_ms_95", "max_onset_error", operator.gt),
    Rule("too_slow", "bpm", "min_bpm", operator.lt),
    Rule("too_fast", "bpm", "max_bpm", operator.gt),
    Rule("one_pitch", "same_pitch_share", "max_same_pitch_share", operator.gt),
    Rule("one_duration", "same_duration_share", "max_same_duration_share", operator.gt),
    _share_rule("mostly_lengthened", "durations_lengthened", "max_lengthened"),
    _share_rule("mostly_merged", "notes_merged", "max_merged"),
)


def rejection(row: Row, limits: Limits) -> Rejection | None:
    """The first rule that rejects the song, or None to keep it."""
    for rule in RULES:
        value, bound = rule.value(row), float(getattr(limits, rule.bound))
        if value is not None and rule.broken_by(value, bound):
            return Rejection(rule.code, float(value), bound)
    return None
