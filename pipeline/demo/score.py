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
MODULATION = 1
END_OF_TRACK = b"\xff\x2f\x00"
RESOLUTIONS = (96, 120, 192, 384, 480, 480, 480, 960)
"""Ticks per quarter note, all multiples of 24."""


class Control(NamedTuple):
    """A turn of the pitch wheel or the modulation wheel, as a channel message."""

    pulse: int
    status: int
    """Without the channel."""
    first: int
    second: int


@dataclass
class Part:
    """One instrument's notes and controls."""

    program: int | None
    """General MIDI program, from 0; None for the drums."""
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
    """By role."""
    meters: list[tuple[int, Meter]] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    """(pulse, quarter notes per minute)"""

    @property
    def seconds(self) -> float:
        """Playing time to the end of the last note."""
        end = max(note.start + note.length for part in self.parts.values() for note in part.notes)
        return sum(
            (after - pulse) * 60 / (PULSES_PER_QUARTER * bpm)
            for (pulse, bpm), (after, _) in pairwise([*self.tempos, (end, 0)])
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
    for role, part in piece.parts.items():
        channel = DRUM_CHANNEL if part.program is None else next(channels)
        events = [(0, 0, _meta("track_name", name=role.capitalize()))]
        if part.program is not None:
            events.append((0, 0, bytes((PROGRAM | channel, part.program))))
        events += [
            (pulse * ticks_per_pulse, 0, bytes((status | channel, first, second)))
            for pulse, status, first, second in part.controls
        ]
        tracks.append(events + _note_events(part.notes, channel, layout, rng))
    if layout.file_format == 0:
        tracks = [[*chain.from_iterable(tracks)]]
    numbers = (layout.file_format, len(tracks), layout.ticks_per_beat)
    header = chunk(b"MThd", b"".join(number.to_bytes(2, "big") for number in numbers))
    return header + b"".join(_track_chunk(events, layout.running_status) for events in tracks)


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
    meters = [
        (pulse, _meta("time_signature", numerator=of.numerator, denominator=of.denominator))
        for pulse, of in piece.meters
    ]
    tempos = [(pulse, _meta("set_tempo", tempo=round(60e6 / bpm))) for pulse, bpm in piece.tempos]
    names = [(0, _meta("track_name", name=piece.title)), (0, _meta("key_signature", key=piece.key))]
    return [(pulse * ticks_per_pulse, 0, event) for pulse, event in names + meters + tempos]


def _note_events(
    notes: list[Note], channel: int, layout: Layout, rng: np.random.Generator
) -> list[Event]:
    on = NOTE_ON | channel
    off, release = (on, 0) if layout.silent_note_ons else (NOTE_OFF | channel, 64)
    events = []
    for start, end, pitch, velocity in _played(notes, layout, rng):
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
        timed.append((start, -order, end, note.pitch, min(max(note.velocity + push, 1), 127)))
    played, again = [], {}
    for start, _, end, pitch, velocity in sorted(timed, reverse=True):
        following = again.get(pitch)
        if following != start:
            again[pitch] = start
            end = end if following is None else min(end, following)
            played.append((start, end, pitch, velocity))
    return played


def _track_chunk(events: list[Event], running_status: bool) -> bytes:
    body, now, status = bytearray(), 0, -1
    for tick, _, message in sorted(events, key=lambda event: event[:2]):
        body += variable_length(tick - now)
        now = tick
        body += message[1:] if running_status and message[0] == status else message
        # A meta event ends running status.
        status = message[0] if message[0] < 0xF0 else -1
    return chunk(b"MTrk", bytes(body + variable_length(0) + END_OF_TRACK))
