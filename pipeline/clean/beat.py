"""Give a recording a beat that its onsets follow, where the beat of its file is a fiction.

Some files state a tempo that no music has, or were played beside a beat that nobody followed. In
this order, where the song's own beat does not fit:

    doubled, halved  a tempo that no song has, times a power of two: 80 to 160 beats per minute.
                     Exact: no onset moves against another
    constant_tempo   onsets gather in no division of the beat (`GridFit.unaligned`), but they do in
                     one of another, constant tempo, found by their periodogram: that tempo, in 4/4
    tracked          no constant tempo explains them, but the beats that a beat tracker finds do: a
                     tempo for each beat, in 4/4
    shifted          onsets gather at one place of the beat, but beside the grid: the whole song is
                     moved against it

Meters where the beat is doubled keep their numbers, so that a bar becomes two: old bar lines stay
bar lines. Where it is halved, bars hold half the beats, and bar lines stay where they were: 4/4
becomes 2/4, 3/4 becomes 3/8. A song whose beat fits is returned as it is.

Conventions
    seconds from the start of the file, by its tempos
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.clean.beat_tracker import tracked_beats
from pipeline.clean.grid_fit import DIVISIONS, MIN_ONSETS, GridFit, grid_fit
from pipeline.clean.onset_period import MIN_RESULTANT, NEARLY, SLOWEST_BPM, constant_beats
from pipeline.midi import TEMPO_DTYPE, Recording
from shards.song import DEFAULT_TEMPO

BEAT_REPAIRS = {
    "none": "the beat is the file's",
    "doubled": "beats halved in length, once or more",
    "halved": "beats doubled in length, once or more",
    "constant_tempo": "another tempo, found from the onsets",
    "tracked": "a tempo for every beat, found from the onsets",
    "shifted": "all onsets moved by the same time",
}

PLAUSIBLE_BPM = (40.0, 300.0)
"""Slower and faster tempos are notation, not music: of 2,410 real songs none is slower than 46, and
two are faster than 300, which stay if a longer beat fits them worse."""
MIN_SHIFT_ERROR_MS = 6.0
"""Median onset error from which a song may lie beside the grid as a whole: 90 % of songs have less.
It is moved if that halves the error."""
SHIFT_DIVISIONS = np.array([4, 6, 12, 8])
"""Of the beat, the likelier first; not the beat itself, for offbeats would be moved onto it."""
IS_SHIFT_DIVISION = np.isin(DIVISIONS, SHIFT_DIVISIONS)
MIN_SECONDS, MAX_SECONDS = 8.0, 7200.0
"""Shorter recordings have too few beats to find a tempo, for longer ones the periodogram and the
tracker would need too much memory: they keep their beat."""
TICKS_PER_BEAT = 1920
"""Of a repaired recording: at most 0.4 ms each at a constant tempo, 0.9 ms in the slowest
tracked beat, so rounding moves an onset by half of that."""
MAX_OCTAVES = 5
"""Times that a beat is doubled or halved, at most: enough for the slowest tempo of a file."""
MAX_DENOMINATOR = 128
LOW_PITCH = 48
KICK_DRUMS = (35, 36)
LOW_WEIGHT = 3.0
"""Bass notes and kick drums mark the beat more often than others do."""


class Beat(NamedTuple):
    """What was done to the beat of a recording.

    Attributes:
        repair: a key of BEAT_REPAIRS.
        fit: how the onsets lie on the grid.
        fit_before: the same before the repair; the same object where there was none.
    """

    repair: str
    fit: GridFit
    fit_before: GridFit


def repair_beat(recording: Recording, mode: str, steps_per_beat: int) -> tuple[Recording, Beat]:
    """Replace the beat of a recording whose onsets do not follow it; otherwise return it as it is.

    The times between onsets, in seconds, stay the same within 1 ms per ten minutes.

    Args:
        recording: at least one note.
        mode: none; exact, which only doubles or halves; or all.
        steps_per_beat: of the grid on which errors are measured.
    """
    before = fit = _fit(recording, steps_per_beat)
    if mode == "none":
        return recording, Beat("none", fit, before)
    repaired, repair = _plausible(recording, fit, steps_per_beat)
    if repair != "none":
        fit = _fit(repaired, steps_per_beat)
    if mode == "all":
        changed = _followed(repaired) if fit.unaligned else _shifted(repaired, fit, steps_per_beat)
        if changed is not None:
            repaired, repair = changed
            fit = _fit(repaired, steps_per_beat)
    return repaired, Beat(repair, fit, before)


def _fit(recording: Recording, steps_per_beat: int) -> GridFit:
    starts = recording.notes["start"].copy()
    return grid_fit(starts, recording.tempos, recording.ticks_per_beat, steps_per_beat)


def main_bpm(recording: Recording) -> float:
    """The tempo in force for the most ticks, in beats per minute, as the file states it."""
    tempos = _all_tempos(recording)
    if len(tempos) == 1:
        return 60e6 / float(tempos["microseconds"][0])
    return 60e6 / longest_tempo(np.ascontiguousarray(recording.notes), tempos)


@njit(cache=True)
def longest_tempo(notes, tempos):
    """The tempo in force for the most ticks until the last note ends, microseconds; the first of
    several."""
    end = 0
    for i in range(len(notes)):
        end = max(end, notes[i].end)
    longest, most = 0, -1
    for i in range(len(tempos)):
        until = min(tempos[i + 1].tick, end) if i + 1 < len(tempos) else end
        held = until - min(tempos[i].tick, end)
        if held > most:
            longest, most = tempos[i].microseconds, held
    return longest


def _all_tempos(recording: Recording) -> np.ndarray:
    """The tempos, with the default one where the file states none at its start."""
    tempos = recording.tempos
    if len(tempos) and tempos["tick"][0] == 0:
        return tempos
    with_default = np.empty(len(tempos) + 1, TEMPO_DTYPE)  # np.concatenate changes the layout
    with_default[0], with_default[1:] = DEFAULT_TEMPO, tempos
    return with_default


def _plausible(recording: Recording, fit: GridFit, steps_per_beat: int) -> tuple[Recording, str]:
    """Double or halve the beat where its tempo is not plausible."""
    bpm = main_bpm(recording)
    if PLAUSIBLE_BPM[0] <= bpm <= PLAUSIBLE_BPM[1]:
        return recording, "none"
    octaves = math.ceil(math.log2(SLOWEST_BPM / bpm))
    if abs(octaves) > MAX_OCTAVES:
        return recording, "none"
    if octaves > 0:
        return _doubled(recording, octaves), "doubled"
    halved = _halved(recording, -octaves)
    # Fewer steps per second: what was on the grid may fall beside it.
    fits = _fit(halved, steps_per_beat).error_ms_95 <= fit.error_ms_95
    return (halved, "halved") if fits else (recording, "none")


def _doubled(recording: Recording, octaves: int) -> Recording:
    """Beats of a half, a quarter …: fewer ticks each, or more ticks where these do not divide."""
    tempos, beat, factor = _all_tempos(recording).copy(), recording.ticks_per_beat, 1
    for _ in range(octaves):
        if beat % 2:
            factor *= 2
        else:
            beat //= 2
    tempos["microseconds"] = np.maximum(tempos["microseconds"] + (1 << octaves - 1) >> octaves, 1)
    doubled = dataclasses.replace(recording, tempos=tempos, ticks_per_beat=beat)
    return _with_ticks(doubled, lambda ticks: ticks * factor) if factor > 1 else doubled


def _halved(recording: Recording, octaves: int) -> Recording:
    """Beats of twice, four times … the length, in bars that are as long as they were."""
    tempos, meters = _all_tempos(recording).copy(), recording.meters.copy()
    tempos["microseconds"] <<= octaves
    for _ in range(octaves):
        is_even = meters["numerator"] % 2 == 0
        meters["numerator"][is_even] //= 2
        meters["denominator"][~is_even & (meters["denominator"] < MAX_DENOMINATOR)] *= 2
    beat = recording.ticks_per_beat << octaves
    return dataclasses.replace(recording, tempos=tempos, meters=meters, ticks_per_beat=beat)


def _with_ticks(recording: Recording, convert) -> Recording:
    """Move everything in time, by a conversion that keeps the order."""
    notes, changed = recording.notes.copy(), {}
    notes["start"], notes["end"] = convert(notes["start"]), convert(notes["end"])
    for name in ("tempos", "meters", "controls"):
        changed[name] = getattr(recording, name).copy()
        changed[name]["tick"] = convert(changed[name]["tick"])
    return dataclasses.replace(recording, notes=notes, **changed)


def seconds_at(ticks: np.ndarray, recording: Recording) -> np.ndarray:
    """Times in seconds, float64, of times in ticks."""
    tempos = _all_tempos(recording)
    per_tick = tempos["microseconds"] / (1e6 * recording.ticks_per_beat)
    at_change = np.cumsum(np.diff(tempos["tick"], prepend=0) * np.append(0, per_tick[:-1]))
    current = np.searchsorted(tempos["tick"], ticks, side="right") - 1
    return at_change[current] + (ticks - tempos["tick"][current]) * per_tick[current]


def _followed(recording: Recording) -> tuple[Recording, str] | None:
    """The recording on a beat that its onsets follow, and how that was found; None: none was."""
    notes = recording.notes
    start, end = seconds_at(notes["start"], recording), seconds_at(notes["end"], recording)
    if not MIN_SECONDS <= start[-1] - start[0] <= MAX_SECONDS:
        return None
    onsets, note_onset = np.unique(start, return_inverse=True)
    is_drum, pitch = notes["is_drum"], notes["pitch"]
    weight = np.where(is_drum, 1.0, np.minimum(end - start, 1.0) + 0.125)
    low = np.where(is_drum, np.isin(pitch, KICK_DRUMS), pitch < LOW_PITCH)
    weight = np.rint(weight * np.where(low, LOW_WEIGHT, 1.0) * 1024)  # exact sums, in any order
    weights = np.bincount(note_onset, weight) / 1024
    for repair, find in (("constant_tempo", constant_beats), ("tracked", tracked_beats)):
        beats = find(onsets, weights)
        if beats is not None:
            return _on_beats(recording, beats), repair
    return None


def _on_beats(recording: Recording, beats: np.ndarray) -> Recording:
    """The recording with these beats, in 4/4: a tempo for each, and time between them in ticks.

    Args:
        recording: its notes stay where they are, in seconds.
        beats: shape (beats,), at least two; seconds, ascending. The first starts a bar; before it
            and after the last one the tempo is that of the nearest two.
    """
    lengths = np.diff(beats)

    def convert(ticks: np.ndarray) -> np.ndarray:
        seconds = seconds_at(ticks, recording)
        beat = np.clip(np.searchsorted(beats, seconds, side="right") - 1, 0, len(lengths) - 1)
        position = beat + (seconds - beats[beat]) / lengths[beat]
        return np.maximum(np.rint(position * TICKS_PER_BEAT), 0).astype(np.int64)

    timed = _with_ticks(recording, convert)
    order = np.lexsort([timed.notes[name] for name in ("pitch", "channel", "track", "start")])
    tempos = np.zeros(len(lengths), TEMPO_DTYPE)
    tempos["tick"] = np.arange(len(lengths)) * TICKS_PER_BEAT
    tempos["microseconds"] = np.diff(np.rint((beats - beats[0]) * 1e6))
    tempos = tempos[np.diff(tempos["microseconds"], prepend=0) != 0]
    return dataclasses.replace(
        timed,
        notes=timed.notes[order],  # others may start on the same tick now
        tempos=tempos,
        meters=timed.meters[:0],
        ticks_per_beat=TICKS_PER_BEAT,
    )


def _shifted(
    recording: Recording, fit: GridFit, steps_per_beat: int
) -> tuple[Recording, str] | None:
    """The recording on the grid, if it lies beside it as a whole; None where it does not.

    Notes, tempos and controls move; bars stay. Nothing moves to before the start of the file.
    """
    if fit.error_ms < MIN_SHIFT_ERROR_MS or fit.onsets < MIN_ONSETS:
        return None
    if fit.lengths[IS_SHIFT_DIVISION].max() < MIN_RESULTANT - 1e-9:  # rounded otherwise than below
        return None
    starts, beat = recording.notes["start"].copy(), recording.ticks_per_beat
    onsets = starts[np.diff(starts, prepend=-1) != 0]
    cycles = SHIFT_DIVISIONS[:, None] * (onsets % beat) / beat
    means = np.exp(2j * np.pi * cycles).mean(axis=1)
    lengths = np.abs(means)
    if lengths.max() < MIN_RESULTANT:
        return None
    best = int(np.flatnonzero(lengths >= NEARLY * lengths.max())[0])
    late = round(float(np.angle(means[best])) / (2 * np.pi * int(SHIFT_DIVISIONS[best])) * beat)
    if late > starts[0]:
        return None
    tempos = _all_tempos(recording).copy()
    tempos["tick"][1:] = np.maximum(tempos["tick"][1:] - late, 0)
    tempos = tempos[np.diff(tempos["tick"], append=-1) != 0]
    if grid_fit(starts - late, tempos, beat, steps_per_beat).error_ms > fit.error_ms / 2:
        return None
    moved = _with_ticks(recording, lambda ticks: np.maximum(ticks - late, 0))
    return dataclasses.replace(moved, meters=recording.meters, tempos=tempos), "shifted"
