"""Rearrange a song, so that a model learns to write music to what is given.

A rearranged stream is several sections, one after the other. Each is some bars of the song, all of
their parts or some, and opens with a <sos> that stands in its first bar; it ends where the next
one opens, the last one with <eos>. Bars and steps stay those of the song, so that together the
sections are the song: `merge_sections` gives it back.

    plain     the song as it is
    given     ahead of its time, for what is written to it
    written   to what was given before it

    infilling       bars [a, b) are written after bars [b, c) were given: all parts of them, or some
                    of them after the others
    accompaniment   some parts are written to the others, some bars at a time

Changes of meter and tempo belong to what is given, so that bars are known before they are written.

Source: the idea of giving tokens ahead of their time is that of Thickstun et al. 2023,
"Anticipatory Music Transformer".
"""

import math
from typing import NamedTuple

import numpy as np

from shards.bars import Bars
from shards.codec import Codec, EncodedSong
from shards.song import Song
from shards.vocabulary import NO_INSTRUMENT, PROGRAMS, Vocabulary
from trainer.data.conditions import GIVEN, PLAIN, WRITTEN

CLASSES = 256
MAX_BARS_AHEAD = 8
"""Bars after a gap that are given before it is filled."""


class Plan(NamedTuple):
    """Which token of a song is in which section.

    Attributes:
        given, written: shape (bars,), int64; the section of each bar's tokens, of hidden classes
            (`written`) and of all others; -1: left out.
        hidden: shape (256,), bool; the hidden instrument classes.
        first_bars, stop_bars, kinds: shape (sections,), int64; the bars of each section, and
            PLAIN, GIVEN or WRITTEN.
    """

    given: np.ndarray
    written: np.ndarray
    hidden: np.ndarray
    first_bars: np.ndarray
    stop_bars: np.ndarray
    kinds: np.ndarray


class Rearranged(NamedTuple):
    """A stream of sections.

    Attributes:
        song: its arrays; bars and steps are those of the song.
        kinds: shape (tokens,), int64; of the section of each token.
        stop_bars: shape (tokens,), int64; the bar at which that section stops.
    """

    song: EncodedSong
    kinds: np.ndarray
    stop_bars: np.ndarray


def infilling_plan(bars: int, gaps: list[tuple[int, int, int]], hidden: np.ndarray) -> Plan:
    """Plan to fill gaps.

    Args:
        bars: of the song.
        gaps: bars a, b, c of each, ascending: [a, b) is written after [b, c) was given.
        hidden: shape (256,), bool; the classes that are written.
    """
    given, written, sections = np.zeros(bars, np.int64), np.zeros(bars, np.int64), []
    at = 0
    for first, stop, ahead in [*gaps, (bars, bars, bars)]:
        if first > at:
            given[at:first] = written[at:first] = len(sections)
            sections.append((at, first, PLAIN))
        if stop > first:
            given[first:ahead] = written[stop:ahead] = len(sections)
            written[first:stop] = len(sections) + 1
            sections += [(first, ahead, GIVEN), (first, stop, WRITTEN)]
        at = ahead
    return Plan(given, written, hidden, *_columns(sections, bars))


def accompaniment_plan(bars: int, bars_at_a_time: int, hidden: np.ndarray) -> Plan:
    """Plan to write the hidden classes to the others, some bars at a time."""
    turns = np.arange(bars) // bars_at_a_time
    sections = []
    for first in range(0, bars, bars_at_a_time):
        stop = min(first + bars_at_a_time, bars)
        sections += [(first, stop, GIVEN), (first, stop, WRITTEN)]
    return Plan(2 * turns, 2 * turns + 1, hidden, *_columns(sections, bars))


def _columns(sections: list[tuple[int, int, int]], bars: int) -> tuple[np.ndarray, ...]:
    first, stop, kind = np.array(sections, np.int64).reshape(-1, 3).T
    if len(stop) and kind[-1] == PLAIN:
        stop[-1] = bars
    return first, stop, kind


def draw_plan(song: EncodedSong, rng: np.random.Generator) -> Plan:
    """Draw a plan for a song: in half of them gaps are filled, in half parts are written.

    Gaps are 1, 2, 4 or 8 bars, of all parts or some, and as many are given after each, drawn on
    their own: much music ahead pushes what came before the gap out of the memory. Between two gaps
    lie 3 to 8 bars as they are. An accompaniment is written 1, 2 or 4 bars at a time.
    """
    bars = int(song.bars[-1]) + 1
    parts = parts_of(song)
    some = rng.permutation(len(parts))[: rng.integers(1, max(len(parts), 2))]
    if rng.random() < 0.5 and len(parts) > 1:
        return accompaniment_plan(bars, 1 << int(rng.integers(3)), hidden_classes(parts[some]))
    gaps, at = [], 0
    between = 3 + rng.integers(6, size=bars // 4 + 1)  # more than fit
    doublings = rng.integers(int(math.log2(MAX_BARS_AHEAD)) + 1, size=(2, len(between)))
    for plain, gap, ahead in zip(*(draws.tolist() for draws in (between, *doublings)), strict=True):
        first = at + plain
        stop = first + (1 << gap)
        if stop > bars:
            break
        at = min(stop + (1 << ahead), bars)
        gaps.append((first, stop, at))
    hidden = hidden_classes(parts[some] if rng.random() < 0.5 else parts)
    return infilling_plan(bars, gaps, hidden)


def parts_of(song: EncodedSong) -> np.ndarray:
    """A song's parts: the programs that play, ascending, and PROGRAMS for drums."""
    plays = np.bincount(song.instruments, minlength=CLASSES) > 0
    plays[PROGRAMS] = plays[PROGRAMS:NO_INSTRUMENT].any()
    return np.flatnonzero(plays[: PROGRAMS + 1]).astype(np.uint8)


def hidden_classes(parts: np.ndarray) -> np.ndarray:
    """Which instrument classes belong to parts: programs, and PROGRAMS for all drums; (256,)."""
    hidden = np.zeros(CLASSES, bool)
    hidden[parts] = True
    hidden[PROGRAMS:NO_INSTRUMENT] = hidden[PROGRAMS]
    return hidden


def rearrange(song: EncodedSong, plan: Plan, codec: Codec) -> Rearranged:
    """Put a song's tokens into the sections of a plan.

    Args:
        song: in order, as a dataset holds it.
        plan: of as many bars.
        codec: of its vocabulary.
    """
    items, counts = _items_by_section(song, plan, codec.vocabulary)
    song, sizes = write_sections(song, items, counts, plan.first_bars, codec)
    return Rearranged(song, np.repeat(plan.kinds, sizes), np.repeat(plan.stop_bars, sizes))


def write_sections(
    song: EncodedSong, items: np.ndarray, counts: np.ndarray, first_bars: np.ndarray, codec: Codec
) -> tuple[EncodedSong, np.ndarray]:
    """Write tokens of a song as sections, with the rests between them.

    Args:
        song: in order, as a dataset holds it.
        items: shape (items,), int64; which tokens, none of them a rest, <sos> or <eos>. In each
            section they ascend.
        counts: shape (sections,), int64; how many of them are in each section.
        first_bars: shape (sections,), int64; where each opens.
        codec: of the song's vocabulary.

    Returns:
        The sections, and how many tokens each has, shape (sections,), int64.
    """
    vocabulary, times = codec.vocabulary, codec.times(song.tokens)
    bar_lines = codec.bar_lines(song, times)
    steps, first = times.take(items), np.cumsum(counts) - counts

    opens = first[counts > 0]  # the first items of sections; their rests begin with the section
    gaps = np.empty_like(steps)
    np.subtract(steps[1:], steps[:-1], out=gaps[1:])
    gaps[opens] = steps[opens] - bar_lines.first_steps(first_bars[counts > 0])
    late = np.flatnonzero(gaps)  # the items with rests before them
    gaps = gaps[late]
    rests = vocabulary.rest_counts(gaps)

    widths = np.ones(len(items) + 1, np.int64)
    widths[0] = 0
    widths[late + 1] += rests
    ends, numbers = np.cumsum(widths), np.arange(len(counts) + 1)
    at = ends[1:] + np.repeat(numbers[:-1], counts)
    bounds = ends[np.append(first, len(items))] + numbers
    opening, length = bounds[:-1], int(bounds[-1]) + 1

    sources = np.zeros(length, np.int64)  # token 0, <sos>, has neither instrument nor velocity
    sources[at] = items
    out = EncodedSong(*(array.take(sources) for array in vars(song).values()))
    out.tokens[-1] = vocabulary.eos
    rest_steps = np.empty(length, np.int64)
    rest_at = codec.write_rests(out.tokens, rest_steps, at[late] - rests, gaps, steps[late])
    out.bars[rest_at], out.steps[rest_at] = bar_lines.locate(rest_steps[rest_at])
    out.tokens[opening], out.bars[opening] = vocabulary.sos, first_bars
    last = max(at[-1], opening[-1]) if len(at) else opening[-1]
    out.bars[-1], out.steps[-1] = out.bars[last], out.steps[last]
    sizes = bounds[1:] - opening
    sizes[-1] += 1  # <eos>
    return out, sizes


def is_item(tokens: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Whether each token is neither a rest nor special; uint16 of any shape -> bool."""
    is_rest = tokens - np.uint16(vocabulary.rest0) < np.uint16(len(vocabulary.rests))  # 0 - 1 wraps
    return (tokens >= vocabulary.pitch0) & ~is_rest


def _items_by_section(
    song: EncodedSong, plan: Plan, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """A song's tokens but rests, <sos> and <eos>, by the section that they belong to.

    Returns:
        Where they are in the song, shape (items,), and how many of each section, shape (sections,).
    """
    items, count = np.flatnonzero(is_item(song.tokens, vocabulary)), len(plan.kinds)
    of_bar = np.concatenate([plan.given, plan.written])
    row = np.where(plan.hidden, len(plan.given), 0)
    sections = of_bar.take(row.take(song.instruments.take(items)) + song.bars.take(items))
    if sections.min(initial=0) < 0:
        is_kept = sections >= 0
        items, sections = items[is_kept], sections[is_kept]
    order = np.argsort(sections.astype(np.min_scalar_type(count)), kind="stable")  # 16 bits: radix
    return items[order], np.bincount(sections, minlength=count)


def merge_sections(song: EncodedSong, codec: Codec, bar_lines: Bars) -> Song:
    """The song whose sections a stream holds.

    Args:
        song: a whole rearranged stream.
        codec: of its vocabulary.
        bar_lines: of the song.

    """
    openings = np.flatnonzero(song.tokens == codec.vocabulary.sos)
    starts = bar_lines.first_steps(song.bars[openings].astype(np.int64))
    sizes = np.diff(openings, append=len(song))
    times = codec.times(song.tokens)
    return codec.song_of(song, times - np.repeat(times[openings] - starts, sizes))
