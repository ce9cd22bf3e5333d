"""Melodies: motifs that return, phrases that answer each other, and a second voice.

A motif is one bar of rhythm and contour. It is repeated over other chords: its first note is a
chord tone and the others follow along the chord scale, so it keeps its shape and changes its
pitches, as a sequence does. Four bars make a phrase, which ends in a bar with a long note.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from pipeline.demo.harmony import Harmony
from pipeline.demo.randomness import choose, happens
from pipeline.demo.rhythm import COMPOUND_BEAT, SIMPLE_BEAT, Meter, Note, accent, strokes

CELLS = {
    ("calm", SIMPLE_BEAT): ("x---", "x---", "x-x-", "----", "x-x-", "..x-"),
    ("lively", SIMPLE_BEAT): ("x-x-", "x-xx", "xxx-", "x--x", "--x-", "x---", "x-x-"),
    ("calm", COMPOUND_BEAT): ("x-----", "x---x-", "x---x-", "------", "x-x-x-"),
    ("lively", COMPOUND_BEAT): ("x-x-x-", "x---x-", "x--xx-", "--x-x-", "x-x-xx"),
}
"""Rhythms of a beat in sixteenths; a leading '-' ties over from the beat before."""

STEPS = (-2, -1, -1, -1, -1, 0, 1, 1, 1, 1, 2, 3, -3)
"""Scale steps between neighbouring notes; leaps are rare."""

PERIODS = ("aab.aac.", "aba.abc.", "abc.aba.", "aab.cca.", "aba.cbc.", "aaa.aab.")
"""The motif of each of eight bars: two phrases, question and answer; '.' ends a phrase."""

ARCH = (0, 1, 3, 1, 0, 3, 5, 0)
"""Semitones above the centre at which each bar of eight starts; the second phrase is higher."""

REACH = 9
"""The most semitones between a melody and its centre."""


@dataclass(frozen=True)
class Motif:
    """One bar of melody without its pitches."""

    strokes: tuple[tuple[int, int], ...]
    """Start and length of every note, in pulses."""
    contour: tuple[int, ...]
    """Scale steps above the first note."""


def draw_motif(meter: Meter, mood: str, rng: np.random.Generator) -> Motif:
    """Draw a rhythm and a contour; a tie on the downbeat becomes a note."""
    pattern = "".join(choose(rng, CELLS[mood, beat]) for beat in meter.beats)
    if pattern[0] == "-":
        pattern = "x" + pattern[1:]
    timed = tuple((start, length) for start, length, _ in strokes(pattern))
    contour = [0]
    for _ in timed[1:]:
        step = choose(rng, STEPS)
        contour.append(contour[-1] + (step if abs(contour[-1] + step) <= 4 else -step))
    return Motif(timed, tuple(contour))


def compose_melody(
    harmony: Harmony, centre: int, mood: str, rng: np.random.Generator
) -> list[Note]:
    """Compose a melody over a section.

    Args:
        harmony: the section's chords.
        centre: the pitch around which the melody moves.
        mood: "calm" or "lively": how many notes a beat has.
        rng: the song's.
    """
    motifs = {name: draw_motif(harmony.meter, mood, rng) for name in "abc"}
    period = choose(rng, PERIODS)
    pickups = happens(rng, 50)
    notes: list[Note] = []
    for bar in range(len(harmony.bars)):
        goal = centre + ARCH[bar % len(ARCH)]
        name = period[bar % len(period)]
        if name == "." or bar == len(harmony.bars) - 1:
            notes += _cadence(harmony, bar, goal, pickups)
        else:
            notes += _motif_bar(harmony, bar, motifs[name], goal, centre)
    return notes


def _motif_bar(harmony: Harmony, bar: int, motif: Motif, goal: int, centre: int) -> list[Note]:
    """One bar of a motif; notes on strong beats move to the nearest chord tone."""
    origin = bar * harmony.meter.bar
    anchor = nearest_chord_tone(harmony, origin, goal)
    notes = []
    for (start, length), steps in zip(motif.strokes, motif.contour, strict=True):
        pitches = harmony.chord_scale_at(origin + start)
        pitch = pitches[bisect_left(pitches, anchor) + steps]
        pitch = min(max(pitch, centre - REACH), centre + REACH)
        if start in harmony.meter.strong or length >= SIMPLE_BEAT:
            pitch = nearest_chord_tone(harmony, origin + start, pitch)
        else:
            pitch = pitches[bisect_left(pitches, pitch)]
        notes.append(Note(origin + start, length, pitch, 80 + accent(harmony.meter, start)))
    return notes


def _cadence(harmony: Harmony, bar: int, goal: int, pickup: bool) -> list[Note]:
    """The end of a phrase: a long chord tone, then perhaps a pick-up to the next phrase."""
    origin, last_beat = bar * harmony.meter.bar, harmony.meter.beats[-1]
    long = harmony.meter.bar - last_beat
    pitch = nearest_chord_tone(harmony, origin, goal)
    notes = [Note(origin, long, pitch, 84)]
    if pickup:
        after = origin + harmony.meter.bar
        aim = nearest_chord_tone(harmony, after, goal)
        pitches = harmony.chord_scale_at(origin + long)
        index = bisect_left(pitches, aim)
        half = last_beat // 2
        notes.append(Note(origin + long, half, pitches[index - 2], 72))
        notes.append(Note(origin + long + half, half, pitches[index - 1], 76))
    return notes


def nearest_chord_tone(harmony: Harmony, pulse: int, pitch: int) -> int:
    """The tone of the chord at `pulse` nearest to `pitch`; of two as near, the lower."""
    classes = harmony.chord_at(pulse).classes
    return min(
        (tone for tone in range(pitch - 6, pitch + 7) if tone % 12 in classes),
        key=lambda tone: abs(tone - pitch),
    )


def second_voice(harmony: Harmony, melody: list[Note]) -> list[Note]:
    """Two scale steps below the melody, under all notes but the shortest."""
    notes = []
    for note in melody:
        if note.length >= SIMPLE_BEAT // 2:
            pitches = harmony.chord_scale_at(note.start)
            pitch = pitches[bisect_left(pitches, note.pitch) - 2]
            notes.append(note._replace(pitch=pitch, velocity=note.velocity - 8))
    return notes


def guide_tones(harmony: Harmony, centre: int) -> list[Note]:
    """A slow line through the thirds or sevenths of the chords, each near the last."""
    notes, pitch = [], centre
    for start, length, chord in harmony.spans():
        classes = chord.classes[1:2] + chord.classes[3:]
        options = [tone for tone in range(centre - 9, centre + 10) if tone % 12 in classes]
        pitch = min(options, key=lambda tone: abs(tone - pitch))
        notes.append(Note(start, length, pitch, 76))
    return notes
