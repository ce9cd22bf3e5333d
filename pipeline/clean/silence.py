"""Remove long silences by whole bars; every onset keeps its step within its bar.

A silence is a stretch in which nothing sounds. What follows a removed silence has the meter,
tempo and controls that it had before. Removing silence twice changes nothing more.

A few notes alone at either end of the song, beyond a long silence, are strays: a count-in, a test
of the keys, a note from an editor's clipboard. They go with the silence.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.clean.silence_kernels import close_gaps, long_silences, longest_rest, sounding_until
from pipeline.clean.silence_settings import SilenceSettings
from shards.bars import Bars
from shards.song import COMMON_TIME, DEFAULT_TEMPO, Song, changes, control_changes


@dataclass(frozen=True)
class Removed:
    """What silence removal took out of one song.

    Attributes:
        bars, seconds: in total.
        cuts: (bar, count) pairs: before this bar of the kept song, so many bars were removed.
        strays: number of notes.
    """

    bars: int
    seconds: float
    cuts: tuple[tuple[int, int], ...] = ()
    strays: int = 0

    def without_bars(self, first: int, stop: int) -> "Removed":
        """The same for the song without bars [first, stop); a silence among them is forgotten."""
        cuts = tuple(
            (bar - (stop - first if bar >= stop else 0), count)
            for bar, count in self.cuts
            if not first <= bar < stop
        )
        return dataclasses.replace(self, cuts=cuts)


NO_SPANS = np.zeros((2, 0), np.int64)
ROUNDING = 1e-6
"""Seconds: two bars of 4/4 at 120 are 4.0 seconds, whatever the sum of their floats is."""


def remove_silence(
    song: Song,
    bar_steps: Mapping[tuple[int, int], int],
    limits: SilenceSettings,
    held: np.ndarray = NO_SPANS,
) -> tuple[Song, Removed]:
    """Shorten every silence of the song to its limit, by whole bars; drop strays beyond one.

    Args:
        song: canonical, at least one note.
        bar_steps: steps in a bar of each meter, as in `Vocabulary.bar_steps`.
        limits: how much silence may stay.
        held: shape (2, spans), steps: starts and ends of notes that last longer than the song
            says, because no duration token is as long. No bar in which one sounds is removed.

    Returns:
        The shorter song, canonical, and what was removed.
    """
    if _has_no_long_silence(song, bar_steps, limits):
        return song, Removed(0, 0.0)
    bars = Bars(song.meters, bar_steps)
    after, first, last = _excess_bars(song, bars, limits, held)
    if not len(first):
        return song, Removed(0, 0.0)
    kept = _without_strays(after, len(song.notes), limits.max_strays)
    strays = len(song.notes) - (kept.stop - kept.start)
    if strays:
        without = dataclasses.replace(song, notes=song.notes[kept]).until_last_onset()
        shorter, removed = remove_silence(without, bar_steps, limits, held)
        return shorter, dataclasses.replace(removed, strays=strays + removed.strays)
    begin, end = bars.first_steps(first), bars.first_steps(last)
    count = last - first
    bar = first - (np.cumsum(count) - count)  # minus the bars removed before it
    begins, ends = song.seconds(np.stack([begin, end]))
    removed = Removed(
        int(count.sum()),
        float((ends - begins).sum()),
        tuple(zip(bar.tolist(), count.tolist(), strict=True)),
    )
    return remove_steps(song, begin, end), removed


def remove_steps(song: Song, begin: np.ndarray, end: np.ndarray) -> Song:
    """The song without the steps [begin, end), ranges by step; canonical.

    Notes that start in a removed range must have been left out before. The last meter, tempo and
    controls of a removed range hold after it.
    """
    meters, tempos = song.meters.copy(), song.tempos.copy()
    notes, controls = song.notes.copy(), song.controls.copy()
    for events in (meters, tempos, notes, controls):
        steps = events["start"].copy()
        close_gaps(steps, begin, end)
        events["start"] = steps
    return Song(
        notes,
        changes(meters, COMMON_TIME),
        changes(tempos, DEFAULT_TEMPO),
        song.steps_per_beat,
        control_changes(controls),
    )


def _has_no_long_silence(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: SilenceSettings
) -> bool:
    """Fast check that settles most songs: no rest is long enough, wherever bar lines fall.

    Only songs with one meter pass, since a change of meter cuts a bar short.
    """
    if len(song.meters) != 1:
        return False
    bar = bar_steps[int(song.meters["numerator"][0]), int(song.meters["denominator"][0])]
    if song.notes["start"][0] >= (limits.max_leading_silence + 1) * bar:
        return False
    return longest_rest(np.ascontiguousarray(song.notes)) <= limits.max_silence * bar


def _excess_bars(
    song: Song, bars: Bars, limits: SilenceSettings, held: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bars to remove.

    Returns:
        shape (cuts,) each: the note after the silence; the half-open range of bars.
    """
    notes, most = np.ascontiguousarray(song.notes), (limits.max_leading_silence, limits.max_silence)
    until = sounding_until(notes, np.ascontiguousarray(held[:, held[0].argsort()]))
    meters = bars.starts, bars.lengths, bars.first_bars
    after, first, last = long_silences(notes, until, meters, *most)
    inner = after > 0
    kept = np.where(inner, limits.max_silence, limits.max_leading_silence)
    if inner.any():
        begins = song.seconds(bars.first_steps(first[inner]))
        bar, step = bars.locate(song.steps_at(begins + limits.max_silence_seconds - ROUNDING))
        kept[inner] = np.maximum(kept[inner], bar + (step > 0) - first[inner])
    for n, (begin, end) in enumerate(zip((first + kept).tolist(), last.tolist(), strict=True)):
        fewer_first = range(begin - int(first[n]) + 1)  # bars kept after the cut, not before it
        shifts = (k for k in fewer_first if _keeps_bar_lines(song, bars, begin - k, end - k))
        shift = next(shifts, None)
        if shift is None:
            last[n] = first[n]  # nothing is cut
        else:
            kept[n], last[n] = kept[n] - shift, end - shift
    cut = first + kept < last
    return after[cut], (first + kept)[cut], last[cut]


def _keeps_bar_lines(song: Song, bars: Bars, begin: int, end: int) -> bool:
    """Whether bar `end` begins a bar once bars [begin, end) are removed.

    It does not where the meter before `begin` was cut short by another and returns at `end`: the
    two then are one meter.
    """
    if len(song.meters) == 1:
        return True
    steps = bars.first_steps(np.array([begin, end]))
    before, after = bars.meter_at(steps - [1, 0])
    meters = song.meters[["numerator", "denominator"]]
    past = (steps[0] - bars.starts[before]) % bars.lengths[before]
    return before < 0 or before == after or meters[before] != meters[after] or past == 0


def _without_strays(after: np.ndarray, notes: int, most: int) -> slice:
    """The notes that are no strays: all, if most of the song were strays.

    Args:
        after: shape (cuts,), the notes that follow silences that are too long.
        notes: in the song.
        most: strays in a row, between two such silences.
    """
    inner = after[after > 0].tolist()
    first, last = 0, notes
    for note in inner:
        if note - first > most:
            break
        first = note
    for note in reversed(inner):
        if last - note > most:
            break
        last = note
    return slice(first, last) if 2 * (last - first) > notes else slice(0, notes)
