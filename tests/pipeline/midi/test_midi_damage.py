"""Damaged files: what is broken, which notes come back, and under which name it is counted.

Every file is built from the same tune: C, D, E on channel 1, a beat each, one after the other.
"""

import gzip
import io
import random
import zipfile

import pytest

from pipeline.midi import UnreadableMidi, read_midi
from tests.pipeline.midi.midi_bytes import (
    END,
    after,
    chunk,
    header,
    key,
    meta,
    meter,
    midi,
    name,
    note,
    off,
    on,
    program,
    sysex,
    tempo,
    track,
)

C, D, E = note(60), note(62), note(64)
TUNE = C + D + E
WHOLE = midi(track(TUNE))
ALL = [(0, 480, 60), (480, 960, 62), (960, 1440, 64)]
TWICE = [note for pair in zip(ALL, ALL, strict=True) for note in pair]
CHATTER = b"".join(b"\0\xff\1\x08" + random.Random(n).randbytes(8) for n in range(9000))
RIFF = b"RIFF" + (len(WHOLE) + 12).to_bytes(4, "little") + b"RMIDdata"


def swallowed(events: bytes, more: int) -> bytes:
    """A SysEx that states `more` bytes than it has, and so swallows what follows."""
    return sysex("7e7f09", length=3 + more) + events


DAMAGED = {
    # what is wrong: (the file, the notes that must come back, the repair that is counted)
    "RIFF wrapper": (RIFF + len(WHOLE).to_bytes(4, "little") + WHOLE, ALL, "riff_wrapper"),
    "gzip archive": (gzip.compress(WHOLE), ALL, "gzip_wrapper"),
    "gzip archive cut short": (
        gzip.compress(midi(track(TUNE, CHATTER)))[:-40],
        ALL,
        "gzip_wrapper",
    ),
    "gzip archive with a damaged block": (
        gzip.compress(midi(track(TUNE, CHATTER)))[:-40] + b"\xff" * 40,
        ALL,
        "gzip_wrapper",
    ),
    "MacBinary prefix": (bytes(128) + WHOLE, ALL, "macbinary_prefix"),
    "text before the header": (b"Subject: a tune\r\n\r\n" + WHOLE, ALL, "leading_junk"),
    "a byte before the header": (b"\n" + WHOLE, ALL, "leading_junk"),
    "no header": (track(TUNE), ALL, "missing_header"),
    "header of length 8": (
        chunk(b"MThd", b"\0\1\0\1\1\xe0\0\0") + track(TUNE),
        ALL,
        "header_length",
    ),
    "header of length 0": (
        chunk(b"MThd", b"\0\1\0\1\1\xe0", length=0) + track(TUNE),
        ALL,
        "header_length",
    ),
    "format 29697": (midi(track(TUNE), format=29697), ALL, "unknown_format"),
    "no ticks in a beat": (midi(track(TUNE), division=0), ALL, "zero_division"),
    "no ticks in a film frame": (midi(track(TUNE), division=0xE700), ALL, "zero_division"),
    "too few tracks stated": (header(1, 1) + track(TUNE) * 2, TWICE, "track_count"),
    "too many tracks stated": (header(1, 9) + track(TUNE), ALL, "track_count"),
    "format 0 with two tracks": (midi(track(TUNE), track(TUNE), format=0), TWICE, None),
    "alien chunk": (header() + chunk(b"XFIH", b"abcd") + track(TUNE), ALL, "alien_chunk"),
    "damaged chunk name": (midi(b"MXrk" + track(TUNE)[4:]), ALL, "track_id"),
    "junk between tracks": (
        midi(track(), b"\0\0\0\0\0", track(TUNE)),
        ALL,
        "junk_between_chunks",
    ),
    "junk at the end": (WHOLE + b"\x1a" * 50, ALL, "junk_between_chunks"),
    "tracks of an older file behind junk": (
        midi(track(TUNE)) + bytes(99) + track(note(72)),
        ALL,
        "junk_between_chunks",
    ),
    "a second file behind the first": (WHOLE + WHOLE, ALL, "junk_between_chunks"),
    "length too large, end of track said": (
        midi(track(TUNE, length=9999)),
        ALL,
        "track_length",
    ),
    "length reaches into the next track": (
        midi(track(C, length=30), track(TUNE)),
        [ALL[0], *ALL],
        "track_length",
    ),
    "length too small": (midi(track(TUNE, length=9), track(TUNE)), TWICE, "track_length"),
    "length 0": (midi(track(TUNE, length=0)), ALL, "track_length"),
    "cut between two events": (midi(track(TUNE))[: -len(END)], ALL, "truncated_track"),
    "cut inside an event": (midi(track(TUNE, on(65)))[: -len(END) - 1], ALL, "truncated_track"),
    "cut inside a text": (
        midi(track(TUNE, meta(1, b"Copyright")))[:-10],
        ALL,
        "truncated_track",
    ),
    "last byte missing": (WHOLE[:-1], ALL, "track_length"),
    "no end of track": (midi(track(TUNE, end=b""), track()), ALL, "missing_end_of_track"),
    "delta behind the last event": (
        midi(track(TUNE, end=b"\x83\x60"), track()),
        ALL,
        "missing_end_of_track",
    ),
    "music after the end of the track": (midi(track(C, END, D, E)), ALL, "early_end_of_track"),
    "junk after the end of the track": (
        midi(track(TUNE, END, b"\xf7\xf7\xf4\0\0\xff")),
        ALL,
        "data_after_end_of_track",
    ),
    "velocity over 127": (midi(track(C, on(62, 200), after(480, off(62)), E)), ALL, "data_byte"),
    "program over 127": (midi(track(program(255), TUNE)), ALL, "data_byte"),
    "seven flats too many": (midi(track(key(-14), TUNE)), ALL, "bad_key_signature"),
    "mode 25": (midi(track(key(2, 25), TUNE)), ALL, "bad_key_signature"),
    "tempo 0": (midi(track(tempo(0), TUNE)), ALL, "bad_tempo"),
    "tempo of one byte": (midi(track(meta(0x51, b"\7"), TUNE)), ALL, "bad_tempo"),
    "meter 0/4": (midi(track(meter(0, 2), TUNE)), ALL, "bad_meter"),
    "meter 4/2^255": (midi(track(meter(4, 255), TUNE)), ALL, "bad_meter"),
    "meter of no bytes": (midi(track(meta(0x58), TUNE)), ALL, "bad_meter"),
    "frame offset of 200 subframes": (
        midi(track(meta(0x54, b"\x20\0\0\0\xc8"), TUNE)),
        ALL,
        None,
    ),
    "name in no known encoding": (midi(track(meta(3, b"\xff\xfe\x83\x68"), TUNE)), ALL, None),
    "SysEx without F7": (midi(track(sysex("7e7f0901"), TUNE)), ALL, None),
    "SysEx that swallows the rest": (
        midi(track(swallowed(TUNE, more=9999))),
        ALL,
        "sysex_length",
    ),
    "SysEx that swallows a note": (midi(track(swallowed(TUNE, more=8))), ALL, "sysex_length"),
    "SysEx that ends early": (
        midi(track(sysex("7e7f0901f7", length=9999), TUNE)),
        ALL,
        "sysex_length",
    ),
    "first event without a status": (
        midi(track(b"\0\x3c\x40", TUNE)),
        ALL,
        "status_missing",
    ),
    "running status across a meta event": (
        midi(track(C, on(62), meta(1, b"la"), b"\x83\x60\x3e\0", E)),
        ALL,
        "running_status_after_meta",
    ),
    "running status across a SysEx": (
        midi(track(C, on(62), sysex("7e7f0901f7"), b"\x83\x60\x3e\0", E)),
        ALL,
        "running_status_after_meta",
    ),
    "undefined status F4": (midi(track(C, b"\0\xf4", D, E)), ALL, "undefined_status"),
    "undefined status FD": (midi(track(b"\0\xfd", TUNE)), ALL, "undefined_status"),
    "timing clock": (midi(track(C, b"\0\xf8", D, E)), ALL, "system_message"),
    "song position": (midi(track(C, b"\0\xf2\1\2", D, E)), ALL, "system_message"),
    "meta event 200": (midi(track(C, meta(200, b"?"), D, E)), ALL, "undefined_status"),
    "delta of six bytes": (
        midi(track(C, b"\x80\x80\x80\x80\x80\0" + D[1:], E)),
        ALL,
        "long_number",
    ),
    "line feeds became CR LF": (
        midi(track(name("a\nb\nc\n"), TUNE)).replace(b"\n", b"\r\n"),
        ALL,
        "carriage_returns",
    ),
    "noise behind the second note": (
        midi(track(C, D, b"\0\xf4\0\x90\xff\xfe\0\xf9\xfd" * 3, E), track(TUNE)),
        sorted([*ALL[:2], *ALL]),
        "lost_sync",
    ),
    "one track of noise": (
        midi(track(b"\x90\xf1\xf2\xf3\xff\xff\xff\xff" * 9), track(TUNE)),
        ALL,
        None,
    ),
    "time runs out": (
        midi(track(C, D, (b"\xff\xff\xff\x7f" + on(64)[1:]) * 9), track(TUNE)),
        None,
        "time_out_of_bounds",
    ),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_gives_back_its_notes(damage):
    data, expected, repair = DAMAGED[damage]
    recording = read_midi(data)
    notes = recording.notes[["start", "end", "pitch"]].tolist()
    if expected is not None:
        assert notes == expected
    else:
        assert set(ALL) <= set(notes)
    if repair is not None:
        assert repair in recording.repairs


def test_the_fixtures_are_forty_or_more():
    assert len(DAMAGED) >= 40


def test_a_repair_lowers_the_tier_to_its_own():
    tiers = {damage: read_midi(data).tier for damage, (data, _, _) in DAMAGED.items()}
    assert read_midi(WHOLE).tier == "strict"
    assert tiers["alien chunk"] == "strict"
    assert tiers["tempo 0"] == "tolerant"
    assert tiers["cut inside an event"] == "salvage"


NO_MIDI = {
    "no bytes": (b"", "empty"),
    "an HTML page": (b"<html><body>404 Not Found</body></html>", "not_midi"),
    "a damaged gzip archive": (b"\x1f\x8b\x08\0" + bytes(90), "not_midi"),
    "a gzip archive of text": (gzip.compress(b"404 Not Found"), "not_midi"),
    "a gzip archive in another": (gzip.compress(gzip.compress(WHOLE)), "not_midi"),
    "a gzip archive of far too much": (gzip.compress(bytes(2**25)), "too_large"),
    "four bytes": (b"MThd", "not_midi"),
    "a header alone": (header(), "no_tracks"),
    "a header before junk": (header() + b"?" * 99, "no_tracks"),
}


@pytest.mark.parametrize("kind", NO_MIDI)
def test_what_holds_no_track_is_unreadable_under_its_code(kind):
    data, code = NO_MIDI[kind]
    with pytest.raises(UnreadableMidi) as caught:
        read_midi(data)
    assert caught.value.code == code
    assert 0 <= caught.value.offset <= len(data)


def test_a_file_over_the_limit_is_refused_before_it_is_read():
    with pytest.raises(UnreadableMidi, match="at most 10 are read"):
        read_midi(WHOLE, max_bytes=10)


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_zip_archive_of_one_file_is_unpacked():
    data = midi(track(note(60)))
    recording = read_midi(zipped(song=data))
    assert (recording.notes == read_midi(data).notes).all()
    assert recording.repairs == {"zip_wrapper": 1}


def test_of_a_zip_archive_the_only_file_named_as_a_song_is_read():
    data = midi(track(note(60)))
    files = {"a song.MID": data, "__MACOSX/._a song.MID": b"\0\5\x16\7", "readme.txt": b"hello"}
    assert (read_midi(zipped(**files)).notes == read_midi(data).notes).all()
    with pytest.raises(UnreadableMidi, match=r"^a zip archive of 2 files: name it \.zip"):
        read_midi(zipped(**files, **{"b.kar": data}))


def test_all_members_of_a_gzip_archive_are_unpacked():
    data = midi(track(*[note(pitch % 128) for pitch in range(20_000)]))
    blocks = [gzip.compress(data[at : at + 999]) for at in range(0, len(data), 999)]
    for end in (b"", b"\0" * 512):
        recording = read_midi(b"".join(blocks) + end)
        assert (recording.notes == read_midi(data).notes).all()
        assert recording.repairs == {"gzip_wrapper": 1}
    with pytest.raises(UnreadableMidi, match="unpacks to more than the 99,999 bytes"):
        read_midi(b"".join(blocks), max_bytes=99_999)


def test_a_page_that_speaks_of_headers_hides_none():
    data = midi(track(tempo(400_000), note(60)), division=96)
    recording = read_midi(b"<html>It begins with MThd, then MTrk.</html>" + data)
    assert (recording.ticks_per_beat, recording.repairs) == (96, {"leading_junk": 1})
    assert len(recording.notes) == 1


def test_a_zip_archive_of_several_files_a_bomb_and_a_damaged_one_are_unreadable():
    data = midi(track(note(60)))
    bomb, cut = zipped(song=bytes(2**20)), zipped(song=data)[:-30]
    for archive, code in ((zipped(a=data, b=data), "not_midi"), (cut, "not_midi")):
        with pytest.raises(UnreadableMidi) as caught:
            read_midi(archive)
        assert caught.value.code == code
    with pytest.raises(UnreadableMidi, match="unpacks to more than the 9,999 bytes"):
        read_midi(bomb, max_bytes=9_999)
