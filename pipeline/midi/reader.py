"""A MIDI file's bytes to notes: the tolerant reader.

Conventions
    tick    the file's own time unit, from the start of the file; 0 .. MAX_TICK
    beat    a quarter note; `ticks_per_beat` ticks
    part    the notes of one channel on one port: one instrument
    strict, tolerant, salvage   how much had to be repaired; see `events.REPAIRS`

docs/reader.md describes what happens to damaged bytes. Compiled kernels do the work (compiled.py);
this file finds the header and assembles the result.
"""

import dataclasses
import io
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.midi import compiled, events, percussion
from pipeline.midi.controls import CONTROL_DTYPE, METER_DTYPE, TEMPO_DTYPE
from pipeline.midi.notes import NOTE_DTYPE

MAX_BYTES = 16 * 2**20  # ten times the largest file of Lakh
ASSUMED_TICKS_PER_BEAT = 480
WHOLE_NOTE = 4  # beats: the longest that a note without a note-off lasts

DAMAGED = {"track_length", "truncated_track", "lost_sync", "time_out_of_bounds"}
"""Repairs after which the file may have been corrupted as a whole, by a text-mode transfer."""

HEADER = struct.Struct(">IHHH")  # length, format, tracks, division
GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
GZIP_WBITS = 31  # zlib: expect a gzip header, use the largest window
SONG_IN_ZIP = re.compile(r"(?!__MACOSX/).*\.(midi?|kar|rmi|smf)", re.IGNORECASE | re.DOTALL)
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError
)  # fmt: skip
UNPACK_BYTES = 2**12  # per call, so that everything before the damage is kept

LOOKS_LIKE = (
    (GZIP, "a gzip archive"),
    (ZIP, "a zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"<", "an HTML page"),
)


class UnreadableMidi(ValueError):
    """These bytes hold no readable notes. Bad data rather than a caller's mistake: count it.

    Attributes:
        code: short and stable: empty, too_large, not_midi, no_tracks.
        offset: the position in the file where reading stopped.
    """

    def __init__(self, code: str, offset: int, message: str):
        super().__init__(message)
        self.code = code
        self.offset = offset

    def __reduce__(self):
        return type(self), (self.code, self.offset, str(self))


@dataclass(frozen=True)
class Recording:
    """The music of a MIDI file. Arrays are structured; times are in ticks."""

    notes: np.ndarray
    """NOTE_DTYPE: start, end, pitch, velocity, channel (0-15), track, program (0-127; the one in
    force at the start), is_drum, part (a number, see parts.py). Sorted by start, track, channel,
    pitch, then file order."""
    ticks_per_beat: int
    tempos: np.ndarray
    """TEMPO_DTYPE: tick, microseconds per beat; at most one per tick. 500,000 before the first."""
    meters: np.ndarray
    """METER_DTYPE: tick, numerator, denominator; at most one per tick. 4/4 before the first."""
    controls: np.ndarray
    """CONTROL_DTYPE: tick, channel, track, kind, value, part; by tick, then file order. A kind
    below 128 is a controller number; others are PITCH_BEND (in cents, bend range applied) and
    CHANNEL_PRESSURE."""
    tier: str
    """strict, tolerant or salvage."""
    repairs: dict[str, int] = field(default_factory=dict)
    """Count of each repair of `events.REPAIRS` that was made."""
    percussion: dict[str, int] = field(default_factory=dict)
    """Number of notes by the evidence that made them drums or not; see `percussion`."""

    def __repr__(self) -> str:
        return f"<Recording: {len(self.notes):,} notes, {self.ticks_per_beat} ticks per beat>"


class Header(NamedTuple):
    """Where the tracks start, and the unit of time."""

    tracks_at: int
    format: int
    tracks: int
    ticks_per_beat: int
    tick_scale: int = 1
    """Factor applied to ticks so that a beat is a whole number of them."""
    beat_microseconds: int | None = None
    """The tempo of a file in SMPTE frames; its tempo events are ignored."""


def read_midi(data: bytes, *, max_bytes: int = MAX_BYTES) -> Recording:
    """Read a MIDI file, damaged or not.

    A gzip or zip archive of one MIDI file is unpacked first; `max_bytes` and the bounds below
    apply to the unpacked bytes.

    Memory is at most 64 bytes per byte of the file plus 1 MiB, whatever the bytes are. Time is
    linear in len(data): at most 0.2 s per MB, measured on files built to be slow. Ticks stay
    within 0 .. MAX_TICK (2**31 - 2); a track that would run beyond is cut there.

    Notes are paired first in, first out: a note-off, or a note-on of velocity 0, ends the
    sounding note of its track, channel and pitch that started first. Where a key has fewer
    note-offs than notes, the notes that lost theirs are found first and left out; see
    `events.find_lost_note_offs` for how, and `events.end_open_notes` for where they end. A note
    may have length 0.

    The tracks of a format 2 file follow each other. A file in SMPTE frames gets a beat of exactly
    half a second; its tempo events are ignored.

    Args:
        data: the whole file.
        max_bytes: larger files are refused.

    Raises:
        UnreadableMidi: empty, larger than max_bytes, not MIDI, or without any track.
    """
    size = len(data)
    if size == 0:
        raise UnreadableMidi("empty", 0, "the file is empty")
    if size > max_bytes:
        raise UnreadableMidi(
            "too_large", max_bytes, f"the file has {size:,} bytes; at most {max_bytes:,} are read"
        )
    if data.startswith(GZIP):
        return read_wrapped("gzip", ungzip(data, max_bytes + 1), max_bytes)
    if data.startswith(ZIP):
        return read_wrapped("zip", unzip(data, max_bytes + 1), max_bytes)
    return read_plain(data)


def read_wrapped(kind: str, inside: bytes, max_bytes: int) -> Recording:
    """Read the MIDI file that was unpacked from a gzip or zip archive."""
    if len(inside) > max_bytes:
        message = f"the file unpacks to more than the {max_bytes:,} bytes that are read at most"
        raise UnreadableMidi("too_large", 0, message)
    if not inside:
        raise UnreadableMidi("not_midi", 0, f"a {kind} archive with nothing that can be unpacked")
    try:
        return with_repair(f"{kind}_wrapper", read_plain(inside))
    except UnreadableMidi as error:
        raise UnreadableMidi(error.code, 0, f"in a {kind} archive: {error}") from None


def unzip(data: bytes, max_size: int) -> bytes:
    """The only file of a zip archive, or the only one named as a song, up to `max_size` bytes.

    Raises:
        UnreadableMidi: the archive is damaged, or does not hold exactly one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [member for member in archive.infolist() if not member.is_dir()]
            if len(files) > 1:  # such as a song, a text and what macOS adds
                files = [member for member in files if SONG_IN_ZIP.fullmatch(member.filename)]
            if len(files) != 1:
                message = f"a zip archive of {len(files)} files: name it .zip to read them"
                raise UnreadableMidi("not_midi", 0, message)
            with archive.open(files[0]) as file:
                return file.read(max_size)
    except UnreadableMidi:
        raise
    except ZIP_ERRORS as error:
        raise UnreadableMidi("not_midi", 0, f"a damaged zip archive: {error}") from None


def ungzip(data: bytes, max_size: int) -> bytes:
    """All members of a gzip archive, up to the end, the damage, or `max_size` bytes."""
    archive, parts, size, at = zlib.decompressobj(GZIP_WBITS), [], 0, 0
    while at < len(data) and size < max_size:
        piece = data[at : at + UNPACK_BYTES]
        try:
            parts.append(archive.decompress(piece, max_size - size))
        except zlib.error:
            break
        size += len(parts[-1])
        at += len(piece) - len(archive.unused_data)
        if archive.eof:
            if data[at : at + len(GZIP)] != GZIP:
                break
            archive = zlib.decompressobj(GZIP_WBITS)
    return b"".join(parts)


def with_repair(code: str, recording: Recording) -> Recording:
    """The same recording with one more repair counted."""
    repairs = {code: 1, **recording.repairs}
    return dataclasses.replace(recording, repairs=repairs, tier=events.tier_of(repairs))


def read_plain(data: bytes) -> Recording:
    """Read a MIDI file that is not an archive; see `read_midi`."""
    recording = read_bytes(data)
    if not DAMAGED.isdisjoint(recording.repairs):
        unix = without_carriage_returns(data)
        if unix is not None:
            again = read_bytes(unix)
            if DAMAGED.isdisjoint(again.repairs):
                return with_repair("carriage_returns", again)
    return recording


def without_carriage_returns(data: bytes) -> bytes | None:
    """Undo a transfer in text mode, which puts a carriage return before every line feed byte.

    Returns None if that is not what happened: some line feed has no carriage return.
    """
    feeds = data.count(b"\n")
    if feeds == 0 or data.count(b"\r\n") != feeds:
        return None
    return data.replace(b"\r\n", b"\n")


def read_bytes(data: bytes) -> Recording:
    """Read a MIDI file without undoing any transfer; see `read_midi`."""
    repairs: dict[str, int] = {}
    header = read_header(data, repairs)
    (notes, tempos, meters, controls), repaired, decided, tracks = compiled.read_music(
        data, header.tracks_at, header.tracks, WHOLE_NOTE * header.ticks_per_beat, header.format
    )
    if tracks == 0:
        raise UnreadableMidi("no_tracks", header.tracks_at, "the file has a header but no track")
    if tracks != header.tracks:
        repairs["track_count"] = 1
    for number, count in repaired.tolist():
        repairs[events.REPAIRS[number][0]] = count
    recording = Recording(
        notes=np.ndarray(len(notes), NOTE_DTYPE, notes),
        ticks_per_beat=header.ticks_per_beat,
        tempos=np.ndarray(len(tempos), TEMPO_DTYPE, tempos),
        meters=np.ndarray(len(meters), METER_DTYPE, meters),
        controls=np.ndarray(len(controls), CONTROL_DTYPE, controls),
        tier=events.tier_of(repairs),
        repairs=repairs,
        percussion={percussion.DECISIONS[code]: count for code, count in decided.tolist() if code},
    )
    return recording if header.beat_microseconds is None else in_frames(recording, header)


def in_frames(recording: Recording, header: Header) -> Recording:
    """Apply SMPTE time to a recording: one tempo, and ticks that divide a beat."""
    for times in (recording.notes["start"], recording.notes["end"]):
        times *= header.tick_scale
    for events_ in (recording.meters, recording.controls):
        events_["tick"] *= header.tick_scale
    tempos = np.array([(0, header.beat_microseconds)], TEMPO_DTYPE)
    return dataclasses.replace(recording, tempos=tempos)


def read_header(data: bytes, repairs: dict[str, int]) -> Header:
    """Find the header, whatever precedes it, and read it; record the repairs."""
    at = find_header(data)
    if at < 0 or len(data) < at + 14:
        return without_header(data, repairs)
    if at:
        wrapped = data[:4] == b"RIFF"
        prefixed = at == 128 and data[0] == 0
        code = "riff_wrapper" if wrapped else "macbinary_prefix" if prefixed else "leading_junk"
        repairs[code] = 1
    length, format, tracks, division = HEADER.unpack_from(data, at + 4)
    if length != 6:
        repairs["header_length"] = 1
        if length < 6 or data[at + 8 + length : at + 12 + length] != b"MTrk":
            length = 6
    if format == 2:
        repairs["format_2"] = 1
    elif format > 2:
        repairs["unknown_format"] = 1
    is_followed = data.startswith(b"MTrk", at + 8 + length)
    beat, scale, microseconds = read_division(division, is_followed, repairs)
    return Header(at + 8 + length, format, tracks, beat, scale, microseconds)


def find_header(data: bytes) -> int:
    """Where the header is, or -1: the first whose length fits the file, such as no page's text."""
    at = first = data.find(b"MThd")
    while at >= 0 and int.from_bytes(data[at + 4 : at + 8]) > len(data) - at:
        at = data.find(b"MThd", at + 4)
    return first if at < 0 else at


def without_header(data: bytes, repairs: dict[str, int]) -> Header:
    """Make up a header for a file that has only tracks."""
    at = data.find(b"MTrk")
    if at < 0:
        kind = next((name for start, name in LOOKS_LIKE if data.lstrip().startswith(start)), None)
        seems = f"; it looks like {kind}" if kind else ""
        raise UnreadableMidi("not_midi", 0, f"no MThd and no MTrk anywhere in the file{seems}")
    repairs["missing_header"] = 1
    return Header(at, 1, data.count(b"MTrk"), ASSUMED_TICKS_PER_BEAT)


def read_division(
    division: int, is_followed: bool, repairs: dict[str, int]
) -> tuple[int, int, int | None]:
    """Ticks per beat, the factor for ticks, and the tempo of a file in SMPTE frames.

    With bit 15 set, the high byte is minus the frames per second and the low byte is the ticks
    per frame. A beat is then half a second, as at 120 beats per minute: frames × ticks / 2. 29
    means 30 frames in 1.001 s (drop frame), which lengthens the beat by that factor instead. Where
    that frame rate does not exist, the division is taken as 16 bits of ticks per beat, if a track
    follows the header directly. If none does, the header has lost a byte, and its division with it.

    Source:
        Standard MIDI Files 1.0, header chunk.
    """
    if division < 0x8000:
        if division:
            return division, 1, None
        repairs["zero_division"] = 1
        return ASSUMED_TICKS_PER_BEAT, 1, None
    frames, ticks = 256 - (division >> 8), division & 0xFF
    if frames not in (24, 25, 29, 30) and is_followed:
        repairs["wide_division"] = 1
        return division, 1, None
    if frames not in (24, 25, 29, 30) or ticks == 0:
        repairs["zero_division"] = 1
        return ASSUMED_TICKS_PER_BEAT, 1, None
    repairs["smpte_division"] = 1
    microseconds = 500_500 if frames == 29 else 500_000
    ticks_per_second = (30 if frames == 29 else frames) * ticks
    if ticks_per_second % 2:
        return ticks_per_second, 2, microseconds
    return ticks_per_second // 2, 1, microseconds


WARM_UP_TRACK = bytes.fromhex(
    "00 f0 0a 41 10 42 12 40 11 15 01 19 f7"  # GS: part 1 is a drum kit
    "00 90 3c 40 60 3c 00 00 ff 2f 00"
)


def warm_up() -> None:
    """Load the compiled kernels, or compile them if they are not in the cache.

    For a worker's initializer: about 0.2 s from the cache, about 8 s without. Call it once before
    any worker starts, so that the workers find the cache.
    """
    read_midi(warm_up_file())


def warm_up_file() -> bytes:
    """A small file that exercises every kernel."""
    length = len(WARM_UP_TRACK).to_bytes(4)
    return b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk" + length + WARM_UP_TRACK
