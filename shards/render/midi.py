"""Write a song as a .mid file that any player plays, and that reads back note for note.

The first track holds meters and tempos; then follows one track per instrument, named after it.
Two facts of MIDI shape the rest:

- A note-off ends the oldest sounding note of its pitch. Where one note of a pitch lies inside
  another (two players in unison, merged into one instrument), the inner one goes to a second
  track of the instrument, or their ends would be swapped.
- There are sixteen channels, one of them for drums. The fourteen programs with the most notes
  have a channel each; the others share the last, with a program change wherever it changes hands.

Pitch bends are written for a range of an octave, which registered parameter 0 sets on each
channel that has any.

Source: Standard MIDI Files 1.0; General MIDI 1 (channel 10 is percussion); MIDI 1.0, registered
parameter 0 (pitch bend sensitivity).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np

from shards.song import BEND, MODULATION, Song
from shards.vocabulary import MAX_BEND_CENTS, PROGRAMS, Vocabulary
from shards.writer import publish

Message = mido.Message | mido.MetaMessage
DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
MIN_TICKS_PER_BEAT = 480
"""A file has this many ticks per quarter note, or the next multiple of the song's steps."""


def write_midi(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    """Write a song as a standard MIDI file of format 1, all or nothing.

    Args:
        song: canonical.
        path: replaced if it exists.
        vocabulary: names the instruments.
    """
    publish(path, lambda file: to_midi(song, vocabulary).save(file=file))


def to_midi(song: Song, vocabulary: Vocabulary) -> mido.MidiFile:
    """The song as a mido file in memory."""
    step_ticks = -(-MIN_TICKS_PER_BEAT // song.steps_per_beat)
    file = mido.MidiFile(type=1, ticks_per_beat=step_ticks * song.steps_per_beat)
    file.tracks.append(_conductor(song, step_ticks))
    program = np.where(song.notes["instrument"] < PROGRAMS, song.notes["instrument"], PROGRAMS)
    channels = _channels(program)
    switches = _program_changes(song.notes["start"], program, channels)
    messages = _channel_messages(song, switches, channels)
    for instrument in np.unique(program).tolist():
        name = "Drums" if instrument == PROGRAMS else vocabulary.instrument_names[instrument]
        own = song.notes[program == instrument]
        voices = unnested_voices(own)
        for voice in range(voices.max() + 1):
            notes = own[voices == voice]
            changes = messages[instrument]
            if voice:  # other readers keep a program per track, and hear a piano without
                changes = [at for at in changes if at[1].dict()["type"] == "program_change"]
            file.tracks.append(_track(name, notes, channels[instrument], changes, step_ticks))
    return file


def _channels(program: np.ndarray) -> dict[int, int]:
    """The channel of each instrument; drums are the instrument numbered PROGRAMS."""
    counts = Counter(program.tolist())
    counts.pop(PROGRAMS, None)
    by_size = sorted(counts, key=lambda instrument: (-counts[instrument], instrument))
    last = len(MELODIC_CHANNELS) - 1
    channels = {instrument: MELODIC_CHANNELS[min(n, last)] for n, instrument in enumerate(by_size)}
    return {**channels, PROGRAMS: DRUM_CHANNEL}


def _program_changes(
    starts: np.ndarray, program: np.ndarray, channels: dict[int, int]
) -> list[tuple[int, int]]:
    """(step, instrument) of each program change; a channel's first is at step 0."""
    holder: dict[int, int] = {}
    changes = []
    for step, instrument in zip(starts.tolist(), program.tolist(), strict=True):
        channel = channels[instrument]
        if instrument != PROGRAMS and holder.get(channel) != instrument:
            changes.append((step if channel in holder else 0, instrument))
            holder[channel] = instrument
    return changes


def _channel_messages(
    song: Song, switches: list[tuple[int, int]], channels: dict[int, int]
) -> dict[int, list[tuple[int, mido.Message]]]:
    """Per instrument: (step, message) of its program changes, bends and modulations, in order.

    A channel that changes hands takes over the new instrument's control values. What an
    instrument does while another has its channel is left out.
    """
    messages: dict[int, list[tuple[int, mido.Message]]] = defaultdict(list)
    holder: dict[int, int] = {}
    current: dict[tuple[int, int], int] = {}  # instrument, kind -> value
    written: dict[tuple[int, int], int] = {}  # channel, kind -> value
    bent = set(song.controls["instrument"][song.controls["kind"] == BEND].tolist())
    for instrument in bent & set(channels):
        messages[instrument] += [(0, message) for message in _octave_range(channels[instrument])]
    turns = [(step, 1, instrument, None) for step, instrument in switches]
    turns += [
        (step, 0, instrument, (kind, value))
        for step, instrument, kind, value in song.controls.tolist()
    ]
    for step, _, instrument, control in sorted(turns, key=lambda turn: turn[:2]):
        channel = channels.get(instrument)
        if channel is None:
            continue  # it never plays
        if control is None:
            holder[channel] = instrument
            program = mido.Message("program_change", channel=channel, program=instrument)
            messages[instrument].append((step, program))
        else:
            current[instrument, control[0]] = control[1]
        if holder.get(channel) != instrument:
            continue
        for kind in (BEND, MODULATION):
            value = current.get((instrument, kind), 0)
            if value != written.get((channel, kind), 0):
                written[channel, kind] = value
                messages[instrument].append((step, _control_message(channel, kind, value)))
    return messages


def _octave_range(channel: int) -> list[mido.Message]:
    """Set the pitch bend range to an octave, then deselect the parameter."""
    settings = ((101, 0), (100, 0), (6, MAX_BEND_CENTS // 100), (38, 0), (101, 127), (100, 127))
    return [
        mido.Message("control_change", channel=channel, control=control, value=value)
        for control, value in settings
    ]


def _control_message(channel: int, kind: int, value: int) -> mido.Message:
    if kind == BEND:
        pitch = min(round(value * 8192 / MAX_BEND_CENTS), 8191)
        return mido.Message("pitchwheel", channel=channel, pitch=pitch)
    return mido.Message("control_change", channel=channel, control=1, value=value)


def unnested_voices(notes: np.ndarray) -> np.ndarray:
    """Split an instrument into voices; within one, notes of a pitch end in the order they start.

    Args:
        notes: shape (notes,), dtype NOTE, by start.

    Returns:
        shape (notes,), int64; the voice of each note, 0 for most.
    """
    last_end: dict[tuple[int, int], int] = {}
    voices = np.zeros(len(notes), np.int64)
    for n, note in enumerate(notes[["pitch", "start", "duration"]].tolist()):
        pitch, start, duration = note
        while last_end.get((pitch, int(voices[n])), 0) > start + duration:
            voices[n] += 1
        last_end[pitch, int(voices[n])] = start + duration
    return voices


def _conductor(song: Song, step_ticks: int) -> mido.MidiTrack:
    messages = [
        (start * step_ticks, mido.MetaMessage("time_signature", numerator=n, denominator=d))
        for start, n, d in song.meters.tolist()
    ]
    messages += [
        (start * step_ticks, mido.MetaMessage("set_tempo", tempo=tempo))
        for start, tempo in song.tempos.tolist()
    ]
    messages.sort(key=lambda timed: timed[0])
    return _delta(messages, song.end * step_ticks)


def _track(
    name: str,
    notes: np.ndarray,
    channel: int,
    changes: Sequence[tuple[int, Message]],
    step_ticks: int,
) -> mido.MidiTrack:
    """One voice of an instrument; a note-off sorts before a note-on of the same tick."""
    timed: list[tuple[int, int, Message]] = [(-1, 0, mido.MetaMessage("track_name", name=name))]
    timed += [(step * step_ticks, 1, message) for step, message in changes]
    for start, duration, _, pitch, velocity in notes.tolist():
        on = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
        off = mido.Message("note_off", channel=channel, note=pitch, velocity=0)
        timed.append((start * step_ticks, 2, on))
        timed.append(((start + duration) * step_ticks, 0, off))
    timed.sort(key=lambda message: message[:2])
    return _delta([(max(tick, 0), message) for tick, _, message in timed], timed[-1][0])


def _delta(timed: Sequence[tuple[int, Message]], end: int) -> mido.MidiTrack:
    """A track of (tick, message) pairs in order, with ticks as differences."""
    track, now = mido.MidiTrack(), 0
    for tick, message in timed:
        message = message.copy()  # without new values, which would have all of them checked again
        message.time = tick - now
        track.append(message)
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    return track
