"""Ticks -> steps: a recording as it was played, onto the grid and into the vocabulary.

What does not fit is changed or lost by a named rule, and counted:

    notes_outside_map   lost: a percussion key that the map has no class for
    notes_doubled       lost: same step, class and pitch as a longer note (or a louder one)
    durations_cut       longer than the longest duration token, cut to it
    meters_dropped      a meter without a token of its bar length; the one before goes on
"""

from dataclasses import dataclass

import numpy as np

from pipeline.midi import Recording
from shards.song import COMMON_TIME, DEFAULT_TEMPO, METER, NOTE, TEMPO, Song, changes, sort_notes
from shards.vocabulary import NO_INSTRUMENT, Vocabulary, velocity_bin, velocity_of_bin


@dataclass(frozen=True)
class Quantized:
    """A song on the grid, and what getting it there took.

    Attributes:
        song: canonical.
        onset_errors: shape (notes read,), float64; distance of each onset from its step in
            milliseconds.
        counts: notes_outside_map, notes_doubled, durations_cut, meters_dropped.
    """

    song: Song
    onset_errors: np.ndarray
    counts: dict[str, int]


def quantize(recording: Recording, vocabulary: Vocabulary) -> Quantized:
    """Snap a recording's notes, meters and tempos to what the vocabulary can say.

    Changes of meter or tempo after the last onset are left out: nothing is heard of them. A
    recording without notes, or without any inside the percussion map, gives a song without.
    """
    snap = Snap(recording.ticks_per_beat, vocabulary.settings.steps_per_beat)
    notes, counts = _notes(recording.notes, snap, vocabulary)
    last = int(notes["start"].max(initial=0))
    meters, dropped = _meters(recording.meters, snap, vocabulary)
    tempos = _tempos(recording.tempos, snap, vocabulary)
    song = Song(
        notes,
        changes(meters[meters["start"] <= last], COMMON_TIME),
        changes(tempos[tempos["start"] <= last], DEFAULT_TEMPO),
        snap.steps_per_beat,
    )
    return Quantized(song, _onset_errors(recording, snap), {**counts, "meters_dropped": dropped})


@dataclass(frozen=True)
class Snap:
    """Rounds times in ticks to the nearest step.

    A time halfway between two steps goes to the later one, so that moving a whole song by one
    step keeps its rhythm; np.rint sends halves to the even step, which does not. Integer
    arithmetic throughout: exact, the same on every machine.
    """

    ticks_per_beat: int
    steps_per_beat: int

    def __call__(self, ticks: np.ndarray) -> np.ndarray:
        """Steps of ticks; same shape, int64."""
        doubled = 2 * self.steps_per_beat * ticks.astype(np.int64)
        return (doubled + self.ticks_per_beat) // (2 * self.ticks_per_beat)


def _notes(
    played: np.ndarray, snap: Snap, vocabulary: Vocabulary
) -> tuple[np.ndarray, dict[str, int]]:
    classes = np.where(
        played["is_drum"], vocabulary.drum_classes[played["pitch"]], played["program"]
    )
    inside = classes != NO_INSTRUMENT
    played, classes = played[inside], classes[inside]
    starts = snap(played["start"])
    durations = np.maximum(snap(played["end"]) - starts, 1)
    notes = np.empty(len(played), NOTE)
    notes["start"] = starts
    notes["duration"] = np.minimum(durations, vocabulary.max_duration)
    notes["instrument"] = classes
    notes["pitch"] = played["pitch"]
    notes["velocity"] = velocity_of_bin(velocity_bin(played["velocity"]))
    single = sort_notes(notes)
    return single, {
        "notes_outside_map": int((~inside).sum()),
        "notes_doubled": len(notes) - len(single),
        "durations_cut": int((durations > vocabulary.max_duration).sum()),
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
    """The meter itself, or the one in the vocabulary with equal bars: 4/1 is 8/2, 6/32 is 3/16."""
    numerator, denominator = meter
    spellings = [meter]
    spellings += [(numerator * k, denominator * k) for k in (2, 4, 8, 16)]
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


def _onset_errors(recording: Recording, snap: Snap) -> np.ndarray:
    """Milliseconds between each onset and its step, by the tempo in force there."""
    ticks = recording.notes["start"]
    off = np.abs(snap(ticks) * snap.ticks_per_beat - ticks * snap.steps_per_beat)
    in_force = np.searchsorted(recording.tempos["tick"], ticks, side="right")
    tempos = np.concatenate([[DEFAULT_TEMPO[1]], recording.tempos["microseconds"]])[in_force]
    return off * tempos / (1e3 * snap.ticks_per_beat * snap.steps_per_beat)
