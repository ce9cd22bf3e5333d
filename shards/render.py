"""Song -> a .mid file that any player plays and any reader reads back note for note.

One track an instrument, named after it, and a first track with meters and tempos. Two facts of
MIDI shape the rest:

- A note-off ends the oldest sounding note of its pitch. Where one note of a pitch lies inside
  another (two players in unison, merged into one instrument), the inner one goes to a second
  track of the instrument, or their ends would be swapped.
- There are sixteen channels, one of them for drums. The fifteen programs with most notes have
  a channel each; the others share the last, with a program change wherever it changes hands.

Source: Standard MIDI Files 1.0; General MIDI 1 (channel 10 is percussion).
"""

from collections import Counter
from pathlib import Path

import mido
import numpy as np

from shards.song import Song
from shards.vocabulary import PROGRAMS, Vocabulary
from shards.writer import publish

DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
FINEST_TICKS = 480
"""Ticks in a quarter note, or the next multiple of the song's steps."""


def write_midi(song: Song, path: Path, vocabulary: Vocabulary) -> None:
    """Write a song as a standard MIDI file of format 1, all or nothing.

    Args:
        song: canonical.
        path: where; replaced if it exists.
        vocabulary: gives the instruments' names, and the drums among them.
    """
    publish(path, lambda file: to_midi(song, vocabulary).save(file=file))


def to_midi(song: Song, vocabulary: Vocabulary) -> mido.MidiFile:
    """The song as a mido file, in memory."""
    step_ticks = -(-FINEST_TICKS // song.steps_per_beat)
    file = mido.MidiFile(type=1, ticks_per_beat=step_ticks * song.steps_per_beat)
    file.tracks.append(_conductor(song, step_ticks))
    program = np.where(song.notes["instrument"] < PROGRAMS, song.notes["instrument"], PROGRAMS)
    channels = _channels(program)
    switches = _program_changes(song.notes["start"], program, channels)
    for part in np.unique(program).tolist():
        name = "Drums" if part == PROGRAMS else vocabulary.instrument_names[part]
        own = song.notes[program == part]
        voices = unnested_voices(own)
        for voice in range(voices.max() + 1):
            notes = own[voices == voice]
            changes = [s for s in switches if s[1] == part] if voice == 0 else []
            file.tracks.append(_track(name, notes, channels[part], changes, step_ticks))
    return file


def _channels(program: np.ndarray) -> dict[int, int]:
    """The channel of each part; drums are the part numbered PROGRAMS."""
    counts = Counter(program.tolist())
    counts.pop(PROGRAMS, None)
    by_size = sorted(counts, key=lambda part: (-counts[part], part))
    last = len(MELODIC_CHANNELS) - 1
    channels = {part: MELODIC_CHANNELS[min(n, last)] for n, part in enumerate(by_size)}
    return {**channels, PROGRAMS: DRUM_CHANNEL}


def _program_changes(
    starts: np.ndarray, program: np.ndarray, channels: dict[int, int]
) -> list[tuple[int, int]]:
    """(step, part) wherever a channel changes hands; once, at step 0, for a channel of its own."""
    holder: dict[int, int] = {}
    changes = []
    for step, part in zip(starts.tolist(), program.tolist(), strict=True):
        channel = channels[part]
        if part != PROGRAMS and holder.get(channel) != part:
            changes.append((step if channel in holder else 0, part))
            holder[channel] = part
    return changes


def unnested_voices(notes: np.ndarray) -> np.ndarray:
    """Split one part's notes so that within a voice, notes of a pitch end in the order they start.

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
    name: str, notes: np.ndarray, channel: int, changes: list[tuple[int, int]], step_ticks: int
) -> mido.MidiTrack:
    """One part: its name, its program changes, its notes; an end sorts before a start."""
    timed = [(-1, 0, mido.MetaMessage("track_name", name=name))]
    for step, program in changes:
        message = mido.Message("program_change", channel=channel, program=program)
        timed.append((step * step_ticks, 1, message))
    for start, duration, _, pitch, velocity in notes.tolist():
        on = mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)
        off = mido.Message("note_off", channel=channel, note=pitch, velocity=0)
        timed.append((start * step_ticks, 2, on))
        timed.append(((start + duration) * step_ticks, 0, off))
    timed.sort(key=lambda message: message[:2])
    return _delta([(max(tick, 0), message) for tick, _, message in timed], timed[-1][0])


def _delta(timed: list[tuple[int, mido.Message]], end: int) -> mido.MidiTrack:
    """A track of (tick, message) in order, times turned into differences."""
    track, now = mido.MidiTrack(), 0
    for tick, message in timed:
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    return track
