"""A song: notes, meters, tempos and controls on a grid of steps.

Conventions
    step        one cell of the grid; `steps_per_beat` of them make a quarter note
    instrument  class as in `shards.vocabulary`: a program, or a drum
    control     pitch bend or modulation of one instrument class, in force until its next one;
                0 before the first
    canonical   notes by start, class, then pitch from high to low; meters and tempos by start,
                the first at step 0, each different from the one before; controls by start,
                class, then kind, each different from the one before of its class and kind;
                nothing after the last note's start
"""

import dataclasses
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
CONTROL = np.dtype([("start", "<i8"), ("instrument", "u1"), ("kind", "u1"), ("value", "<i2")])

BEND, MODULATION = 0, 1
"""Kinds of control. A bend's value is in cents, modulation's is 0-127 as in MIDI."""

COMMON_TIME = (0, 4, 4)
DEFAULT_TEMPO = (0, 500_000)
"""In force where a MIDI file states none: 4/4 at 120 quarter notes per minute."""


@dataclass(frozen=True, eq=False)
class Song:
    """One piece of music, in steps.

    Attributes:
        notes: shape (notes,), dtype NOTE; `start` and `duration` in steps, velocity 1-127.
        meters: shape (meters,), dtype METER.
        tempos: shape (tempos,), dtype TEMPO; microseconds per quarter note.
        steps_per_beat: steps in a quarter note.
        controls: shape (controls,), dtype CONTROL.
    """

    notes: np.ndarray
    meters: np.ndarray
    tempos: np.ndarray
    steps_per_beat: int
    controls: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, CONTROL))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Song)
            and self.steps_per_beat == other.steps_per_beat
            and np.array_equal(self.notes, other.notes)
            and np.array_equal(self.meters, other.meters)
            and np.array_equal(self.tempos, other.tempos)
            and np.array_equal(self.controls, other.controls)
        )

    def __repr__(self) -> str:
        seconds = float(self.seconds(self.end)) if len(self.tempos) else 0.0
        return f"<Song: {len(self.notes):,} notes, {seconds:,.1f} s>"

    @property
    def end(self) -> int:
        """The step at which the last note ends; 0 for a song without notes."""
        return int((self.notes["start"] + self.notes["duration"]).max(initial=0))

    def until_last_onset(self) -> "Song":
        """The same without changes after the last note's start, as a canonical song has none."""
        last = self.notes["start"].max()
        meters, tempos, controls = (
            events[events["start"] <= last] for events in (self.meters, self.tempos, self.controls)
        )
        return dataclasses.replace(self, meters=meters, tempos=tempos, controls=controls)

    def seconds(self, steps: np.ndarray | int) -> np.ndarray:
        """Seconds from the start of the song to each step, by the song's tempos; float64."""
        starts, before, scale = self.tempo_map()
        tempo = np.searchsorted(starts, steps, side="right") - 1
        return before[tempo] + (steps - starts[tempo]) * scale[tempo]

    def steps_at(self, seconds: np.ndarray) -> np.ndarray:
        """The first step at or after each time, in seconds from the start of the song; int64."""
        starts, before, scale = self.tempo_map()
        tempo = np.searchsorted(before, seconds, side="right") - 1
        return starts[tempo] + np.ceil((seconds - before[tempo]) / scale[tempo]).astype(np.int64)

    def tempo_map(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """When each tempo comes into force, in steps and in seconds, and its seconds per step.

        Returns:
            shape (tempos,): int64, float64, float64.
        """
        starts = self.tempos["start"].copy()
        scale = self.tempos["microseconds"] / (1e6 * self.steps_per_beat)
        if len(starts) == 1:  # most songs
            return starts, np.zeros(1), scale
        return starts, np.concatenate([[0.0], np.cumsum(np.diff(starts) * scale[:-1])]), scale


def sort_notes(notes: np.ndarray) -> np.ndarray:
    """Put notes into canonical order; keep one per start, class and pitch.

    Args:
        notes: shape (notes,), dtype NOTE, any order.

    Returns:
        shape (at most notes,), dtype NOTE. The longest note is kept, with the velocity of the
        loudest.
    """
    if _is_canonical(notes):
        return notes
    keys = (-notes["duration"], -notes["pitch"].astype(np.int64), notes["instrument"])
    notes = notes[np.lexsort((*keys, notes["start"]))]
    differs = np.ones(len(notes), bool)
    differs[1:] = False
    for field in ("start", "instrument", "pitch"):
        differs[1:] |= notes[field][1:] != notes[field][:-1]
    kept = np.flatnonzero(differs)
    loudest = np.maximum.reduceat(notes["velocity"], kept)
    notes = notes[kept]
    notes["velocity"] = loudest
    return notes


def _is_canonical(notes: np.ndarray) -> bool:
    """Whether notes are in order already, one per start, class and pitch; cheaper than sorting."""
    within = (notes["instrument"].astype(np.int64) << 7) - notes["pitch"]
    step, sound = np.diff(notes["start"]), np.diff(within)
    return bool(((step > 0) | ((step == 0) & (sound > 0))).all())


def changes(events: np.ndarray, default: tuple[Any, ...]) -> np.ndarray:
    """Bring meters or tempos into canonical form: the one at step 0, then each change.

    Args:
        events: dtype METER or TEMPO, by `start`; of several at one step the last counts.
        default: in force where no event is at step 0.

    Returns:
        The same dtype; the first at step 0, each different from the one before.
    """
    if len(events) == 1 and events["start"][0] == 0:
        return events
    first = np.array([default], events.dtype)
    if not len(events):
        return first
    events = np.concatenate([first, events])
    last_of_step = np.concatenate([np.diff(events["start"]) != 0, [True]])
    events = events[last_of_step]
    different = np.zeros(len(events), bool)
    different[0] = True
    for field in (events.dtype.names or ())[1:]:
        different[1:] |= events[field][1:] != events[field][:-1]
    return events[different]


def control_changes(events: np.ndarray) -> np.ndarray:
    """Bring controls into canonical form: only changes, by start, class, then kind.

    Args:
        events: dtype CONTROL, by `start`; of several of one class and kind at one step the last
            counts.

    Returns:
        dtype CONTROL, at most as many.
    """
    if not len(events):
        return events
    stream = events["instrument"].astype(np.int64) * 2 + events["kind"]
    events = events[np.lexsort((events["start"], stream))]  # lexsort is stable
    stream = events["instrument"].astype(np.int64) * 2 + events["kind"]
    last_of_step = np.ones(len(events), bool)
    last_of_step[:-1] = (np.diff(stream) != 0) | (np.diff(events["start"]) != 0)
    events, stream = events[last_of_step], stream[last_of_step]
    before = np.zeros(len(events), np.int64)
    before[1:] = np.where(np.diff(stream) == 0, events["value"][:-1], 0)
    events = events[events["value"] != before]
    return events[np.lexsort((events["kind"], events["instrument"], events["start"]))]
