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
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from pipeline.clean.loop_settings import LoopSettings
from pipeline.clean.silence import remove_steps
from shards.bars import Bars
from shards.song import Song

MIN_SHARE = 0.5
"""Of the song's bars: a shorter passage that repeats is a part of the song's form."""

MAX_BARS = 4096
"""Longer songs are not searched: time grows with the square of their bars, and the rules reject
them."""

TEMPO, CONTROL = 1 << 16, 2 << 16
"""Kinds of events in a bar's hash; those of notes and meters are less."""


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
    count = int(bars.locate(song.notes["start"][-1:])[0][0]) + 1
    if count > MAX_BARS:
        return song, Loop()
    loop = Loop(*longest_repeat(bar_hashes(song, bars, count), math.ceil(MIN_SHARE * count)))
    if loop.turns < 2 or not limits.max_turns:
        return song, loop
    unit = loop.bars * -(-limits.min_turn_bars // loop.bars)
    excess = loop.bars * loop.turns // unit - limits.max_turns
    if excess <= 0:
        return song, loop
    first = loop.first + (limits.max_turns - 1) * unit
    cut = first, first + excess * unit
    begin, end = bars.first_steps(np.array(cut))
    starts = song.notes["start"]
    outside = song.notes[(starts < begin) | (starts >= end)]
    kept = Song(outside, song.meters, song.tempos, song.steps_per_beat, song.controls)
    shorter = remove_steps(kept, np.array([begin]), np.array([end]))
    return shorter, dataclasses.replace(loop, cut=cut)


def bar_hashes(song: Song, bars: Bars, count: int) -> np.ndarray:
    """A hash of the content of each of the first `count` bars, which hold all onsets; uint64."""
    hashes = np.zeros(count, np.uint64)
    events = song.meters, song.tempos, np.ascontiguousarray(song.controls)
    _hash_notes(
        hashes, np.ascontiguousarray(song.notes), bars.starts, bars.lengths, bars.first_bars
    )
    _hash_changes(hashes, events, bars.starts, bars.lengths, bars.first_bars)
    return hashes


@njit(cache=True)
def _hash_notes(hashes, notes, starts, lengths, first_bars):
    """Add the notes, dtype NOTE, to the hashes of their bars; the rest is of `Bars`."""
    meter, bar, line, end = 0, 0, 0, 0
    for i in range(len(notes)):
        note = notes[i]
        if note.start >= end:
            while meter + 1 < len(starts) and starts[meter + 1] <= note.start:
                meter += 1
            past = (note.start - starts[meter]) // lengths[meter]
            bar, line = first_bars[meter] + past, starts[meter] + past * lengths[meter]
            end = line + lengths[meter]
            if meter + 1 < len(starts):
                end = min(end, starts[meter + 1])
        sound = np.int64(note.instrument) << 8 | note.pitch
        hashes[bar] += hash_of(note.start - line, note.duration, sound)


@njit(cache=True)
def _hash_changes(hashes, events, starts, lengths, first_bars):
    """Add to each bar's hash its length, its meter, its tempos and its controls.

    Args:
        events: the song's meters, tempos and controls.
        starts, lengths, first_bars: of `Bars`.
    """
    meters, tempos, controls = events
    meter, tempo, t, c, line = 0, 0, 0, 0, 0
    for bar in range(len(hashes)):
        length = lengths[meter]
        is_cut = meter + 1 < len(starts) and starts[meter + 1] <= line + length
        end = starts[meter + 1] if is_cut else line + length
        length = end - line if bar + 1 < len(hashes) else lengths[-1]
        while tempo + 1 < len(tempos) and tempos[tempo + 1].start <= line:
            tempo += 1
        shape = np.int64(meters[meter].numerator) << 8 | meters[meter].denominator
        hashes[bar] += hash_of(length, tempos[tempo].microseconds, shape)
        while len(tempos) > 1 and t < len(tempos) and tempos[t].start < end:
            if tempos[t].start > line:  # others are the tempo of their bar line
                hashes[bar] += hash_of(tempos[t].start - line, tempos[t].microseconds, TEMPO)
            t += 1
        while c < len(controls) and controls[c].start < end:
            kind = CONTROL + (np.int64(controls[c].kind) << 8) + controls[c].instrument
            hashes[bar] += hash_of(controls[c].start - line, controls[c].value, kind)
            c += 1
        line = end
        meter += is_cut


@njit(cache=True)
def hash_of(step, value, kind):
    """The hash of an event: its step in its bar, its value, what it is; uint64.

    Source of the mixing: Steele et al. 2014, Fast Splittable Pseudorandom Number Generators.
    """
    x = np.uint64(step) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(np.int64(value))
    for word in (np.uint64(0), np.uint64(kind)):
        x ^= word
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x


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
