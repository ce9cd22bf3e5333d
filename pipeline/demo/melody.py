"""Melodies: motifs that return, phrases that answer each other, and a second voice.

A motif is one bar of rhythm and contour. It is repeated over other chords: its first note is a
chord tone and the others follow along the chord scale, so it keeps its shape and changes its
pitches, as a sequence does. Four bars make a phrase, which ends in a bar with a long note.
"""

from bisect import bisect_left

import numpy as np

from pipeline.demo.harmony import Harmony
from pipeline.demo.randomness import choose, happens
from pipeline.demo.rhythm import SIMPLE_BEAT, Meter, Note, strokes

CELLS = {
    "calm": ("x---", "x---", "x-x-", "----", "x-x-", "..x-"),
    "lively": ("x-x-", "x-xx", "xxx-", "x--x", "--x-", "x---", "x-x-"),
}
"""Rhythms of a beat; a leading '-' ties over from the beat before."""

STEPS = (-2, -1, -1, -1, -1, 0, 1, 1, 1, 1, 2, 3, -3)
"""Scale steps between neighbouring notes; leaps are rare."""

PERIODS = ("aab.aac.", "aba.abc.", "abc.aba.", "aab.cca.", "aba.cbc.", "aaa.aab.")
"""The motif of each of eight bars: two phrases, question and answer; '.' ends a phrase."""

ARCH = (0, 1, 3, 1, 0, 3, 5, 0)
"""Semitones above the centre at which each bar of eight starts; the second phrase is higher."""

REACH = 9
"""The most semitones between a melody and its centre."""

Motif = list[tuple[int, int, int]]
"""One bar of melody without its pitches: start, length, scale steps above the first note."""


def draw_motif(meter: Meter, mood: str, rng: np.random.Generator) -> Motif:
    """Draw a rhythm and a contour; a tie on the downbeat becomes a note."""
    rhythm = " ".join(choose(rng, CELLS[mood]) for _ in meter.beats)
    rhythm = rhythm.replace("-", "x", 1) if rhythm[0] == "-" else rhythm
    motif, height = [], 0
    for start, length, _ in strokes(rhythm, meter):
        motif.append((start, length, height))
        step = choose(rng, STEPS)
        height += step if abs(height + step) <= 4 else -step
    return motif


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
    period, pickups = choose(rng, PERIODS), happens(rng, 50)
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
    meter, origin = harmony.meter, bar * harmony.meter.bar
    anchor = nearest_chord_tone(harmony, origin, goal)
    pitches = harmony.chord_scale_at(origin)
    notes = []
    for start, length, steps in motif:
        pitch = pitches[bisect_left(pitches, anchor) + steps]
        pitch = min(max(pitch, centre - REACH), centre + REACH)
        if start in meter.strong or length >= SIMPLE_BEAT:
            pitch = nearest_chord_tone(harmony, origin, pitch)
        else:
            pitch = pitches[bisect_left(pitches, pitch)]
        notes.append(Note(origin + start, length, pitch, 80 + meter.accent(start)))
    return notes


def _cadence(harmony: Harmony, bar: int, goal: int, pickup: bool) -> list[Note]:
    """The end of a phrase: a long chord tone, then perhaps a pick-up to the next phrase."""
    origin, last_beat = bar * harmony.meter.bar, harmony.meter.beats[-1]
    after = origin + harmony.meter.bar
    notes = [
        Note(origin, after - last_beat - origin, nearest_chord_tone(harmony, origin, goal), 84)
    ]
    if pickup:
        pitches, half = harmony.chord_scale_at(origin), last_beat // 2
        aim = bisect_left(pitches, nearest_chord_tone(harmony, after, goal))
        notes.append(Note(after - last_beat, half, pitches[aim - 2], 72))
        notes.append(Note(after - half, half, pitches[aim - 1], 76))
    return notes


def nearest_chord_tone(harmony: Harmony, pulse: int, pitch: int) -> int:
    """The tone of the chord at `pulse` nearest to `pitch`; of two as near, the lower."""
    classes = harmony.chord_at(pulse).classes
    near = [tone for tone in range(pitch - 6, pitch + 7) if tone % 12 in classes]
    return min(near, key=lambda tone: abs(tone - pitch))


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
    notes, pitch, bar = [], centre, harmony.meter.bar
    for number, chord in enumerate(harmony.bars):
        classes = chord.classes[1:2] + chord.classes[3:]
        options = [tone for tone in range(centre - 9, centre + 10) if tone % 12 in classes]
        pitch = min(options, key=lambda tone: abs(tone - pitch))
        notes.append(Note(number * bar, bar, pitch, 76))
    return notes
