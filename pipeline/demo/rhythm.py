"""Units of time, meters, and rhythms written as strings.

Conventions
    pulse    1/24 of a quarter note, as in MIDI clock; every resolution used is a multiple
    pattern  one character per sixteenth: '.' silence, '-' the note continues, else a stroke
    style    patterns for single beats, simple (4 characters) and compound (6), taken in turn
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

PULSES_PER_QUARTER = 24
SIXTEENTH = 6
SIMPLE_BEAT = 24
COMPOUND_BEAT = 36
SWING_OFFBEAT = 16
"""Where the middle of a swung quarter falls: two thirds through, instead of at pulse 12."""


class Note(NamedTuple):
    """One note; times in pulses, velocity before humanisation (80 is neutral)."""

    start: int
    length: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Meter:
    """A time signature and its beats."""

    numerator: int
    denominator: int
    beats: tuple[int, ...]
    """Length of every beat in pulses: 24 is a quarter, 36 a dotted quarter."""
    strong: tuple[int, ...]
    """Pulses of the bar that carry an accent; the first is the downbeat."""

    @property
    def bar(self) -> int:
        """Length of a bar in pulses."""
        return sum(self.beats)

    @property
    def middle(self) -> int:
        """Where the second of two chords in a bar enters, in pulses."""
        return self.strong[1] if len(self.strong) > 1 else self.bar - self.beats[-1]


METERS = {
    "2/4": Meter(2, 4, (24, 24), (0,)),
    "3/4": Meter(3, 4, (24, 24, 24), (0,)),
    "4/4": Meter(4, 4, (24, 24, 24, 24), (0, 48)),
    "5/4": Meter(5, 4, (24, 24, 24, 24, 24), (0, 72)),
    "6/8": Meter(6, 8, (36, 36), (0, 36)),
    "7/8": Meter(7, 8, (24, 24, 36), (0, 48)),
    "12/8": Meter(12, 8, (36, 36, 36, 36), (0, 72)),
}

Style = tuple[tuple[str, ...], tuple[str, ...]]


def bar_pattern(style: Style, meter: Meter) -> str:
    """One bar of `style`: its simple or compound cells in turn, one per beat."""
    simple, compound = style
    cells = []
    for number, beat in enumerate(meter.beats):
        choices = compound if beat == COMPOUND_BEAT else simple
        cells.append(choices[number % len(choices)])
    return "".join(cells)


def strokes(pattern: str) -> Iterator[tuple[int, int, str]]:
    """The strokes of a pattern as (start, length, character), in pulses.

    "x-.x" is a stroke of 12 pulses at 0 and one of 6 at 18. A '-' with no note before it is
    silence, so a pattern may begin in the middle of a tie.
    """
    position = 0
    while position < len(pattern):
        after = position + 1
        while after < len(pattern) and pattern[after] == "-":
            after += 1
        if pattern[position] not in ".-":
            yield position * SIXTEENTH, (after - position) * SIXTEENTH, pattern[position]
        position = after


def accent(meter: Meter, pulse: int) -> int:
    """Offset to the velocity of a note at this pulse of the bar."""
    if pulse == 0:
        return 8
    return 4 if pulse in meter.strong else 0


def swung(pulse: int) -> int:
    """Move a pulse from straight to swing time: halves of a quarter become 2/3 and 1/3.

    It never swaps two pulses, and whole quarters stay: 0, 6, 12, 18, 24 -> 0, 8, 16, 20, 24.
    """
    quarter, rest = divmod(pulse, PULSES_PER_QUARTER)
    half = PULSES_PER_QUARTER // 2
    if rest <= half:
        rest = rest * SWING_OFFBEAT // half
    else:
        rest = SWING_OFFBEAT + (rest - half) * (PULSES_PER_QUARTER - SWING_OFFBEAT) // half
    return quarter * PULSES_PER_QUARTER + rest


def swing(notes: list[Note]) -> list[Note]:
    """Move both ends of every note to swing time."""
    return [
        note._replace(
            start=swung(note.start),
            length=swung(note.start + note.length) - swung(note.start),
        )
        for note in notes
    ]
