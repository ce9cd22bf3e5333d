"""What a song is: notes, meters and tempos on a grid of steps.

Conventions
    step        one cell of the grid; a song knows how many make a quarter note
    instrument  class as in `shards.vocabulary`: a program, or a drum
    canonical   notes by start, class, then pitch from high to low; meters and tempos by start,
                the first at step 0, each different from the one before, none after the last
                note's start
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

NOTE = np.dtype(
    [
        ("start", "<i8"),
        ("duration", "<i8"),
        ("instrument", "u1"),
        ("pitch", "u1"),
        ("velocity", "u1"),
    ]
)
METER = np.dtype([("start", "<i8"), ("numerator", "u1"), ("denominator", "u1")])
TEMPO = np.dtype([("start", "<i8"), ("microseconds", "<i4")])

COMMON_TIME = (0, 4, 4)
DEFAULT_TEMPO = (0, 500_000)
"""What a MIDI file without either event means: 4/4 at 120 quarter notes a minute."""


@dataclass(frozen=True, eq=False)
class Song:
    """One piece of music, in steps.

    Attributes:
        notes: shape (notes,), dtype NOTE; `start` and `duration` in steps, velocity 1-127.
        meters: shape (meters,), dtype METER.
        tempos: shape (tempos,), dtype TEMPO; microseconds a quarter note.
        steps_per_beat: steps in a quarter note.
    """

    notes: np.ndarray
    meters: np.ndarray
    tempos: np.ndarray
    steps_per_beat: int

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Song)
            and self.steps_per_beat == other.steps_per_beat
            and np.array_equal(self.notes, other.notes)
            and np.array_equal(self.meters, other.meters)
            and np.array_equal(self.tempos, other.tempos)
        )

    __hash__ = None

    @property
    def end(self) -> int:
        """The step at which the last sound stops; 0 for a song without notes."""
        return int((self.notes["start"] + self.notes["duration"]).max(initial=0))

    def seconds(self, steps: np.ndarray | int) -> np.ndarray:
        """Seconds from the start of the song to each step, by the song's tempos; float64."""
        starts, tempos = self.tempos["start"], self.tempos["microseconds"]
        scale = tempos / (1e6 * self.steps_per_beat)
        before = np.concatenate([[0.0], np.cumsum(np.diff(starts) * scale[:-1])])
        segment = np.searchsorted(starts, steps, side="right") - 1
        return before[segment] + (steps - starts[segment]) * scale[segment]


def sort_notes(notes: np.ndarray) -> np.ndarray:
    """Notes in canonical order; of several with one start, class and pitch the longest stays.

    Args:
        notes: shape (notes,), dtype NOTE, any order.

    Returns:
        shape (at most notes,), dtype NOTE. Among doubles of one length the loudest stays.
    """
    keys = (
        -notes["velocity"].astype(np.int64),
        -notes["duration"],
        -notes["pitch"].astype(np.int64),
        notes["instrument"],
        notes["start"],
    )
    notes = notes[np.lexsort(keys)]
    same = np.ones(max(len(notes) - 1, 0), bool)
    for field in ("start", "instrument", "pitch"):
        same &= notes[field][1:] == notes[field][:-1]
    return notes[np.concatenate([[True], ~same])] if len(notes) else notes


def changes(events: np.ndarray, default: tuple[Any, ...]) -> np.ndarray:
    """Meters or tempos in canonical form: what is in force from step 0, then each change.

    Args:
        events: dtype METER or TEMPO, by `start`; of several at one step the last holds.
        default: what is in force where no event stands at step 0.

    Returns:
        The same dtype; the first at step 0, neighbours different.
    """
    first = np.array([default], events.dtype)
    events = np.concatenate([first, events])
    last_of_step = np.concatenate([np.diff(events["start"]) != 0, [True]])
    events = events[last_of_step]
    different = np.zeros(len(events), bool)
    different[0] = True
    for field in events.dtype.names[1:]:
        different[1:] |= events[field][1:] != events[field][:-1]
    return events[different]
