"""Write a composed piece as the bytes of a Standard MIDI File.

mido encodes names, meters, tempos and keys. Notes are encoded here, because 300 songs have a
million note messages, for which mido takes 7 s.

Conventions
    event    (tick, rank, bytes): at one tick, controls (0) come before note ends (1), and ends
             before starts (2)
    layout   how a file encodes the piece; all layouts of a piece hold the same music
"""

from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NamedTuple

import mido
import numpy as np

from pipeline.demo.randomness import choose, happens
from pipeline.demo.rhythm import PULSES_PER_QUARTER, Meter, Note

Event = tuple[int, int, bytes]

DRUM_CHANNEL = 9
PROGRAM, CONTROL, BEND, NOTE_OFF, NOTE_ON = 0xC0, 0xB0, 0xE0, 0x80, 0x90
MODULATION, VOLUME, PAN = 1, 7, 10
END_OF_TRACK = b"\xff\x2f\x00"

RESOLUTIONS = (96, 120, 192, 384, 480, 480, 480, 960)
"""Ticks per quarter note, all multiples of 24."""

NAMES = {
    "melody": "Melody", "bass": "Bass", "drums": "Drums", "chords": "Chords", "pad": "Pad",
    "arpeggio": "Arpeggio", "second": "2nd Voice", "double": "Doubling",
}  # fmt: skip


class Control(NamedTuple):
    """A position of the pitch wheel (-8192..8191) or of the modulation wheel (0..127)."""

    pulse: int
    kind: str
    value: int


@dataclass
class Part:
    """One instrument's notes and controls."""

    role: str
    program: int | None
    """General MIDI program, from 0; None for the drums."""
    pan: int
    notes: list[Note] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)


@dataclass
class Piece:
    """A composed song; times in pulses, from 0."""

    title: str
    folder: str
    key: str
    """Key signature, as mido names it."""
    parts: dict[str, Part]
    meters: list[tuple[int, Meter]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    """(pulse, quarter notes per minute)"""

    @property
    def seconds(self) -> float:
        """Playing time to the end of the last note."""
        end = max(note.start + note.length for part in self.parts.values() for note in part.notes)
        marks = [*self.tempos, (end, 0)]
        return sum(
            (after - pulse) * 60 / (PULSES_PER_QUARTER * bpm)
            for (pulse, bpm), (after, _) in pairwise(marks)
        )


@dataclass(frozen=True)
class Layout:
    """How a piece is encoded, and how precisely it is played."""

    ticks_per_beat: int
    file_format: int
    """0: all in one track; 1: a track per part, after one for tempo and meter."""
    jitter: int
    """Notes are up to this many 1/480 of a quarter note early or late."""
    running_status: bool
    """Leave out a status byte that repeats the last one."""
    silent_note_ons: bool
    """End notes by a note-on of velocity 0."""


def choose_layout(rng: np.random.Generator) -> Layout:
    """Draw a layout; one file in three has jitter."""
    return Layout(
        ticks_per_beat=choose(rng, RESOLUTIONS),
        file_format=choose(rng, (0, 1, 1)),
        jitter=choose(rng, (4, 8, 12)) if happens(rng, 33) else 0,
        running_status=happens(rng, 50),
        silent_note_ons=happens(rng, 50),
    )


def to_midi(piece: Piece, layout: Layout, rng: np.random.Generator) -> bytes:
    """Encode a piece.

    Args:
        piece: the notes.
        layout: their encoding.
        rng: for small changes of velocities and, with jitter, of times.
    """
    ticks_per_pulse = layout.ticks_per_beat // PULSES_PER_QUARTER
    tracks = [_conductor_events(piece, ticks_per_pulse)]
    channels = (channel for channel in range(16) if channel != DRUM_CHANNEL)
    for part in piece.parts.values():
        channel = DRUM_CHANNEL if part.program is None else next(channels)
        events = _setup_events(part, channel) + _control_events(part, channel, ticks_per_pulse)
        tracks.append(events + _note_events(part, channel, layout, rng))
    if layout.file_format == 0:
        tracks = [list(chain.from_iterable(tracks))]
    chunks = [_track_chunk(events, running_status=layout.running_status) for events in tracks]
    header = b"".join(
        value.to_bytes(2, "big")
        for value in (layout.file_format, len(tracks), layout.ticks_per_beat)
    )
    return chunk(b"MThd", header) + b"".join(chunks)


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a MIDI file: name, length, body."""
    return name + len(body).to_bytes(4, "big") + body


def variable_length(number: int) -> bytes:
    """A number in seven-bit digits, most significant first; all but the last have bit 7 set."""
    digits = bytearray([number & 0x7F])
    while number := number >> 7:
        digits.insert(0, 0x80 | number & 0x7F)
    return bytes(digits)


def _meta(kind: str, **values: Any) -> bytes:
    return bytes(mido.MetaMessage(kind, **values).bytes())


def _conductor_events(piece: Piece, ticks_per_pulse: int) -> list[Event]:
    events = [(0, 0, _meta("track_name", name=piece.title))]
    events.append((0, 0, _meta("key_signature", key=piece.key)))
    for pulse, meter in piece.meters:
        signature = _meta(
            "time_signature", numerator=meter.numerator, denominator=meter.denominator
        )
        events.append((pulse * ticks_per_pulse, 0, signature))
    for pulse, bpm in piece.tempos:
        events.append((pulse * ticks_per_pulse, 0, _meta("set_tempo", tempo=round(60e6 / bpm))))
    return events


def _setup_events(part: Part, channel: int) -> list[Event]:
    events = [(0, 0, _meta("track_name", name=NAMES[part.role]))]
    if part.program is not None:
        events.append((0, 0, bytes((PROGRAM | channel, part.program))))
    events.append((0, 0, bytes((CONTROL | channel, VOLUME, 100))))
    events.append((0, 0, bytes((CONTROL | channel, PAN, part.pan))))
    return events


def _control_events(part: Part, channel: int, ticks_per_pulse: int) -> list[Event]:
    events = []
    for pulse, kind, value in part.controls:
        if kind == "modulation":
            message = bytes((CONTROL | channel, MODULATION, value))
        else:
            bend = value + 8192
            message = bytes((BEND | channel, bend & 0x7F, bend >> 7))
        events.append((pulse * ticks_per_pulse, 0, message))
    return events


def _note_events(part: Part, channel: int, layout: Layout, rng: np.random.Generator) -> list[Event]:
    on = NOTE_ON | channel
    off = on if layout.silent_note_ons else NOTE_OFF | channel
    release = 0 if layout.silent_note_ons else 64
    events = []
    for start, end, pitch, velocity in _played(part.notes, layout, rng):
        events.append((start, 2, bytes((on, pitch, velocity))))
        events.append((end, 1, bytes((off, pitch, release))))
    return events


def _played(
    notes: list[Note], layout: Layout, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Notes as (start tick, end tick, pitch, velocity), with random changes of time and velocity.

    A note ends before its pitch sounds again: MIDI cannot express which of two overlapping notes
    of one pitch a note-off ends. Of two that start together the first in the list stays.
    """
    ticks_per_pulse = layout.ticks_per_beat // PULSES_PER_QUARTER
    jitter = layout.jitter * layout.ticks_per_beat // 480
    shifts = rng.integers(-jitter, jitter + 1, size=len(notes)).tolist()
    pushes = rng.integers(-5, 6, size=len(notes)).tolist()
    gap = max(1, layout.ticks_per_beat // 48)
    timed = []
    for order, (note, shift, push) in enumerate(zip(notes, shifts, pushes, strict=True)):
        start = max(0, note.start * ticks_per_pulse + shift)
        end = max(start + 1, (note.start + note.length) * ticks_per_pulse + shift - gap)
        timed.append((start, order, end, note.pitch, min(max(note.velocity + push, 1), 127)))
    played, again = [], {}
    for start, _, end, pitch, velocity in sorted(timed, key=lambda note: (note[0], -note[1]))[::-1]:
        following = again.get(pitch)
        if following == start:
            continue
        end = end if following is None else min(end, following)
        again[pitch] = start
        played.append((start, end, pitch, velocity))
    return played


def _track_chunk(events: list[Event], *, running_status: bool) -> bytes:
    body, now, status = bytearray(), 0, -1
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        body += variable_length(tick - now)
        now = tick
        repeats = running_status and message[0] == status
        body += message[1:] if repeats else message
        # A meta event ends running status.
        status = message[0] if message[0] < 0xF0 else -1
    body += variable_length(0) + END_OF_TRACK
    return chunk(b"MTrk", bytes(body))
