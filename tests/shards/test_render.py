"""Songs to MIDI files, read back by mido."""

from collections import defaultdict, deque

import pytest
from hypothesis import given

from shards.render import to_midi, write_midi
from shards.vocabulary import PROGRAMS, Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()


def read_back(file):
    """(start, duration, program or drum class, pitch, velocity) in steps, by mido's messages.

    Programs are a channel's, whichever track they stand in, as a synthesizer hears it; a
    note-off ends its track's oldest note of that pitch.
    """
    step = file.ticks_per_beat // 12
    events = []
    for number, track in enumerate(file.tracks):
        now = 0
        for message in track:
            now += message.time
            events.append((now, number, message))
    order = {"note_off": 0, "program_change": 1, "note_on": 2}
    events.sort(key=lambda event: (event[0], order.get(event[2].type, 3)))
    programs, sounding, notes = defaultdict(int), defaultdict(deque), []
    for tick, track, message in events:
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on":
            drum = VOCABULARY.drum_classes[message.note]
            part = drum if message.channel == 9 else programs[message.channel]
            sounding[track, message.note].append((tick, part, message.velocity))
        elif message.type == "note_off":
            start, part, velocity = sounding[track, message.note].popleft()
            notes.append((start // step, (tick - start) // step, int(part), message.note, velocity))
    assert not any(sounding.values())
    return sorted(notes)


def with_real_drums(song):
    """The song with each drum at the key that its class stands for, as songs from files have."""
    drums = song.notes["instrument"] >= PROGRAMS
    song.notes["pitch"][drums] = song.notes["instrument"][drums] - PROGRAMS + VOCABULARY.low_key
    return song


@given(canonical_songs(VOCABULARY).map(with_real_drums))
def test_mido_reads_back_every_note(song):
    assert read_back(to_midi(song, VOCABULARY)) == sorted(song.notes.tolist())


def test_a_note_inside_another_of_its_pitch_keeps_its_own_end():
    song = make_song([(0, 40, 0, 60, 66), (10, 5, 0, 60, 66), (20, 30, 0, 60, 66)])
    assert read_back(to_midi(song, VOCABULARY)) == sorted(song.notes.tolist())


def test_more_programs_than_channels_share_the_last_one():
    song = make_song([(step, 4, step % 40, 60 + step % 12, 66) for step in range(200)])
    file = to_midi(song, VOCABULARY)
    assert read_back(file) == sorted(song.notes.tolist())
    assert {m.channel for track in file.tracks for m in track if not m.is_meta} <= set(range(16))


def test_meters_tempos_and_names_stand_in_the_file(tmp_path):
    import mido

    song = make_song(
        [(0, 12, 40, 72, 66), (36, 12, 128, 35, 66)],
        meters=[(0, 3, 4), (36, 6, 8)],
        tempos=[(0, 500_000), (36, 250_000)],
    )
    write_midi(song, tmp_path / "song.mid", VOCABULARY)
    file = mido.MidiFile(tmp_path / "song.mid")
    assert file.length == pytest.approx(36 / 12 * 0.5 + 12 / 12 * 0.25)
    assert [track.name for track in file.tracks[1:]] == ["Violin", "Drums"]
    meters = [m for m in file.tracks[0] if m.type == "time_signature"]
    assert [(m.numerator, m.denominator, m.time) for m in meters] == [(3, 4, 0), (6, 8, 1440)]
