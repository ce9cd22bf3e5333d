"""Ticks -> steps: a recording as played, onto the grid and into the vocabulary.

A duration between two duration tokens takes the nearer, by ratio; that is not counted. A drum lasts
as long as the vocabulary says, since only its start matters.

What does not fit is changed or dropped by a named rule, and counted:

    notes_outside_map     dropped: the percussion map has no class for the key
    notes_merged          dropped: same step, class and pitch as a longer note, which takes the
                          velocity of the loudest
    durations_shortened   longer than the longest duration token, shortened to it
    durations_lengthened  shorter than half a step, lengthened to one
    meters_dropped        no meter token has this bar length; the meter before stays in force
"""

from dataclasses import dataclass

import numpy as np

from pipeline.clean.grid_controls import grid_controls
from pipeline.clean.order import grid_notes
from pipeline.midi import Recording
from shards.song import COMMON_TIME, DEFAULT_TEMPO, METER, NOTE, TEMPO, Song, changes
from shards.vocabulary import Vocabulary


@dataclass(frozen=True)
class Quantized:
    """A song on the grid, and what putting it there changed.

    Attributes:
        song: canonical.
        counts: notes_outside_map, notes_merged, durations_shortened, durations_lengthened,
            meters_dropped.
        held: shape (2, spans), steps: starts and ends of the notes whose duration was shortened.
        controls: dtype CONTROL, canonical; every bend and modulation, including the kinds that
            the vocabulary leaves out of the song.
    """

    song: Song
    counts: dict[str, int]
    controls: np.ndarray
    held: np.ndarray


def quantize(recording: Recording, vocabulary: Vocabulary) -> Quantized:
    """Snap a recording's notes, meters and tempos to what the vocabulary can express.

    Changes of meter, tempo or control after the last onset are dropped: they are hardly audible.
    A recording with no notes, or none inside the percussion map, gives a song without notes.
    """
    snap = Snap(recording.ticks_per_beat, vocabulary.settings.steps_per_beat)
    notes, counts = _notes(recording.notes, snap, vocabulary)
    last = int(notes["start"][-1]) if len(notes) else 0
    meters, dropped = _meters(recording.meters, snap, vocabulary)
    tempos = _tempos(recording.tempos, snap, vocabulary)
    controls = grid_controls(
        recording.notes, recording.controls, notes, snap.ticks_per_beat, snap.steps_per_beat
    )
    song = Song(
        notes,
        changes(meters[meters["start"] <= last], COMMON_TIME),
        changes(tempos[tempos["start"] <= last], DEFAULT_TEMPO),
        snap.steps_per_beat,
        _in_vocabulary(controls, vocabulary),
    )
    counts = {**counts, "meters_dropped": dropped}
    held = np.zeros((2, 0), np.int64)
    if counts["durations_shortened"]:
        held = _long_notes(recording.notes, snap, vocabulary.max_duration)
    return Quantized(song, counts, controls, held)


def _long_notes(played: np.ndarray, snap: "Snap", max_duration: int) -> np.ndarray:
    """Starts and ends in steps, shape (2, notes), of the notes that are longer."""
    lengths = (played["end"] - played["start"]) * snap.steps_per_beat
    is_long = lengths > (max_duration - 1) * snap.ticks_per_beat  # the others need no rounding
    notes = played[is_long & ~played["is_drum"]]
    spans = np.stack([snap(notes["start"]), snap(notes["end"])])
    return spans[:, spans[1] - spans[0] > max_duration]


def _in_vocabulary(controls: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """The controls whose kind the vocabulary has."""
    if not len(vocabulary.bends) and not len(vocabulary.modulations):
        return controls[:0]
    enabled = np.array([len(vocabulary.bends) > 0, len(vocabulary.modulations) > 0])
    return controls[enabled[controls["kind"]]]


@dataclass(frozen=True)
class Snap:
    """Rounds times in ticks to the nearest step.

    Halves are rounded up, so shifting a whole song by one step keeps its rhythm; np.rint rounds
    halves to the even step, which does not. Integer arithmetic: exact on every machine.
    """

    ticks_per_beat: int
    steps_per_beat: int

    def __call__(self, ticks: np.ndarray) -> np.ndarray:
        """Convert ticks to steps; same shape, int64."""
        doubled = 2 * self.steps_per_beat * ticks.astype(np.int64)
        return (doubled + self.ticks_per_beat) // (2 * self.ticks_per_beat)


def _notes(
    played: np.ndarray, snap: Snap, vocabulary: Vocabulary
) -> tuple[np.ndarray, dict[str, int]]:
    notes = np.empty(len(played), NOTE)
    filled, outside, shortened, lengthened = grid_notes(
        np.ascontiguousarray(played),
        vocabulary.drum_classes,
        snap.ticks_per_beat,
        snap.steps_per_beat,
        vocabulary.stored_durations,
        vocabulary.drum_duration,
        notes,
    )
    return notes[:filled], {
        "notes_outside_map": outside,
        "notes_merged": len(played) - outside - filled,
        "durations_shortened": int(shortened),
        "durations_lengthened": int(lengthened),
    }


def _meters(read: np.ndarray, snap: Snap, vocabulary: Vocabulary) -> tuple[np.ndarray, int]:
    if not vocabulary.settings.meters:
        return np.zeros(0, METER), 0
    steps = snap(read["tick"]).tolist()
    pairs = zip(read["numerator"].tolist(), read["denominator"].tolist(), strict=True)
    spelled = [same_bar_length(pair, vocabulary) for pair in pairs]
    rows = [(step, *meter) for step, meter in zip(steps, spelled, strict=True) if meter]
    return np.array(rows, METER), len(steps) - len(rows)


def same_bar_length(meter: tuple[int, int], vocabulary: Vocabulary) -> tuple[int, int] | None:
    """Find the meter, or one with equal bars, in the vocabulary: 4/1 is 8/2, 6/32 is 3/16."""
    if meter in vocabulary.bar_steps:
        return meter
    numerator, denominator = meter
    spellings = [(numerator * k, denominator * k) for k in (2, 4, 8, 16)]
    spellings += [
        (numerator // k, denominator // k)
        for k in (2, 4, 8, 16)
        if numerator % k == 0 and denominator % k == 0
    ]
    return next((pair for pair in spellings if pair in vocabulary.bar_steps), None)


def _tempos(read: np.ndarray, snap: Snap, vocabulary: Vocabulary) -> np.ndarray:
    if not vocabulary.settings.tempos:
        return np.zeros(0, TEMPO)
    tempos = np.empty(len(read), TEMPO)
    tempos["start"] = snap(read["tick"])
    tempos["microseconds"] = vocabulary.tempos[vocabulary.tempo_bins(read["microseconds"])]
    return tempos
