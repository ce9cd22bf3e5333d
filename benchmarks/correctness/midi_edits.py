"""Edits of MIDI files as people make them, from bytes to bytes: what duplicates look like.

Only for files without a fault: `read` refuses what mido does not read.

Conventions
    event   (tick, bytes): absolute time; status and data, running status written out; meta events
            and SysEx with their lengths
    note    on and off are paired by channel and key, first on, first off
"""

import io
import struct
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import mido
import numpy as np

from pipeline.demo.score import variable_length

Event = tuple[int, bytes]
TEMPO, NAME, END = b"\xff\x51", b"\xff\x03", b"\xff\x2f"
DRUMS = 9


class NotSimple(ValueError):
    """A file that these edits do not support."""


@dataclass(frozen=True)
class File:
    """A MIDI file: format, ticks per quarter note, and the events of each track by time."""

    kind: int
    division: int
    tracks: list[list[Event]]


Edit = Callable[[File, np.random.Generator], File]


def read(data: bytes) -> File:
    """Parse a file by mido.

    Raises:
        NotSimple: it is damaged, or counts time in frames.
    """
    try:
        midi = mido.MidiFile(file=io.BytesIO(data))
    except Exception as error:
        raise NotSimple("mido does not read it") from error
    if midi.ticks_per_beat <= 0:
        raise NotSimple("time in frames")
    return File(midi.type, midi.ticks_per_beat, [_events(track) for track in midi.tracks])


def _events(track: mido.MidiTrack) -> list[Event]:
    events, tick = [], 0
    for message in track:
        tick += message.time
        event = bytes(message.bin())
        if message.type == "sysex":
            event = event[:1] + variable_length(len(event) - 1) + event[1:]
        events.append((tick, event))
    return events


def write(file: File) -> bytes:
    """Write the file as bytes."""
    chunks = [struct.pack(">4sIHHH", b"MThd", 6, file.kind, len(file.tracks), file.division)]
    for events in file.tracks:
        track, before = bytearray(), 0
        for tick, event in events:
            track += variable_length(tick - before) + event
            before = tick
        chunks.append(struct.pack(">4sI", b"MTrk", len(track)) + bytes(track))
    return b"".join(chunks)


def each(file: File, change: Callable[[bytes], bytes]) -> File:
    """Change each event; one that becomes empty is left out."""
    changed = ([(tick, change(event)) for tick, event in events] for events in file.tracks)
    return replace(file, tracks=[[one for one in events if one[1]] for events in changed])


def later(file: File, ticks: int) -> File:
    """Move all events to a later time."""
    return replace(file, tracks=[[(t + ticks, e) for t, e in events] for events in file.tracks])


def is_on(event: bytes) -> bool:
    """Whether an event starts a note."""
    return 0x90 <= event[0] < 0xA0 and event[2] > 0


def is_note(event: bytes) -> bool:
    """Whether an event starts or ends a note."""
    return 0x80 <= event[0] < 0xA0


def without(file: File, removed: Callable[[int], bool]) -> File:
    """Remove notes, both events of each, by the tick at which they start."""
    tracks = []
    for events in file.tracks:
        left, sounding = [], defaultdict(list)
        for tick, event in events:
            if is_note(event):
                key = event[0] & 15, event[1]
                if is_on(event):
                    sounding[key].append(removed(tick))
                    is_removed = sounding[key][-1]
                else:
                    is_removed = sounding[key].pop(0) if sounding[key] else False
                if is_removed:
                    continue
            left.append((tick, event))
        tracks.append(left)
    return replace(file, tracks=tracks)


def without_drums(file: File) -> File:
    """Remove the notes of the drums' channel."""
    return each(file, lambda e: b"" if is_note(e) and e[0] & 15 == DRUMS else e)


def _last(file: File) -> int:
    return max((t for events in file.tracks for t, e in events if is_on(e)), default=0)


def title(file: File, random: np.random.Generator) -> File:
    """Another name for the song and every part."""
    named = each(file, lambda event: b"" if event[:2] == NAME else event)
    text = b"Sequenced by %08x" % random.integers(1 << 32)
    name = NAME + bytes([len(text)]) + text
    return replace(named, tracks=[[(0, name), *events] for events in named.tracks])


def slowed(file: File, factor: float) -> File:
    """Every tempo, stated or not, with so many times the microseconds per quarter note."""

    def change(event: bytes) -> bytes:
        if event[:2] != TEMPO or len(event) != 6:
            return event
        slower = min(int(int.from_bytes(event[3:], "big") * factor), 0xFFFFFF)
        return event[:3] + slower.to_bytes(3, "big")

    first, *rest = each(file, change).tracks
    stated = TEMPO + b"\x03" + int(500_000 * factor).to_bytes(3, "big")
    return replace(file, tracks=[[(0, stated), *first], *rest])


def track_order(file: File, random: np.random.Generator) -> File:
    """All tracks but the first, which holds the tempo, in random order; channels unchanged."""
    first, *rest = file.tracks
    return replace(file, tracks=[first, *(rest[n] for n in random.permutation(len(rest)))])


def resolution(file: File, random: np.random.Generator) -> File:
    """Another number of ticks per quarter note, times rounded to it."""
    new = 120 if file.division != 120 else 96
    moved = [[((2 * t * new + file.division) // (2 * file.division), e) for t, e in events]
             for events in file.tracks]  # fmt: skip
    return replace(file, division=new, tracks=moved)


def program(file: File, random: np.random.Generator) -> File:
    """Another program for every part but the drums."""
    others = random.permutation(128)
    changed = each(file, lambda e: e[:1] + bytes([int(others[e[1]])]) if e[0] >> 4 == 12 else e)
    stated = [(0, bytes([0xC0 | n, int(others[n])])) for n in range(16) if n != DRUMS]
    first, *rest = changed.tracks
    return replace(changed, tracks=[[*stated, *first], *rest])


def transposed(file: File, random: np.random.Generator) -> File:
    """Up or down by up to six semitones, except drums and keys that would leave 0 to 127."""
    by = int(random.choice([n for n in range(-6, 7) if n]))

    def change(event: bytes) -> bytes:
        keyed = 0x80 <= event[0] < 0xB0 and event[0] & 15 != DRUMS
        if keyed and 0 <= event[1] + by < 128:
            return event[:1] + bytes([event[1] + by]) + event[2:]
        return event

    return each(file, change)


def part_missing(begin: float, end: float) -> Edit:
    """The notes of a part of its time removed, [begin, end) of 1; above 1: the last note, too."""

    def edit(file: File, random: np.random.Generator) -> File:
        last = _last(file)
        return without(file, lambda tick: begin * last <= tick < end * last)

    return edit


def retimed(file: File, clock: Callable[[int], float]) -> File:
    """Every event at another tick: `clock` tells the new one of an old one."""
    tracks = [[(round(clock(t)), e) for t, e in events] for events in file.tracks]
    return replace(file, tracks=tracks)


def notated_at(factor: float) -> Edit:
    """The same sound, notated with note values `factor` times as long."""

    def edit(file: File, random: np.random.Generator) -> File:
        return retimed(slowed(file, 1 / factor), lambda tick: tick * factor)

    return edit


def ticks_scaled(file: File, random: np.random.Generator) -> File:
    """Every tick by a factor of 1.04 to 1.25 or its inverse: played to another click."""
    factor = random.uniform(1.04, 1.25) ** random.choice([-1, 1])
    return retimed(file, lambda tick: tick * factor)


def drifting(file: File, random: np.random.Generator) -> File:
    """Recorded without a click: the beat drifts by some 2 % per beat, within 0.7 to 1.4 times."""
    beats = _last(file) // file.division + 2
    rate, rates = 0.0, []
    for change in random.normal(0, 0.02, beats):
        rate = min(max(rate + change, np.log(0.7)), np.log(1.4))
        rates.append(np.exp(rate))
    ticks = np.concatenate([[0.0], np.cumsum(rates)]) * file.division

    def clock(tick: int) -> float:
        beat = min(tick // file.division, beats - 1)
        return ticks[beat] + (tick - beat * file.division) * rates[beat]

    return retimed(file, clock)


def piano_reduction(file: File, random: np.random.Generator) -> File:
    """All notes but the drums' on one piano track."""
    parts = without_drums(file)
    played = sorted(
        ((t, bytes([e[0] & 0xF0]) + e[1:]) for events in parts.tracks for t, e in events
         if is_note(e)),
        key=lambda event: (event[0], is_on(event[1])),
    )  # fmt: skip
    rest = [
        [(t, e) for t, e in events if e[0] == 0xFF and e[:2] != NAME and e[:2] != END]
        for events in file.tracks
    ]
    conductor = sorted((one for events in rest for one in events), key=lambda event: event[0])
    last = max([t for t, _ in [*played, *conductor]], default=0)
    end = (last, END + b"\x00")
    return File(1, file.division, [[*conductor, end], [*played, end]])


EDITS: dict[str, Edit] = {
    "title": title,
    "tempo": lambda file, random: slowed(file, random.uniform(0.8, 1.25)),
    "velocities": lambda file, random: each(
        file, lambda e: e[:2] + bytes([int(random.integers(1, 128))]) if is_on(e) else e
    ),
    "track order": track_order,
    "resolution": resolution,
    "whole beats later": lambda file, random: later(
        file, file.division * int(random.integers(1, 5))
    ),
    "programs": program,
    "transposed": transposed,
    "drums dropped": lambda file, random: without_drums(file),
    "20 % of notes cut": lambda file, random: without(file, lambda tick: random.random() < 0.2),
    "off the grid": lambda file, random: later(file, int(random.integers(1, file.division))),
    "first quarter missing": part_missing(0, 0.25),
    "last quarter missing": part_missing(0.75, 2),
    "notated at half the tempo": notated_at(0.5),
    "notated at double the tempo": notated_at(2),
    "notated at 3/2 of the tempo": notated_at(1.5),
    "notated at 2/3 of the tempo": notated_at(2 / 3),
    "ticks scaled": ticks_scaled,
    "drifting beat": drifting,
    "piano reduction": piano_reduction,
}
