"""Changing the tokens equals changing the song."""

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shards.codec import Codec, EncodedSong
from shards.vocabulary import PROGRAMS, CodecSettings, Kind, Vocabulary
from tests.shards.songs import canonical_songs
from trainer.data.augment import change_tempo, drop_parts, transpose
from trainer.data.sections import hidden_classes, parts_of

CODEC = Codec(Vocabulary(CodecSettings(controls="bend,mod")))
songs = canonical_songs(CODEC.vocabulary)


@given(songs, st.integers(-12, 12))
def test_transposing_the_tokens_transposes_the_notes_but_not_the_drums(song, semitones):
    changed = CODEC.decode(transpose(CODEC.encode(song), CODEC.vocabulary, semitones))
    melodic = song.notes["instrument"] < PROGRAMS
    moved = song.notes["pitch"].astype(int) + semitones * melodic
    before, after = song.notes["pitch"][melodic], moved[melodic]
    leaves = (after < np.minimum(before.min(initial=21), 21)).any()
    if leaves or (after > np.maximum(before.max(initial=108), 108)).any():
        assert changed == song
    else:
        notes = song.notes.copy()
        notes["pitch"] = moved
        assert changed == dataclasses.replace(song, notes=notes)


@given(songs, st.integers(-5, 5))
def test_changing_the_tempo_tokens_changes_all_tempos_by_one_ratio(song, bins):
    changed = CODEC.decode(change_tempo(CODEC.encode(song), CODEC.vocabulary, bins))
    table = CODEC.vocabulary.tempos.tolist()
    moved = [table.index(tempo) + bins for tempo in song.tempos["microseconds"].tolist()]
    if min(moved) < 0 or max(moved) >= len(table):
        assert changed == song
    else:
        tempos = song.tempos.copy()
        tempos["microseconds"] = [table[each] for each in moved]
        assert changed == dataclasses.replace(song, tempos=tempos)


@given(songs, st.data())
def test_dropping_parts_gives_what_the_other_notes_encode_to(song, data):
    encoded = CODEC.encode(song)
    parts = parts_of(encoded)
    dropped = hidden_classes(parts[[data.draw(st.booleans()) for _ in parts]])
    kept = song.notes[~dropped[song.notes["instrument"]]]
    changed = drop_parts(encoded, CODEC, dropped)
    if not len(kept):
        assert changed == encoded
        return
    controls = song.controls[~dropped[song.controls["instrument"]]]
    expected = dataclasses.replace(song, notes=kept, controls=controls).until_last_onset()
    assert changed == CODEC.encode(expected)


def test_parts_can_be_dropped_from_a_damaged_song_that_ends_in_a_pitch(twin, vocabulary):
    song = twin.songs[0]
    last = int(np.flatnonzero(vocabulary.kind(song.tokens) == Kind.PITCH)[-1])
    cut = EncodedSong(*(array[: last + 1] for array in vars(song).values()))
    assert len(drop_parts(cut, twin.codec, np.zeros(256, bool)))
