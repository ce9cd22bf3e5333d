"""Ticks to steps: nothing moves by more than half a step, nothing is dropped uncounted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.quantize import Snap, quantize, same_bar_length
from pipeline.midi import read_midi
from shards.codec import Codec
from shards.vocabulary import CodecSettings, Vocabulary
from tests.pipeline.midi.midi_bytes import number

VOCABULARY = Vocabulary(CodecSettings(steps_per_beat=12, percussion="gm"))


def midi(events, ticks_per_beat=480) -> bytes:
    """A one-track file from (tick, bytes) events."""
    body, now = b"", 0
    for tick, event in sorted(events, key=lambda timed: timed[0]):
        body += number(tick - now) + event
        now = tick
    body += b"\x00\xff\x2f\x00"
    header = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01" + ticks_per_beat.to_bytes(2, "big")
    return header + b"MTrk" + len(body).to_bytes(4, "big") + body


def note(start, end, pitch, channel=0, velocity=66):
    on, off = bytes([0x90 | channel, pitch, velocity]), bytes([0x80 | channel, pitch, 0])
    return [(start, on), (end, off)]


def song_of(events, vocabulary=VOCABULARY, **kwargs):
    return quantize(read_midi(midi(events, **kwargs)), vocabulary)


@given(st.lists(st.integers(0, 2**31), min_size=1), st.integers(1, 2**15), st.integers(4, 96))
def test_a_time_moves_by_at_most_half_a_step(ticks, ticks_per_beat, steps_per_beat):
    ticks = np.array(ticks)
    steps = Snap(ticks_per_beat, steps_per_beat)(ticks)
    assert (2 * abs(steps * ticks_per_beat - ticks * steps_per_beat) <= ticks_per_beat).all()


def test_moving_a_song_by_one_step_keeps_its_rhythm():
    snap = Snap(480, 12)
    ticks = np.arange(0, 4800, 20)  # every other time is exactly halfway
    assert (snap(ticks + 40) == snap(ticks) + 1).all()


def test_notes_on_the_grid_stay_and_the_rest_go_to_the_nearest_step():
    quantized = song_of([*note(0, 480, 60), *note(495, 950, 62)])
    assert quantized.song.notes.tolist() == [(0, 12, 0, 60, 66), (12, 12, 0, 62, 66)]


def test_what_is_dropped_or_changed_is_counted_by_its_rule():
    events = [
        *note(0, 480, 35, channel=9),
        *note(0, 480, 34, channel=9),  # no class in the gm map
        *note(0, 240, 60),
        *note(5, 480, 60),  # the same step and pitch, longer
        *note(480, 480 * 40, 62),  # longer than eight bars, as is the next, a drum
        *note(960, 480 * 40, 37, channel=9),
        *note(480, 499, 64),  # shorter than half a step, as is the next, a drum
        *note(480, 481, 36, channel=9),
        (0, bytes([0xFF, 0x58, 4, 149, 2, 24, 8])),  # 149/4: no token
    ]
    quantized = song_of(events)
    assert quantized.counts == {
        "notes_outside_map": 1,
        "notes_merged": 1,
        "durations_shortened": 1,
        "durations_lengthened": 1,
        "meters_dropped": 1,
    }
    assert len(quantized.song.notes) == 6
    assert quantized.song.notes["duration"].tolist() == [12, 3, 1, 384, 3, 3]


def test_of_doubled_notes_the_longest_stays_with_the_velocity_of_the_loudest():
    events = [*note(0, 480, 60, velocity=40), *note(5, 240, 60, velocity=100)]
    assert song_of(events).song.notes.tolist() == [(0, 12, 0, 60, 102)]


@pytest.mark.parametrize(
    ("played", "stored"), [(48, 48), (49, 48), (50, 51), (139, 138), (141, 144), (384, 384)]
)
def test_a_duration_without_a_token_takes_the_nearest_by_ratio(played, stored):
    assert song_of(note(0, 40 * played, 60)).song.notes["duration"].tolist() == [stored]


@given(st.lists(st.integers(1, 9000), min_size=1))
def test_every_drum_lasts_as_long_whatever_was_played(lengths):
    events = [
        timed
        for n, length in enumerate(lengths)
        for timed in note(480 * n, 480 * n + length, 36, 9)
    ]
    assert {*song_of(events).song.notes["duration"].tolist()} == {VOCABULARY.drum_duration}


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 30_000), st.integers(27, 90))),
    st.sampled_from([0, 9]),
)
def test_a_quantized_song_can_be_decoded_from_its_tokens(rows, channel):
    events = [
        timed for start, length, key in rows for timed in note(start, start + length, key, channel)
    ]
    song = song_of(events).song
    codec = Codec(VOCABULARY)
    assert not len(song.notes) or codec.decode(codec.encode(song)) == song


@pytest.mark.parametrize(
    ("meter", "spelled"),
    [((4, 4), (4, 4)), ((4, 1), (8, 2)), ((6, 32), (3, 16)), ((3, 32), None), ((149, 4), None)],
)
def test_a_meter_without_a_token_is_spelled_with_equal_bars(meter, spelled):
    assert same_bar_length(meter, VOCABULARY) == spelled


def test_changes_after_the_last_onset_are_left_out():
    tempo = bytes([0xFF, 0x51, 3, 0x0F, 0x42, 0x40])
    waltz = bytes([0xFF, 0x58, 4, 3, 2, 24, 8])
    quantized = song_of([*note(0, 480, 60), (400, tempo), (400, waltz)])
    assert quantized.song.tempos.tolist() == [(0, 500_000)]
    assert quantized.song.meters.tolist() == [(0, 4, 4)]


def test_without_meters_and_tempos_every_song_is_in_common_time_at_120():
    vocabulary = Vocabulary(CodecSettings(meters=False, tempos=False))
    waltz = bytes([0xFF, 0x58, 4, 3, 2, 24, 8])
    slow = bytes([0xFF, 0x51, 3, 0x0F, 0x42, 0x40])
    quantized = song_of([*note(0, 480, 60), (0, waltz), (0, slow)], vocabulary)
    assert quantized.song.meters.tolist() == [(0, 4, 4)]
    assert quantized.song.tempos.tolist() == [(0, 500_000)]
    assert Codec(vocabulary).encode(quantized.song).tokens[0] == vocabulary.sos


def test_a_file_without_notes_gives_a_song_without():
    assert len(song_of([]).song.notes) == 0
    assert len(song_of(note(0, 480, 20, channel=9)).song.notes) == 0
