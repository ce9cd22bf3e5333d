"""The faulty and duplicate files of the demo corpus: faults of real MIDI files, one row for each.

A faulty file is made of a song of its own, so its outcome does not depend on another file.
Duplicates repeat songs of the corpus; their names contain the song's name.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from pipeline.demo.composer import compose
from pipeline.demo.randomness import random_generator
from pipeline.demo.rhythm import PULSES_PER_QUARTER
from pipeline.demo.score import Layout, Part, Piece, choose_layout, chunk, to_midi

FOLDER = "unsorted"
PERFORMANCE, NOISE = 1, 2
"""Keys of a song's other random generators: for its performance, for random bytes."""
GAP_SECONDS, LEADING_SECONDS = 36_000, 60
FEW_NOTES = 12
IN_TITLE = 14 + 16
"""Bytes of the header and of the first track, up to within the title, its first event."""
KEY, NO_KEY = re.compile(rb"(?s)\xff\x59\x02.."), b"\xff\x59\x02\x09\x05"
"""A key signature, and one of nine sharps in mode 5; at most seven, and modes 0 and 1, exist."""
HTML = b"""<!DOCTYPE html>
<html><head><title>404 Not Found</title></head>
<body><h1>Not Found</h1><p>The requested file is no longer on this server.</p></body></html>
"""
NOTE_ON_BYTES = re.compile(rb"([\x90-\x9f][\x00-\x7f])([\x01-\x7f])")
"""Matches note-ons only, without running status: a delta time of 0x90-0x9f and one more byte is
followed by a status, which the last class excludes."""


@dataclass(frozen=True)
class Song:
    """Song number `number` of the corpus, as a piece and as bytes."""

    seed: int
    number: int

    @cached_property
    def piece(self) -> Piece:
        """The composed song."""
        return compose(self.seed, self.number)

    @cached_property
    def layout(self) -> Layout:
        """How its file encodes it."""
        return choose_layout(random_generator(self.seed, self.number, PERFORMANCE))

    @cached_property
    def data(self) -> bytes:
        """The healthy file."""
        return self.written()

    @property
    def path(self) -> str:
        """Its path in the corpus."""
        return f"{self.piece.folder}/{self.number:03d} {self.piece.title}.mid"

    def written(self, *, layout: dict[str, Any] | None = None, **changes: Any) -> bytes:
        """The file with some of the piece changed, or some of its layout."""
        rng = random_generator(self.seed, self.number, PERFORMANCE)
        piece = replace(self.piece, **changes)
        return to_midi(piece, replace(self.layout, **layout or {}), rng)


@dataclass(frozen=True)
class Planted:
    """A faulty or duplicate file of the corpus."""

    path: str
    """Relative to the corpus, with forward slashes."""
    kind: str
    """As in the tables below, or `readme`."""
    duplicate_of: str | None = None
    """The path of the song that the file repeats."""


def _cut_in_note(song: Song, file_format: int) -> bytes:
    """Cut within the first note-on after 60 %; a cut between two events would be a milder fault."""
    data = song.written(layout={"file_format": file_format, "running_status": False})
    note_on = NOTE_ON_BYTES.search(data, len(data) * 6 // 10)
    assert note_on is not None
    return data[: note_on.start() + 2]


def _between_tracks(song: Song) -> bytes:
    data = song.written(layout={"file_format": 1})
    return data[: data.rindex(b"MTrk")]


def _without_end_of_track(song: Song) -> bytes:
    last = song.data.rindex(b"MTrk")
    return song.data[:last] + chunk(b"MTrk", song.data[last + 8 : -4])


def _with_99_tracks(song: Song) -> bytes:
    return song.data[:10] + (99).to_bytes(2, "big") + song.data[12:]


def _noise(song: Song) -> bytes:
    return random_generator(song.seed, song.number, NOISE).bytes(4096)


def _in_riff(song: Song) -> bytes:
    data = song.data
    body = b"RMIDdata" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _few_notes(song: Song) -> bytes:
    melody = song.piece.parts["melody"]
    return song.written(parts={"melody": Part(melody.program, melody.notes[:FEW_NOTES])})


def _with_bad_velocities(song: Song) -> bytes:
    return NOTE_ON_BYTES.sub(
        lambda match: match[1] + bytes([match[2][0] | 0x80]),
        song.written(layout={"running_status": False}),
        count=5,
    )


def delayed(song: Song, share: float, seconds: int) -> bytes:
    """The file with silence, in whole bars, at the bar line at or after `share` of the piece."""
    piece = song.piece
    end = max(note.start for part in piece.parts.values() for note in part.notes)
    wanted = round(end * share)
    mark, meter = [entry for entry in piece.meters if entry[0] <= wanted][-1]
    bpm = [entry for entry in piece.tempos if entry[0] <= wanted][-1][1]
    line = mark + -(-(wanted - mark) // meter.bar) * meter.bar
    gap = -(-seconds * bpm * PULSES_PER_QUARTER // (60 * meter.bar)) * meter.bar

    def moved(pulse: int) -> int:
        return pulse + gap if pulse >= line else pulse

    def moved_marks(marks: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
        # The first tempo and meter hold from tick 0 on, whenever the music begins.
        return [(moved(pulse) if pulse else 0, value) for pulse, value in marks]

    parts = {
        role: Part(
            part.program,
            [note._replace(start=moved(note.start)) for note in part.notes],
            [turn._replace(pulse=moved(turn.pulse)) for turn in part.controls],
        )
        for role, part in piece.parts.items()
    }
    return song.written(
        parts=parts, meters=moved_marks(piece.meters), tempos=moved_marks(piece.tempos)
    )


def _transposed(song: Song) -> bytes:
    """Three semitones higher, drums excepted."""
    parts = {
        role: replace(
            part,
            notes=[note._replace(pitch=note.pitch + 3 * (role != "drums")) for note in part.notes],
        )
        for role, part in song.piece.parts.items()
    }
    return song.written(parts=parts)


def _faster(song: Song) -> bytes:
    return song.written(tempos=[(pulse, bpm * 7 // 6) for pulse, bpm in song.piece.tempos])


def _reordered(song: Song) -> bytes:
    return song.written(layout={"file_format": 1}, parts=dict(reversed(song.piece.parts.items())))


def _resampled(song: Song) -> bytes:
    return song.written(
        layout={"ticks_per_beat": 240 if song.layout.ticks_per_beat != 240 else 480}
    )


def _healthy(song: Song) -> bytes:
    return song.data


Change = Callable[[Song], bytes]

FAULTS: tuple[tuple[str, str, Change], ...] = (
    ("cut in the header.mid", "truncated_in_header", lambda song: song.data[:10]),
    ("cut before the notes.mid", "truncated_before_notes", lambda song: song.data[:IN_TITLE]),
    ("cut in one track.mid", "truncated_format_0", lambda song: _cut_in_note(song, 0)),
    ("cut in the tracks.mid", "truncated_format_1", lambda song: _cut_in_note(song, 1)),
    ("cut between tracks.mid", "truncated_between_tracks", _between_tracks),
    ("empty.mid", "empty", lambda _: b""),
    ("a second empty one.mid", "empty", lambda _: b""),
    ("not found.mid", "html_page", lambda _: HTML),
    ("noise.mid", "random_bytes", _noise),
    ("ten hour gap.mid", "ten_hour_gap", lambda song: delayed(song, 0.5, GAP_SECONDS)),
    ("minute of silence.mid", "leading_silence", lambda song: delayed(song, 0.0, LEADING_SECONDS)),
    ("twelve notes.mid", "too_few_notes", _few_notes),
    ("bad key signature.mid", "bad_key_signature", lambda song: KEY.sub(NO_KEY, song.data)),
    ("data bytes over 127.mid", "data_bytes_over_127", _with_bad_velocities),
    ("no end of track.mid", "missing_end_of_track", _without_end_of_track),
    ("wrong track count.mid", "wrong_track_count", _with_99_tracks),
    ("wrapped.rmi", "rmid", _in_riff),
    ("sing along.kar", "kar_extension", _healthy),
    ("SHOUTED.MID", "upper_case_extension", _healthy),
    ("  spaces  in the name .mid", "spaces_in_name", _healthy),
    ("déjà vu 夜の曲.mid", "unicode_name", _healthy),
)
"""File name, kind and damage; each is made of a song that the corpus does not hold otherwise."""

DUPLICATES: tuple[tuple[str, str, Change], ...] = (
    ("{stem} (copy).mid", "exact_duplicate", _healthy),
    ("{stem}_1.mid", "exact_duplicate", _healthy),
    ("{stem} in another key.mid", "near_transposed", _transposed),
    ("{stem} faster.mid", "near_faster", _faster),
    ("{stem} retitled.mid", "near_retitled", lambda song: song.written(title="Untitled")),
    ("{stem} reordered.mid", "near_reordered", _reordered),
    ("{stem} resampled.mid", "near_resolution", _resampled),
)
"""File name, kind and change; number n repeats song n modulo the number of songs."""


def plant(seed: int, songs: int) -> Iterator[tuple[Planted, bytes]]:
    """Every faulty or duplicate file of a corpus of `songs` songs, with its bytes."""
    for number, (name, kind, damaged) in enumerate(FAULTS):
        yield Planted(f"{FOLDER}/{name}", kind), damaged(Song(seed, songs + number))
    for number, (pattern, kind, changed) in enumerate(DUPLICATES):
        song = Song(seed, number % songs)
        stem = song.path.rpartition("/")[2].removesuffix(".mid")
        yield Planted(f"{FOLDER}/{pattern.format(stem=stem)}", kind, song.path), changed(song)
