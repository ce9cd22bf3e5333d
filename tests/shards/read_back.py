"""Read the notes of a rendered MIDI file from mido's messages."""

from collections import defaultdict, deque

import mido

from shards.vocabulary import Vocabulary


def read_back(file: mido.MidiFile, vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """(start, duration, program or drum class, pitch, velocity) of each note; times in steps.

    A program change applies to its channel in all tracks, as in a synthesizer; a note-off ends
    its track's oldest note of that pitch.
    """
    step = file.ticks_per_beat // vocabulary.settings.steps_per_beat
    events = []
    for number, track in enumerate(file.tracks):
        now = 0
        for message in track:
            now += message.time
            events.append((now, number, message))
    events.sort(key=lambda event: (event[0], event[2].type != "program_change"))
    programs, sounding, notes = defaultdict(int), defaultdict(deque), []
    for tick, track, message in events:
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "note_on":
            drum = vocabulary.drum_classes[message.note]
            part = drum if message.channel == 9 else programs[message.channel]
            sounding[track, message.note].append((tick, part, message.velocity))
        elif message.type == "note_off":
            start, part, velocity = sounding[track, message.note].popleft()
            notes.append((start // step, (tick - start) // step, int(part), message.note, velocity))
    assert not any(sounding.values())
    return sorted(notes)
