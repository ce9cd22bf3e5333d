"""Loops: what repeats is found, and cutting it changes nothing but the number of its turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.loop_settings import LoopSettings
from pipeline.clean.loops import CONTROL, TEMPO, Loop, bar_hashes, cut_loop, hash_of, longest_repeat
from shards.bars import Bars
from shards.vocabulary import CodecSettings, Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()
BENDING = Vocabulary(CodecSettings(controls="bend,mod"))
BAR = VOCABULARY.bar_steps[4, 4]
songs = canonical_songs(VOCABULARY)


def cut(song, **limits):
    return cut_loop(song, VOCABULARY.bar_steps, LoopSettings(**limits))


def hashes(song):
    bars = Bars(song.meters, VOCABULARY.bar_steps)
    return bar_hashes(song, bars, bars.locate(song.notes["start"])[0][-1] + 1).tolist()


def tune(*bars, **tracks):
    """A song with one note in each bar, of the given pitch; 0 for a bar of rest."""
    rows = [(BAR * bar, 12, 0, pitch, 66) for bar, pitch in enumerate(bars) if pitch]
    return make_song(rows, **tracks)


def pitches(song):
    return song.notes["pitch"].tolist()


def events_by_bar(song, bars, count):
    """Bar, step in it, value and kind of every event, and of the bars themselves."""
    lines = bars.first_steps(np.arange(count))
    lengths = [*np.diff(lines).tolist(), int(bars.lengths[-1])]
    (tempo_starts, tempos), meters = (song.tempos[n] for n in song.tempos.dtype.names), song.meters
    at = np.searchsorted(tempo_starts, lines, side="right") - 1, bars.meter_at(lines)
    for bar, (length, tempo, meter) in enumerate(zip(lengths, *at, strict=True)):
        _, numerator, denominator = meters[meter].tolist()
        yield bar, length, tempos[tempo], numerator << 8 | denominator

    def place(start):
        return (int(part) for part in bars.locate(start))

    for start, duration, instrument, pitch, _ in song.notes.tolist():
        yield (*place(start), duration, instrument << 8 | pitch)
    for start, microseconds in song.tempos.tolist():
        bar, step = place(start)
        if step:
            yield bar, step, microseconds, TEMPO
    for start, instrument, kind, value in song.controls.tolist():
        yield (*place(start), value, CONTROL + (kind << 8) + instrument)


@given(canonical_songs(BENDING))
def test_a_bars_hash_is_the_sum_of_the_hashes_of_its_events(song):
    bars = Bars(song.meters, BENDING.bar_steps)
    expected = [0] * len(hashes(song))
    for bar, *event in events_by_bar(song, bars, len(expected)):
        expected[bar] = (expected[bar] + hash_of(*event)) % 2**64
    assert hashes(song) == expected


def slow_longest_repeat(items, least):
    """For each period, try every passage."""
    n = len(items)
    for period in range(1, n // 2 + 1):
        for length in range(n, max(least, 2 * period) - 1, -1):
            for first in range(n - length + 1):
                part = items[first : first + length]
                if part[period:] == part[:-period]:
                    return first, period, length // period
    return 0, 0, 1


@given(st.lists(st.integers(1, 3), max_size=14), st.integers(1, 8))
def test_the_search_equals_its_slow_definition(items, least):
    assert longest_repeat(np.array(items, np.uint64), least) == slow_longest_repeat(items, least)


@given(
    st.lists(st.integers(40, 80), min_size=8, max_size=11, unique=True),
    st.integers(2, 6),
    st.integers(1, 3),
    st.lists(st.integers(20, 39), max_size=8, unique=True),
    st.lists(st.integers(81, 99), max_size=8, unique=True),
)
def test_introduction_ending_and_so_many_turns_stay(turn, turns, most, before, after):
    song, loop = cut(tune(*before, *turns * turn, *after), max_turns=most)
    assert pitches(song) == [*before, *min(turns, most) * turn, *after]
    assert (loop.first, loop.bars, loop.turns) == (len(before), len(turn), turns)
    assert loop.bars_cut == max(turns - most, 0) * len(turn)


@given(songs)
def test_what_stays_keeps_its_bars_content_and_order(song):
    shorter, loop = cut(song, max_turns=1, min_turn_bars=1)
    before, after = hashes(song), hashes(shorter)
    first, stop = loop.cut
    assert after == before[:first] + before[stop:]


def test_a_short_loop_counts_as_one_of_eight_bars():
    song, loop = cut(tune(*10 * [60, 62, 64]))
    assert len(song.notes) == 2 * 9 + 30 % 9
    assert (loop.bars, loop.turns, loop.bars_cut) == (3, 10, 9)


def test_zero_keeps_all_turns():
    song = tune(*4 * [*range(60, 68)])
    assert cut(song, max_turns=0)[0] == song


def test_a_passage_that_is_less_than_half_of_the_song_is_no_loop():
    song = tune(*range(20, 50), *3 * [*range(60, 68)])
    assert cut(song)[1].turns == 1


@pytest.mark.parametrize("change", ["note", "meter", "tempo", "control"])
def test_turns_that_differ_in_anything_but_velocity_are_no_repetition(change):
    turn = [60, 62, 64, 65, 67, 69, 71, 72]
    rows = [(BAR * bar, 12, 0, pitch, 66 + 4 * (bar > 7)) for bar, pitch in enumerate(2 * turn)]
    assert cut(make_song(rows))[1].turns == 2
    tracks = {}
    if change == "note":
        rows[12] = (12 * BAR, 6, 0, 67, 66)
    elif change == "meter":
        tracks["meters"] = [(0, 4, 4), (12 * BAR, 2, 2)]
    elif change == "tempo":
        tracks["tempos"] = [(0, 500_000), (12 * BAR, 400_000)]
    else:
        tracks["controls"] = [(12 * BAR, 0, 1, 64)]
    assert cut(make_song(rows, **tracks))[1].turns == 1


def test_a_song_of_millions_of_bars_is_not_searched():
    song = make_song([(0, 12, 0, 60, 66), (10_000_000 * BAR, 12, 0, 62, 66)])
    assert cut(song) == (song, Loop())
