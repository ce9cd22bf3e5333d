import functools
import hashlib
import io
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import mido
import pytest

from pipeline.demo import DemoSettings, compose_corpus, corpus
from pipeline.demo.backing import KEYS, drum_part
from pipeline.demo.composer import BALANCE, Plan, plan_song
from pipeline.demo.faults import GAP_SECONDS, LEADING_SECONDS, Song, delayed
from pipeline.demo.genres import BASS, CHORDS, GENRES, GROOVES
from pipeline.demo.harmony import MODES, chord, harmonize, voicing
from pipeline.demo.melody import compose_melody
from pipeline.demo.randomness import random_generator
from pipeline.demo.rhythm import METERS, strokes, swung
from pipeline.demo.score import variable_length
from shards.errors import LakhxlError, SettingError

SMALL = DemoSettings(songs=9, seed=3)
RAISED_BY_MIDO = {
    **dict.fromkeys(["truncated_in_header", "truncated_before_notes"], EOFError),
    **dict.fromkeys(["truncated_format_0", "truncated_format_1"], EOFError),
    **dict.fromkeys(["truncated_between_tracks", "wrong_track_count", "empty"], EOFError),
    **dict.fromkeys(["html_page", "random_bytes", "rmid", "data_bytes_over_127"], OSError),
    "bad_key_signature": mido.KeySignatureError,
    **dict.fromkeys(["ten_hour_gap", "leading_silence", "too_few_notes"]),
    **dict.fromkeys(["missing_end_of_track", "kar_extension", "upper_case_extension"]),
    **dict.fromkeys(["spaces_in_name", "unicode_name", "exact_duplicate", "near_transposed"]),
    **dict.fromkeys(["near_faster", "near_retitled", "near_reordered", "near_resolution"]),
}
"""What mido raises for each kind of planted file; None where it reads it."""

MANY = [Song(0, number) for number in range(120)]
SONGS = MANY[:24]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return compose_corpus(tmp_path_factory.mktemp("demo") / "small", SMALL)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@functools.cache
def notes_by_channel(data):
    """Per channel, (start, end, pitch) in ticks; a note that never ends or starts is an error."""
    found, sounding = {}, {}
    for track in mido.MidiFile(file=io.BytesIO(data)).tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type not in ("note_on", "note_off"):
                continue
            key = message.channel, message.note
            if message.type == "note_on" and message.velocity:
                assert key not in sounding
                sounding[key] = now
            else:
                found.setdefault(message.channel, []).append((sounding.pop(key), now, key[1]))
    assert not sounding
    return {channel: sorted(notes) for channel, notes in found.items()}


def test_the_same_settings_give_the_same_bytes(small, tmp_path):
    again = compose_corpus(tmp_path / "again", SMALL)
    assert contents(again.folder) == contents(small.folder)


def test_a_song_has_these_bytes_on_every_machine():
    # Another digest changes every number measured on the demo.
    data = b"".join(song.data for song in SONGS)
    assert hashlib.sha256(data).hexdigest()[:16] == "f137487e0054d4c2"


def test_a_longer_corpus_begins_with_the_shorter_one(small, tmp_path):
    longer = contents(compose_corpus(tmp_path / "longer", replace(SMALL, songs=12)).folder)
    planted = {entry.path for entry in small.planted}
    songs = {path: data for path, data in contents(small.folder).items() if path not in planted}
    assert len(songs) == 9
    assert songs.items() <= longer.items()


def test_another_seed_gives_other_songs(small):
    ours = {Song(3, number).path for number in range(9)}
    assert {Song(4, number).data for number in range(9)}.isdisjoint(
        {(small.folder / path).read_bytes() for path in ours}
    )


def test_the_summary_counts_what_is_in_the_folder(small):
    files = contents(small.folder)
    assert small.songs + len(small.planted) == len(files)
    assert {entry.path for entry in small.planted} < files.keys()
    assert small.minutes == pytest.approx(sum(Song(3, n).piece.seconds for n in range(9)) / 60)
    assert not list(small.folder.parent.glob("*.partial"))


def test_every_fault_is_planted_and_mido_raises_where_it_should(small):
    planted = [entry for entry in small.planted if entry.kind != "readme"]
    assert {entry.kind for entry in planted} == RAISED_BY_MIDO.keys()
    assert len(planted) == 28
    for entry in planted:
        data = (small.folder / entry.path).read_bytes()
        expected = RAISED_BY_MIDO[entry.kind]
        if expected is None:
            assert notes_by_channel(data), entry
        else:
            with pytest.raises(expected):
                mido.MidiFile(file=io.BytesIO(data))


def test_faults_that_mido_does_not_name_are_in_the_bytes(small):
    data = {entry.kind: (small.folder / entry.path).read_bytes() for entry in small.planted}
    assert len(data["truncated_in_header"]) == 10
    assert b"MTrk" in data["truncated_before_notes"]
    assert data["empty"] == b""
    assert data["html_page"].startswith(b"<!DOCTYPE html>")
    assert data["wrong_track_count"][10:12] == b"\x00\x63"
    assert data["rmid"].index(b"MThd") == 20
    assert not data["missing_end_of_track"].endswith(b"\xff\x2f\x00")
    assert len(notes_by_channel(data["too_few_notes"])[0]) == 12


def test_mido_reads_every_note_of_every_part():
    for song in SONGS:
        parts = song.piece.parts
        channels = dict(notes_by_channel(song.data))
        assert 3 <= len(parts) <= 8
        drums = len(parts["drums"].notes) if "drums" in parts else 0
        others = [len(part.notes) for role, part in parts.items() if role != "drums"]
        assert len(channels.pop(9, [])) == drums
        assert [len(channels[channel]) for channel in sorted(channels)] == others
        assert min(others) > 0


def test_notes_start_on_the_grid_and_end_with_the_last_bar():
    exact = [song for song in SONGS if song.layout.jitter == 0]
    assert len(exact) > 5
    for song in exact:
        end = max(note.start + note.length for note in song.piece.parts["bass"].notes)
        last_meter_start, meter = song.piece.meters[-1]
        assert (end - last_meter_start) % meter.bar == 0
        resolution = song.layout.ticks_per_beat
        for notes in notes_by_channel(song.data).values():
            assert all(start * 12 % resolution == 0 for start, _, _ in notes)
            assert all(stop * 24 <= end * resolution for _, stop, _ in notes)


def test_notes_with_jitter_stay_within_half_a_step_of_the_grid():
    shifted = [song for song in SONGS if song.layout.jitter]
    assert len(shifted) > 3
    for song in shifted:
        step = song.layout.ticks_per_beat / 12
        for notes in notes_by_channel(song.data).values():
            off = [abs(start - step * round(start / step)) for start, _, _ in notes]
            assert max(off) < step / 2
            assert max(off) > 0


def test_meters_change_on_bar_lines_only():
    changing = [song.piece for song in MANY if len(song.piece.meters) > 1]
    assert changing
    for piece in changing:
        for (start, meter), (after, other) in pairwise(piece.meters):
            assert (after - start) % meter.bar == 0
            assert other != meter


def test_a_hundred_songs_hold_every_meter_and_many_tempos_keys_and_layouts():
    songs = MANY[:100]
    pieces = [song.piece for song in songs]
    meters = {(m.numerator, m.denominator) for piece in pieces for _, m in piece.meters}
    assert meters == {(m.numerator, m.denominator) for m in METERS.values()}
    tempos = {bpm for piece in pieces for _, bpm in piece.tempos[:1]}
    assert min(tempos) < 75
    assert max(tempos) > 160
    assert any(len(piece.tempos) > 1 for piece in pieces)
    assert len({piece.key for piece in pieces}) > 15
    assert {song.layout.file_format for song in songs} == {0, 1}
    assert {song.layout.ticks_per_beat for song in songs} == {96, 120, 192, 384, 480, 960}
    assert all(60 <= piece.seconds <= 240 for piece in pieces)


def test_every_genre_finds_a_form_at_every_seed():
    plans = [plan_song(random_generator(7, number)) for number in range(1500)]
    assert all(isinstance(plan, Plan) for plan in plans)
    assert {plan.genre.folder for plan in plans} == {genre.folder for genre in GENRES}


def test_the_chorus_comes_back_note_for_note():
    for song in SONGS:
        notes = song.piece.parts["melody"].notes
        tune = [(a.pitch - b.pitch, a.start - b.start) for a, b in pairwise(notes)]
        phrases = Counter(tuple(tune[i : i + 12]) for i in range(len(tune) - 12))
        assert phrases.most_common(1)[0][1] >= 3


@pytest.mark.parametrize("name", MODES)
def test_a_melody_meets_the_chord_on_strong_beats(name):
    mode = MODES[name]
    for numerals in (one for several in mode.progressions.values() for one in several):
        harmony = harmonize(numerals, mode, 2, METERS["4/4"], 8)
        for note in compose_melody(harmony, 72, "lively", random_generator(1)):
            chord_now = harmony.chord_at(note.start)
            if note.start % 96 in (0, 48):
                assert note.pitch % 12 in chord_now.classes
            assert note.pitch in harmony.chord_scale_at(note.start)


def test_numerals_name_the_chords_of_music_theory():
    assert chord("V7", 0).classes == (7, 11, 2, 5)  # G B D F
    assert chord("bVI", 9).classes == (5, 9, 0)  # F major in A minor
    assert chord("iio7", 9).classes == (11, 2, 5, 9)  # B D F A
    assert voicing(chord("I", 0), 60) == (55, 60, 64)
    with pytest.raises(ValueError, match="not a chord numeral"):
        chord("X", 0)


def test_the_chord_scale_alters_the_scale_where_the_chord_does():
    def chord_scale(numeral, mode, tonic):
        harmony = harmonize(numeral, MODES[mode], tonic, METERS["4/4"], 1)
        return {pitch % 12 for pitch in harmony.chord_scale_at(0)}

    assert chord_scale("V7", "aeolian", 9) == {9, 11, 0, 2, 4, 5, 8}  # G sharp for G, and A stays
    assert chord_scale("bVI", "ionian", 0) == {0, 2, 3, 5, 7, 8, 11}  # E flat and A flat


@pytest.mark.parametrize("meter", METERS)
def test_every_rhythm_has_strokes_in_every_meter_and_ends_within_the_bar(meter):
    rhythms = [*BASS.values(), *CHORDS.values()]
    rhythms += [
        line.partition(" ")[2] for groove in GROOVES.values() for line in groove.split(" | ")
    ]
    for rhythm in rhythms:
        assert {*map(len, rhythm.split())} == {4}
        ends = [start + length for start, length, _ in strokes(rhythm, METERS[meter])]
        assert max(ends, default=0) <= METERS[meter].bar
        assert ends or ".... ...." in rhythm


def test_every_groove_names_drums_and_ends_in_a_fill():
    for groove in GROOVES.values():
        notes = drum_part(METERS["4/4"], groove, 4, random_generator(0))
        assert {note.pitch for note in notes} <= {*KEYS.values()}
        assert max(note.start for note in notes) >= 4 * 96 - 24


def test_a_genre_has_sounds_for_every_role_and_names_what_the_tables_have():
    for genre in GENRES:
        assert {*genre.programs} <= {*BALANCE}
        assert all(genre.programs[role] for role in {*genre.programs} - {"drums"})
        assert {*genre.bass.split()} <= {*BASS}
        assert {*genre.chords.split()} <= {*CHORDS}
        assert {*genre.grooves.split()} <= {*GROOVES}
        assert {*genre.modes.split()} <= {*MODES}
        assert {*genre.meters.split()} <= {*METERS}


def test_strokes_hold_until_the_next_mark():
    two = METERS["2/4"]
    assert list(strokes("x-.x", two)) == [(0, 12, "x"), (18, 6, "x"), (24, 12, "x"), (42, 6, "x")]
    assert list(strokes("--5- ----", two)) == [(12, 36, "5")]


def test_in_a_compound_beat_the_first_two_sixteenths_of_a_cell_are_twice_as_long():
    assert list(strokes("x-xx ..x-", METERS["6/8"])) == [
        (0, 24, "x"),
        (24, 6, "x"),
        (30, 6, "x"),
        (60, 12, "x"),
    ]


def test_swing_moves_off_beats_and_never_crosses_notes():
    assert [swung(pulse) for pulse in (0, 6, 12, 18, 24)] == [0, 8, 16, 20, 24]
    assert all(swung(pulse) <= swung(pulse + 1) for pulse in range(96))


def test_variable_length_numbers_are_those_of_the_standard():
    cases = {0: "00", 0x7F: "7f", 0x80: "8100", 0x2000: "c000", 0x0FFFFFFF: "ffffff7f"}
    assert {number: variable_length(number).hex() for number in cases} == cases


@pytest.mark.parametrize(("share", "seconds"), [(0.5, GAP_SECONDS), (0.0, LEADING_SECONDS)])
def test_a_silence_is_whole_bars_and_changes_nothing_else(share, seconds):
    # With jitter no note can be early at tick 0, so use exact songs; one meter, one bar length.
    plain = [s for s in SONGS if s.layout.jitter == 0 and len(s.piece.meters) == 1]
    for song in plain[:6]:
        before, after = notes_by_channel(song.data), notes_by_channel(delayed(song, share, seconds))
        moves = Counter(
            (late[0] - early[0], late[1] - early[1], late[2] - early[2])
            for channel, notes in before.items()
            for early, late in zip(notes, after[channel], strict=True)
        )
        gap = max(moves)[0]
        assert moves.keys() <= {(0, 0, 0), (gap, gap, 0)}
        assert moves[gap, gap, 0] / moves.total() == pytest.approx(1 - share, abs=0.2)
        beat = song.layout.ticks_per_beat
        assert gap * 24 % (song.piece.meters[0][1].bar * beat) == 0
        longer = (
            mido.MidiFile(file=io.BytesIO(delayed(song, share, seconds))).length
            - song.piece.seconds
        )
        assert seconds - 1 < longer < seconds + 10


def test_duplicates_hold_the_music_of_their_original(small):
    files = contents(small.folder)

    def music(path, rise=0):
        """Steps and pitches of every part, in an order that does not depend on channels."""
        resolution = mido.MidiFile(file=io.BytesIO(files[path])).ticks_per_beat
        return sorted(
            sorted(
                (round(start * 12 / resolution), pitch + rise * (channel != 9))
                for start, _, pitch in notes
            )
            for channel, notes in notes_by_channel(files[path]).items()
        )

    duplicates = [entry for entry in small.planted if entry.duplicate_of]
    assert len(duplicates) == 7
    for entry in duplicates:
        same_bytes = files[entry.path] == files[entry.duplicate_of]
        assert same_bytes == (entry.kind == "exact_duplicate")
        rise = 3 if entry.kind == "near_transposed" else 0
        assert music(entry.path) == music(entry.duplicate_of, rise), entry.kind


def test_a_folder_with_files_is_refused_and_unchanged(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(LakhxlError, match="is not empty; the demo corpus needs"):
        compose_corpus(tmp_path, SMALL)
    with pytest.raises(LakhxlError, match="is a file"):
        compose_corpus(tmp_path / "thesis.tex", SMALL)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


@pytest.fixture
def _no_faults(monkeypatch):
    """Plant nothing, which takes most of the time of a corpus of one song."""
    monkeypatch.setattr(corpus, "plant", lambda seed, songs: ())


@pytest.mark.usefixtures("_no_faults")
def test_an_empty_folder_is_filled(tmp_path):
    target = tmp_path / "empty"
    target.mkdir()
    assert compose_corpus(target, replace(SMALL, songs=1)).folder == target
    assert (target / "README.txt").is_file()


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "plant", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compose_corpus(tmp_path / "demo", replace(SMALL, songs=1))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_is_one_line_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(corpus, "_put", full)
    with pytest.raises(LakhxlError, match=r"^[^\n]*No space left on device[^\n]*$"):
        compose_corpus(tmp_path / "demo", replace(SMALL, songs=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_no_faults")
def test_only_a_leftover_of_our_own_is_replaced(tmp_path):
    partial = tmp_path / "demo.partial"
    partial.mkdir()
    (partial / "journal").write_text("of another program")
    with pytest.raises(LakhxlError, match="in the way"):
        compose_corpus(tmp_path / "demo", replace(SMALL, songs=1))
    assert contents(partial) == {"journal": b"of another program"}
    (partial / "README.txt").write_text(corpus.README)
    compose_corpus(tmp_path / "demo", replace(SMALL, songs=1))
    assert not partial.exists()
    assert not (tmp_path / "demo" / "journal").exists()


def test_a_corpus_without_songs_or_with_a_negative_seed_is_refused():
    with pytest.raises(SettingError, match="songs"):
        DemoSettings(songs=0)
    with pytest.raises(SettingError, match="seed"):
        DemoSettings(seed=-1)
