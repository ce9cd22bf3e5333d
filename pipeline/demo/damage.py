"""Faults of real MIDI files, one function per fault, named after its kind.

Each takes a song and returns the bytes of a damaged file. The `near_` functions return healthy
files that are near-duplicates of the song.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from pipeline.demo.composer import compose
from pipeline.demo.randomness import random_generator
from pipeline.demo.rhythm import PULSES_PER_QUARTER
from pipeline.demo.score import Layout, Part, Piece, choose_layout, chunk, to_midi

PERFORMANCE, NOISE = 1, 2
"""Keys of a song's other random generators: for its performance, for random bytes."""

GAP_SECONDS = 36_000
LEADING_SECONDS = 60
FEW_NOTES = 12
HEADER_BYTES = 14

NOTE_ON_BYTES = re.compile(rb"([\x90-\x9f][\x00-\x7f])([\x01-\x7f])")
"""Matches note-ons only, without running status: a delta time of 0x90-0x9f and one more byte is
followed by a status, which the last class excludes."""

HTML = b"""<!DOCTYPE html>
<html><head><title>404 Not Found</title></head>
<body><h1>Not Found</h1><p>The requested file is no longer on this server.</p></body></html>
"""


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

    def written(self, piece: Piece | None = None, **layout: object) -> bytes:
        """The file with another piece, or with some of the layout changed."""
        rng = random_generator(self.seed, self.number, PERFORMANCE)
        return to_midi(piece or self.piece, replace(self.layout, **layout), rng)


def healthy(song: Song) -> bytes:
    """No fault but the file's name."""
    return song.data


def truncated_in_header(song: Song) -> bytes:
    """The first 10 of the header's 14 bytes."""
    return song.data[:10]


def truncated_before_notes(song: Song) -> bytes:
    """Cut within the title, the first event of the first track."""
    return song.data[: HEADER_BYTES + 16]


def truncated_format_0(song: Song) -> bytes:
    """One track, cut at 60 %: the end of every part is missing."""
    return _cut_in_note(song.written(file_format=0, running_status=False))


def truncated_format_1(song: Song) -> bytes:
    """A track per part, cut at 60 %: the last parts are missing completely."""
    return _cut_in_note(song.written(file_format=1, running_status=False))


def _cut_in_note(data: bytes) -> bytes:
    """Cut within the first note-on after 60 %; a cut between two events would be a milder fault."""
    note_on = NOTE_ON_BYTES.search(data, len(data) * 6 // 10)
    assert note_on is not None
    return data[: note_on.start() + 2]


def truncated_between_tracks(song: Song) -> bytes:
    """Cut where the last track would begin; only the track count is wrong."""
    data = song.written(file_format=1)
    return data[: data.rindex(b"MTrk")]


def empty(_: Song) -> bytes:
    """No bytes at all."""
    return b""


def html_page(_: Song) -> bytes:
    """A server's page for a file that it no longer has."""
    return HTML


def random_bytes(song: Song) -> bytes:
    """4,096 random bytes."""
    return random_generator(song.seed, song.number, NOISE).bytes(4096)


def ten_hour_gap(song: Song) -> bytes:
    """Ten hours, in whole bars, before the second half of the music."""
    return song.written(_delayed(song.piece, 0.5, GAP_SECONDS))


def leading_silence(song: Song) -> bytes:
    """A minute, in whole bars, before the first note."""
    return song.written(_delayed(song.piece, 0.0, LEADING_SECONDS))


def _delayed(piece: Piece, share: float, seconds: int) -> Piece:
    """Insert silence, in whole bars, at the bar line at or after `share` of the piece."""
    end = max(note.start for part in piece.parts.values() for note in part.notes)
    wanted = round(end * share)
    mark, meter = [entry for entry in piece.meters if entry[0] <= wanted][-1]
    bpm = [entry for entry in piece.tempos if entry[0] <= wanted][-1][1]
    line = mark + -(-(wanted - mark) // meter.bar) * meter.bar
    bars = -(-seconds * bpm * PULSES_PER_QUARTER // (60 * meter.bar))

    def moved(pulse: int) -> int:
        return pulse + bars * meter.bar if pulse >= line else pulse

    def moved_mark(pulse: int) -> int:
        # The first tempo and meter hold from tick 0 on, whenever the music begins.
        return moved(pulse) if pulse else 0

    def later(part: Part) -> Part:
        return replace(
            part,
            notes=[note._replace(start=moved(note.start)) for note in part.notes],
            controls=[turn._replace(pulse=moved(turn.pulse)) for turn in part.controls],
        )

    return replace(
        piece,
        parts={role: later(part) for role, part in piece.parts.items()},
        meters=[(moved_mark(pulse), meter) for pulse, meter in piece.meters],
        tempos=[(moved_mark(pulse), bpm) for pulse, bpm in piece.tempos],
    )


def too_few_notes(song: Song) -> bytes:
    """The first twelve notes of the melody."""
    melody = replace(song.piece.parts["melody"], controls=[])
    melody.notes = melody.notes[:FEW_NOTES]
    return song.written(replace(song.piece, parts={"melody": melody}))


def bad_key_signature(song: Song) -> bytes:
    """A key of nine sharps in mode 5; at most seven, and modes 0 and 1, exist."""
    return re.sub(rb"\xff\x59\x02..", b"\xff\x59\x02\x09\x05", song.data, flags=re.DOTALL)


def data_bytes_over_127(song: Song) -> bytes:
    """Five velocities with bit 7 set, which only a status byte may have."""
    return NOTE_ON_BYTES.sub(
        lambda match: match[1] + bytes([match[2][0] | 0x80]),
        song.written(running_status=False),
        count=5,
    )


def missing_end_of_track(song: Song) -> bytes:
    """The last track ends after its last note."""
    data = song.data
    last = data.rindex(b"MTrk")
    return data[:last] + chunk(b"MTrk", data[last + 8 : -4])


def wrong_track_count(song: Song) -> bytes:
    """A header that states 99 tracks."""
    return song.data[:10] + (99).to_bytes(2, "big") + song.data[12:]


def rmid(song: Song) -> bytes:
    """The file wrapped in a RIFF container, as Windows programs did."""
    data = song.data
    body = b"RMIDdata" + len(data).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def near_transposed(song: Song) -> bytes:
    """Three semitones higher, drums excepted."""

    def higher(part: Part) -> Part:
        if part.program is None:
            return part
        return replace(part, notes=[note._replace(pitch=note.pitch + 3) for note in part.notes])

    parts = {role: higher(part) for role, part in song.piece.parts.items()}
    return song.written(replace(song.piece, parts=parts))


def near_faster(song: Song) -> bytes:
    """Every tempo a sixth faster."""
    return song.written(
        replace(song.piece, tempos=[(pulse, bpm * 7 // 6) for pulse, bpm in song.piece.tempos])
    )


def near_retitled(song: Song) -> bytes:
    """Another title in the file."""
    return song.written(replace(song.piece, title="Untitled"))


def near_reordered(song: Song) -> bytes:
    """The tracks in the opposite order."""
    parts = dict(reversed(song.piece.parts.items()))
    return song.written(replace(song.piece, parts=parts), file_format=1)


def near_resolution(song: Song) -> bytes:
    """Another number of ticks per quarter note."""
    return song.written(ticks_per_beat=240 if song.layout.ticks_per_beat != 240 else 480)


Damage = Callable[[Song], bytes]
