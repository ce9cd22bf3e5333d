"""Remove long silences by whole bars; every onset keeps its step within its bar.

A silence is a stretch in which nothing sounds. What follows a removed silence has the meter,
tempo and controls that it had before. Removing silence twice changes nothing more.

Silence is measured on the song as its tokens have it: a note that was shortened to the longest
duration token stops sounding there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shards import settings
from shards.bars import Bars
from shards.settings import setting
from shards.song import COMMON_TIME, DEFAULT_TEMPO, Song, changes, control_changes


@dataclass(frozen=True, kw_only=True)
class SilenceSettings:
    """How much silence a song may keep."""

    max_silence: int = setting(
        2,
        "Whole bars of silence that may stay inside a song; longer ones are shortened to this. Two "
        "bars is a general pause that composers write; longer ones are faults of the file.",
        low=0,
    )
    max_leading_silence: int = setting(
        0, "Whole bars of silence that may stay before the first note; none is music.", low=0
    )

    def __post_init__(self) -> None:
        """Refuse negative bars."""
        settings.check(self)


@dataclass(frozen=True)
class Removed:
    """What silence removal took out of one song.

    Attributes:
        bars, seconds: in total.
        cuts: (bar, count) pairs: before this bar of the kept song, so many bars were removed.
    """

    bars: int
    seconds: float
    cuts: tuple[tuple[int, int], ...] = ()


def remove_silence(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: SilenceSettings
) -> tuple[Song, Removed]:
    """Shorten every silence of the song to its limit, by whole bars.

    Args:
        song: canonical, at least one note.
        bar_steps: steps in a bar of each meter, as in `Vocabulary.bar_steps`.
        limits: how much silence may stay.

    Returns:
        The shorter song, canonical, and what was removed.
    """
    if _has_no_long_silence(song, bar_steps, limits):
        return song, Removed(0, 0.0)
    bars = Bars(song.meters, bar_steps)
    first, last = _excess_bars(song, bars, limits)
    if not len(first):
        return song, Removed(0, 0.0)
    begin, end = bars.first_steps(first), bars.first_steps(last)
    count = last - first
    bar = first - (np.cumsum(count) - count)  # minus the bars removed before it
    removed = Removed(
        int(count.sum()),
        float((song.seconds(end) - song.seconds(begin)).sum()),
        tuple(zip(bar.tolist(), count.tolist(), strict=True)),
    )
    meters, tempos = song.meters.copy(), song.tempos.copy()
    notes, controls = song.notes.copy(), song.controls.copy()
    for events in (meters, tempos, notes, controls):
        events["start"] = _close_gaps(events["start"], begin, end)
    shorter = Song(
        notes,
        changes(meters, COMMON_TIME),
        changes(tempos, DEFAULT_TEMPO),
        song.steps_per_beat,
        control_changes(controls),
    )
    return shorter, removed


def _has_no_long_silence(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: SilenceSettings
) -> bool:
    """Fast check that settles most songs: no rest is long enough, wherever bar lines fall.

    Only songs with one meter pass, since a change of meter cuts a bar short.
    """
    if len(song.meters) != 1:
        return False
    bar = bar_steps[int(song.meters["numerator"][0]), int(song.meters["denominator"][0])]
    starts = song.notes["start"]
    if starts[0] >= (limits.max_leading_silence + 1) * bar:
        return False
    sounding_until = np.maximum.accumulate(starts + song.notes["duration"])
    rests = starts[1:] - sounding_until[:-1]
    return bool(rests.max(initial=0) <= limits.max_silence * bar)


def _excess_bars(song: Song, bars: Bars, limits: SilenceSettings) -> tuple[np.ndarray, np.ndarray]:
    """The half-open ranges of bars to remove: first and last, each of shape (cuts,)."""
    starts = song.notes["start"]
    sounding_until = np.maximum.accumulate(starts + song.notes["duration"])
    silent_from = np.concatenate([[0], sounding_until[:-1]])
    bar, step = bars.locate(silent_from)
    first_silent = bar + (step > 0)
    kept = np.full(len(starts), limits.max_silence)
    kept[0] = limits.max_leading_silence
    first, last = first_silent + kept, bars.locate(starts)[0]
    cut = first < last
    return first[cut], last[cut]


def _close_gaps(steps: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Move steps to where they lie once the ranges [begin, end) are removed.

    A step inside a range moves to its begin.
    """
    removed = np.concatenate([[0], np.cumsum(end - begin)])
    passed = np.searchsorted(begin, steps, side="right")
    inside = np.maximum(end[np.maximum(passed - 1, 0)] - steps, 0) * (passed > 0)
    return steps - removed[passed] + inside
