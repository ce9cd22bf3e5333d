"""What mido makes of a MIDI file, paired by the reader's stated rules: slow and obvious."""

import bisect
import io
import itertools
from collections import defaultdict, deque

import mido
from mido.midifiles.meta import KeySignatureError

WHOLE_NOTE = 4  # beats


def open_with_mido(data: bytes) -> mido.MidiFile | None:
    """The file, or None where mido refuses it, in whatever way."""
    try:
        return mido.MidiFile(file=io.BytesIO(data))
    except (OSError, EOFError, ValueError, IndexError, KeyError, KeySignatureError):
        return None


def tracks_of(file: mido.MidiFile) -> list[list[tuple[int, mido.Message]]]:
    """Each track as (absolute tick, message); those of a format 2 file end to end."""
    tracks, base = [], 0
    for track in file.tracks:
        tick, messages = base, []
        for message in track:
            tick += message.time
            messages.append((tick, message))
        tracks.append(messages)
        if file.type == 2:
            base = tick
    return tracks


def notes_of(file: mido.MidiFile) -> list[tuple]:
    """(start, track, channel, pitch, velocity, end, program), sorted by all but the last two."""
    tracks = tracks_of(file)
    program_at = programs_of(tracks, split=file.type == 1)
    silenced = silencers_of(tracks)
    notes = []
    for number, track in enumerate(tracks):
        events, order = defaultdict(list), []  # of each key: note numbers, or ticks of note-offs
        port = 0
        for place, (tick, message) in enumerate(track):
            if message.type == "midi_port":
                port = message.port & 127
            if message.type not in ("note_on", "note_off"):
                continue
            key = (message.channel, message.note)
            if message.type == "note_on" and message.velocity:
                program = program_at(port, message.channel, (tick, number, place))
                events[key].append(("on", len(order)))
                order.append((tick, key, message.velocity, program, port))
            else:
                events[key].append(("off", tick))
        starts = [start for start, *_ in order]
        ended = {}
        for of_key in events.values():
            ended |= pair(of_key, starts)
        last_tick = track[-1][0] if track else 0
        longest = WHOLE_NOTE * file.ticks_per_beat
        for i, (start, key, velocity, program, port) in enumerate(order):
            end = ended.get(i)
            if end is None:
                later = [s for s, other, *_ in order[i + 1 :] if other == key and s > start]
                limit = min([*later[:1], last_tick])
                off = [t for t in silenced[port, key[0]] if start < t <= limit]
                end = min(off) if off else min(limit, start + longest)
            notes.append((start, number, *key, velocity, end, program))
    return sorted(notes, key=lambda note: note[:4])


def pair(events: list[tuple[str, int]], starts: list[int]) -> dict[int, int]:
    """The ends of one key's notes, as far as note-offs tell them.

    Args:
        events: ("on", number of the note) and ("off", tick), in order.
        starts: the tick of each note.
    """
    if len(first_in_first_out(events)) == sum(kind == "on" for kind, _ in events):
        return first_in_first_out(events)
    sounding = []  # the innermost last: what stays here lost its note-off
    for kind, value in events:
        if kind == "on":
            sounding.append(value)
        elif sounding:
            sounding.pop()
    ends = first_in_first_out([e for e in events if e[0] == "off" or e[1] not in sounding])
    numbers = [value for kind, value in events if kind == "on"]
    for number, following in reversed(list(itertools.pairwise(numbers))):
        if number not in ends and starts[number] == starts[following] and following in ends:
            ends[number] = ends[following]  # struck twice at once
    return ends


def first_in_first_out(events: list[tuple[str, int]]) -> dict[int, int]:
    """A note-off ends the sounding note that started first."""
    sounding, ends = deque(), {}
    for kind, value in events:
        if kind == "on":
            sounding.append(value)
        elif sounding:
            ends[sounding.popleft()] = value
    return ends


def silencers_of(tracks):
    """For each (port, channel) the ticks of All Sound Off, All Notes Off and mode messages."""
    ticks = defaultdict(list)
    for track in tracks:
        port = 0
        for tick, message in track:
            if message.type == "midi_port":
                port = message.port & 127
            if message.type == "control_change" and message.control in (120, *range(123, 128)):
                ticks[port, message.channel].append(tick)
    return ticks


def programs_of(tracks, *, split: bool):
    """A function from (port, channel, (tick, track, place)) to the program in force there.

    With `split`, tracks that share a port and channel, each with its own program at or before its
    first note, and not all with the same one, are parts of their own.
    """
    changes, first_note = defaultdict(list), {}
    for number, track in enumerate(tracks):
        port = 0
        for place, (tick, message) in enumerate(track):
            when = (tick, number, place)
            if message.type == "midi_port":
                port = message.port & 127
            elif message.type == "program_change":
                changes[port, message.channel].append((when, message.program))
            elif message.type == "note_on" and message.velocity:
                tracks_of_part = first_note.setdefault((port, message.channel), {})
                tracks_of_part.setdefault(number, when)
    for given in changes.values():
        given.sort()
    apart = set()
    for part, first in first_note.items():
        own = [
            [p for at, p in changes[part] if at[1] == number and at < when]
            for number, when in first.items()
        ]
        if split and all(own) and len({programs[-1] for programs in own}) > 1:
            apart.add(part)

    def program_at(port, channel, when):
        part = port, channel
        given = [c for c in changes[part] if part not in apart or c[0][1] == when[1]]
        before = bisect.bisect_left(given, (when, -1))
        return given[before - 1][1] if before else 0

    return program_at


def tempos_of(file: mido.MidiFile) -> list[tuple[int, int]]:
    """(tick, microseconds a beat), the last of each tick; 0 is no tempo."""
    tempos = {
        tick: message.tempo
        for tick, message in by_tick(file)
        if message.type == "set_tempo" and message.tempo
    }
    return list(tempos.items())


def meters_of(file: mido.MidiFile) -> list[tuple[int, int, int]]:
    """(tick, numerator, denominator), the last of each tick; what no bar can have is left out."""
    meters = {
        tick: (message.numerator, message.denominator)
        for tick, message in by_tick(file)
        if message.type == "time_signature" and message.numerator and message.denominator <= 128
    }
    return [(tick, *meter) for tick, meter in meters.items()]


def by_tick(file: mido.MidiFile) -> list[tuple[int, mido.Message]]:
    """The messages of all tracks; those of one tick as in the file."""
    return sorted(itertools.chain.from_iterable(tracks_of(file)), key=lambda event: event[0])
