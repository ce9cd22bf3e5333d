"""Songs to MIDI files, read back by mido."""

import mido
import pytest
from hypothesis import example, given

from shards.render.midi import DRUM_CHANNEL, to_midi, write_midi
from shards.vocabulary import Vocabulary
from tests.shards.read_back import read_back
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()


@given(canonical_songs(VOCABULARY))
def test_mido_reads_back_every_note(song):
    assert read_back(to_midi(song, VOCABULARY), VOCABULARY) == sorted(song.notes.tolist())


@given(canonical_songs(VOCABULARY))
@example(make_song([(0, 40, 40, 60, 66), (10, 5, 40, 60, 66)]))  # two tracks
def test_a_reader_that_keeps_a_program_per_track_hears_every_instrument(song):
    for track in to_midi(song, VOCABULARY).tracks[1:]:
        program = None
        for message in track:
            if message.type == "program_change":
                program = message.program
            elif message.type == "note_on" and message.channel != DRUM_CHANNEL:
                assert VOCABULARY.instrument_names[program] == track.name


def test_a_note_inside_another_of_its_pitch_keeps_its_own_end():
    song = make_song([(0, 40, 0, 60, 66), (10, 5, 0, 60, 66), (20, 30, 0, 60, 66)])
    assert read_back(to_midi(song, VOCABULARY), VOCABULARY) == sorted(song.notes.tolist())


def test_more_programs_than_channels_share_the_last_one():
    song = make_song([(step, 4, step % 40, 60 + step % 12, 66) for step in range(200)])
    file = to_midi(song, VOCABULARY)
    assert read_back(file, VOCABULARY) == sorted(song.notes.tolist())
    assert {m.channel for track in file.tracks for m in track if not m.is_meta} <= set(range(16))


def test_a_file_has_meters_tempos_and_track_names(tmp_path):
    song = make_song(
        [(0, 24, 40, 72, 66), (72, 24, 136, 35, 66)],
        meters=[(0, 3, 4), (72, 6, 8)],
        tempos=[(0, 500_000), (72, 250_000)],
    )
    write_midi(song, tmp_path / "song.mid", VOCABULARY)
    file = mido.MidiFile(tmp_path / "song.mid")
    assert file.length == pytest.approx(72 / 24 * 0.5 + 24 / 24 * 0.25)
    assert [track.name for track in file.tracks[1:]] == ["Violin", "Drums"]
    meters = [m for m in file.tracks[0] if m.type == "time_signature"]
    assert [(m.numerator, m.denominator, m.time) for m in meters] == [(3, 4, 0), (6, 8, 1440)]


def test_a_repeated_note_ends_before_it_sounds_again():
    song = make_song([(0, 12, 0, 60, 66), (12, 12, 0, 60, 66)])
    sounds = [m.type for m in to_midi(song, VOCABULARY).tracks[1] if m.type.startswith("note")]
    assert sounds == ["note_on", "note_off", "note_on", "note_off"]
