"""Units of time, meters, and rhythms written as strings.

Conventions
    pulse    1/24 of a quarter note, as in MIDI clock; every resolution used is a multiple
    cell     one beat, a character per sixteenth: '.' silence, '-' the note continues, else a stroke
    rhythm   cells between spaces, one for each beat in turn
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

PULSES_PER_QUARTER = 24
SIXTEENTH = 6
SIMPLE_BEAT = 24
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

    def accent(self, pulse: int) -> int:
        """Offset to the velocity of a note at this pulse of the bar."""
        return 8 if pulse == 0 else 4 if pulse in self.strong else 0


METERS = {
    "2/4": Meter(2, 4, (24, 24), (0,)),
    "3/4": Meter(3, 4, (24, 24, 24), (0,)),
    "4/4": Meter(4, 4, (24, 24, 24, 24), (0, 48)),
    "5/4": Meter(5, 4, (24, 24, 24, 24, 24), (0, 72)),
    "6/8": Meter(6, 8, (36, 36), (0, 36)),
    "7/8": Meter(7, 8, (24, 24, 36), (0, 48)),
    "12/8": Meter(12, 8, (36, 36, 36, 36), (0, 72)),
}


def strokes(rhythm: str, meter: Meter) -> Iterator[tuple[int, int, str]]:
    """The strokes of one bar of a rhythm as (start, length, character), in pulses.

    In 4/4 "x-.x ...." has a stroke of 12 pulses at 0 and one of 6 at 18, and the same again after
    two beats. A '-' with no note before it is silence, so a rhythm may begin in the middle of a
    tie. In a compound beat the first two sixteenths of a cell take twice as long: "x-xx" is
    long, short, short there.
    """
    cells = zip(meter.beats, cycle(rhythm.split()), strict=False)
    bar = "".join(cell if beat == SIMPLE_BEAT else _compound(cell) for beat, cell in cells)
    position = 0
    while position < len(bar):
        after = position + 1
        while bar[after : after + 1] == "-":
            after += 1
        if bar[position] not in ".-":
            yield position * SIXTEENTH, (after - position) * SIXTEENTH, bar[position]
        position = after


def _compound(cell: str) -> str:
    return "".join(mark + ("." if mark == "." else "-") for mark in cell[:2]) + cell[2:]


def swung(pulse: int) -> int:
    """Move a pulse from straight to swing time: halves of a quarter become 2/3 and 1/3.

    It never swaps two pulses, and whole quarters stay: 0, 6, 12, 18, 24 -> 0, 8, 16, 20, 24.
    """
    quarter, rest = divmod(pulse, PULSES_PER_QUARTER)
    late = max(rest - PULSES_PER_QUARTER // 2, 0)
    return (
        quarter * PULSES_PER_QUARTER
        + (rest - late) * SWING_OFFBEAT // 12
        + late * (PULSES_PER_QUARTER - SWING_OFFBEAT) // 12
    )


def swing(notes: list[Note]) -> list[Note]:
    """Move both ends of every note to swing time."""
    ends = [(swung(note.start), swung(note.start + note.length)) for note in notes]
    return [
        note._replace(start=start, length=end - start)
        for note, (start, end) in zip(notes, ends, strict=True)
    ]
