"""Find a loop that was written out, and keep only its first turns.

Music for games is often one loop, recorded twice or more so that a player hears it long enough.
The copies teach a model nothing but to repeat.

Conventions
    loop        consecutive bars that repeat exactly, all but the velocities: notes, meters, tempos
                and controls; at least half of the song
    turn        one time through the loop
    bar hash    equal for bars of equal content; the sum of a hash of each event, so order does not
                matter
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from pipeline.clean.silence import remove_steps
from shards import settings
from shards.bars import Bars
from shards.settings import setting
from shards.song import Song

MIN_SHARE = 0.5
"""Of the song's bars: a shorter passage that repeats is a part of the song's form."""


TEMPO, CONTROL = 1 << 16, 2 << 16
"""Kinds of events in a bar's hash; those of notes and meters are less."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How much of a loop a song may keep."""

    max_turns: int = setting(
        2,
        "Turns of a loop that stay, of a song that is mostly one loop; 0 keeps all. Two show that "
        "it repeats; what leads into it and what ends it stays.",
        low=0,
    )
    min_turn_bars: int = setting(
        8,
        "Bars of a turn, at least: a shorter loop counts as one of so many bars. A groove of one "
        "bar then keeps 16.",
        low=1,
    )

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        settings.check(self)


@dataclass(frozen=True)
class Loop:
    """The loop that a song mostly is.

    Attributes:
        first: bar where it starts.
        bars: its length, the shortest that repeats.
        turns: whole turns; 1 if the song is no loop.
        cut: the half-open range of bars that was removed.
    """

    first: int = 0
    bars: int = 0
    turns: int = 1
    cut: tuple[int, int] = (0, 0)

    @property
    def bars_cut(self) -> int:
        """Number of bars removed."""
        return self.cut[1] - self.cut[0]


def find_loop(song: Song, bars: Bars) -> Loop:
    """The shortest loop that is at least half of the song's bars, from its first repetition on."""
    hashes = bar_hashes(song, bars)
    return Loop(*longest_repeat(hashes, int(np.ceil(MIN_SHARE * len(hashes)))))


def cut_loop(
    song: Song, bar_steps: Mapping[tuple[int, int], int], limits: LoopSettings
) -> tuple[Song, Loop]:
    """Remove the turns between a loop's first ones and its last.

    Args:
        song: canonical, at least one note.
        bar_steps: steps in a bar of each meter, as in `Vocabulary.bar_steps`.
        limits: how many turns may stay.

    Returns:
        The song, canonical; and its loop, numbered by the bars of the song given.
    """
    bars = Bars(song.meters, bar_steps)
    loop = find_loop(song, bars)
    unit = loop.bars * -(-limits.min_turn_bars // loop.bars) if loop.bars else 1
    excess = loop.bars * loop.turns // unit - limits.max_turns
    if loop.turns < 2 or not limits.max_turns or excess <= 0:
        return song, loop
    first = loop.first + (limits.max_turns - 1) * unit
    cut = first, first + excess * unit
    begin, end = bars.first_steps(np.array(cut))
    starts = song.notes["start"]
    outside = song.notes[(starts < begin) | (starts >= end)]
    kept = Song(outside, song.meters, song.tempos, song.steps_per_beat, song.controls)
    shorter = remove_steps(kept, np.array([begin]), np.array([end]))
    return shorter, dataclasses.replace(loop, cut=cut)


def bar_hashes(song: Song, bars: Bars) -> np.ndarray:
    """A hash of each bar's content, uint64, shape (bars up to the last onset,)."""
    notes = song.notes
    bar, step = bars.locate(notes["start"])
    hashes = np.zeros(int(bar[-1]) + 1, np.uint64)
    sound = notes["instrument"].astype(np.uint64) << np.uint64(8) | notes["pitch"]
    add_events(hashes, bar, step, notes["duration"], sound)
    lines = bars.first_steps(np.arange(len(hashes)))
    ends = np.append(lines[1:], lines[-1] + bars.lengths[-1])
    tempo = np.searchsorted(song.tempos["start"], lines, side="right") - 1
    meter = bars.meter_at(lines)
    shape = song.meters["numerator"].astype(np.uint64) << np.uint64(8) | song.meters["denominator"]
    every = np.arange(len(hashes))
    add_events(hashes, every, ends - lines, song.tempos["microseconds"][tempo], shape[meter])
    bar, step = bars.locate(song.tempos["start"])
    inside = np.flatnonzero(step)  # others are the tempo of their bar line
    tempos = song.tempos["microseconds"][inside]
    add_events(hashes, bar[inside], step[inside], tempos, np.full(len(inside), TEMPO))
    controls = song.controls
    kind = CONTROL + (controls["kind"].astype(np.int64) << 8) + controls["instrument"]
    add_events(hashes, *bars.locate(controls["start"]), controls["value"], kind)
    return hashes


@njit(cache=True)
def add_events(hashes, bar, step, value, kind):
    """Add the hash of each event (step in its bar, value, kind) to its bar's.

    Source of the mixing: Steele et al. 2014, Fast Splittable Pseudorandom Number Generators.
    """
    for i in range(len(bar)):
        x = np.uint64(step[i]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(np.int64(value[i]))
        for word in (np.uint64(0), np.uint64(kind[i])):
            x ^= word
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
        hashes[bar[i]] += x


@njit(cache=True)
def longest_repeat(hashes, least):
    """The shortest period whose repetition covers at least `least` items.

    Returns:
        First item, period and whole turns; (0, 0, 1) if there is none with two turns.
    """
    n = len(hashes)
    for period in range(1, n // 2 + 1):
        run, best, end = 0, 0, 0
        for i in range(n - period):
            run = run + 1 if hashes[i] == hashes[i + period] else 0
            if run > best:
                best, end = run, i + 1
        if best >= period and best + period >= least:
            return end - best, period, (best + period) // period
    return 0, 0, 1
