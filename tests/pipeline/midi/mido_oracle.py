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
    program_at = programs_of(tracks)
    notes = []
    for number, track in enumerate(tracks):
        sounding, ended, order = defaultdict(deque), {}, []
        port = 0
        for place, (tick, message) in enumerate(track):
            if message.type == "midi_port":
                port = message.port & 127
            if message.type not in ("note_on", "note_off"):
                continue
            key = (message.channel, message.note)
            if message.type == "note_on" and message.velocity:
                program = program_at(port, message.channel, (tick, number, place))
                sounding[key].append(len(order))
                order.append((tick, key, message.velocity, program))
            elif sounding[key]:
                ended[sounding[key].popleft()] = tick
        last_tick = track[-1][0] if track else 0
        longest = WHOLE_NOTE * file.ticks_per_beat
        for i, (start, key, velocity, program) in enumerate(order):
            end = ended.get(i)
            if end is None:
                later = [s for s, other, *_ in order[i + 1 :] if other == key and s > start]
                end = min([*later[:1], last_tick, start + longest])
            notes.append((start, number, *key, velocity, end, program))
    return sorted(notes, key=lambda note: note[:4])


def programs_of(tracks):
    """A function from (port, channel, (tick, track, place)) to the program in force there."""
    changes = defaultdict(list)
    for number, track in enumerate(tracks):
        port = 0
        for place, (tick, message) in enumerate(track):
            if message.type == "midi_port":
                port = message.port & 127
            if message.type == "program_change":
                changes[port, message.channel].append(((tick, number, place), message.program))
    for given in changes.values():
        given.sort()

    def program_at(port, channel, when):
        given = changes[port, channel]
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
