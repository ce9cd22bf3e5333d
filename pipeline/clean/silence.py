"""Long silences out; every onset keeps its place in its bar.

A silence is a stretch in which no part sounds. Only whole bars leave, so what comes after still
starts on its beat; meter, tempo and controls that would have been in force then are in force
now. Removing silence twice changes nothing more.

Silence is measured on the song as its tokens say it: a note cut to the longest duration has
stopped sounding where its token says.
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
        "Whole bars of silence left inside a song; what is longer is cut to this. Two bars is "
        "a general pause that composers write; longer ones are faults of the file.",
        low=0,
    )
    max_leading_silence: int = setting(
        0, "Whole bars of silence left before the first note.", low=0
    )

    def __post_init__(self) -> None:
        """Refuse negative bars."""
        settings.check(self)


@dataclass(frozen=True)
class Removed:
    """What silence removal took out of one song.

    Attributes:
        bars, seconds: in all.
        cuts: where: the bar, of the song as it is kept, before which bars are missing, and how
            many.
    """

    bars: int
    seconds: float
    cuts: tuple[tuple[int, int], ...] = ()


def remove_silence(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: SilenceSettings
) -> tuple[Song, Removed]:
    """Cut every silence of the song down to its limit, by whole bars.

    Args:
        song: canonical, at least one note.
        bar_steps: steps in a bar of each meter, as in `Vocabulary.bar_steps`.
        limits: how much silence may stay.

    Returns:
        The shorter song, canonical, and what was taken out of it.
    """
    if _surely_none(song, bar_steps, limits):
        return song, Removed(0, 0.0)
    bars = Bars(song.meters, bar_steps)
    first, last = _excess(song, bars, limits)
    if not len(first):
        return song, Removed(0, 0.0)
    begin, end = bars.line(first), bars.line(last)
    gone = last - first
    bar = first - (np.cumsum(gone) - gone)  # less what was cut before it
    removed = Removed(
        int(gone.sum()),
        float((song.seconds(end) - song.seconds(begin)).sum()),
        tuple(zip(bar.tolist(), gone.tolist(), strict=True)),
    )
    meters, tempos = song.meters.copy(), song.tempos.copy()
    notes, controls = song.notes.copy(), song.controls.copy()
    for events in (meters, tempos, notes, controls):
        events["start"] = _close_up(events["start"], begin, end)
    shorter = Song(
        notes,
        changes(meters, COMMON_TIME),
        changes(tempos, DEFAULT_TEMPO),
        song.steps_per_beat,
        control_changes(controls),
    )
    return shorter, removed


def _surely_none(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: SilenceSettings
) -> bool:
    """Whether, bar lines aside, no rest is long enough for a bar to leave: so it is in most songs.

    With one meter only: a change of meter cuts bars short.
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


def _excess(song: Song, bars: Bars, limits: SilenceSettings) -> tuple[np.ndarray, np.ndarray]:
    """The bars to cut: from each of the first to before each of the second, shape (cuts,)."""
    starts = song.notes["start"]
    sounding_until = np.maximum.accumulate(starts + song.notes["duration"])
    silent_from = np.concatenate([[0], sounding_until[:-1]])
    bar, place = bars.positions(silent_from)
    first_silent = bar + (place > 0)
    kept = np.full(len(starts), limits.max_silence)
    kept[0] = limits.max_leading_silence
    first, last = first_silent + kept, bars.positions(starts)[0]
    cut = first < last
    return first[cut], last[cut]


def _close_up(steps: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Where each step lies once the stretches [begin, end) are gone; inside one, at its begin."""
    gone = np.concatenate([[0], np.cumsum(end - begin)])
    passed = np.searchsorted(begin, steps, side="right")
    inside = np.maximum(end[np.maximum(passed - 1, 0)] - steps, 0) * (passed > 0)
    return steps - gone[passed] + inside
