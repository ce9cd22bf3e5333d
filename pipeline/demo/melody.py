"""Melodies: motifs that return, phrases that answer each other, and a second voice.

A motif is one bar of rhythm and contour. It is sung again over every chord: its first note goes
to a chord tone and the rest walk the chord's ladder, so it keeps its shape and changes its
pitches, as a sequence does. Four bars make a phrase; its last bar comes to rest.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from pipeline.demo.chance import happens, pick
from pipeline.demo.harmony import Harmony
from pipeline.demo.rhythm import COMPOUND_BEAT, SIMPLE_BEAT, Meter, Note, accent, strokes

CELLS = {
    ("calm", SIMPLE_BEAT): ("x---", "x---", "x-x-", "----", "x-x-", "..x-"),
    ("lively", SIMPLE_BEAT): ("x-x-", "x-xx", "xxx-", "x--x", "--x-", "x---", "x-x-"),
    ("calm", COMPOUND_BEAT): ("x-----", "x---x-", "x---x-", "------", "x-x-x-"),
    ("lively", COMPOUND_BEAT): ("x-x-x-", "x---x-", "x--xx-", "--x-x-", "x-x-xx"),
}
"""Rhythms of a beat in sixteenths; a leading '-' ties over from the beat before."""

STEPS = (-2, -1, -1, -1, -1, 0, 1, 1, 1, 1, 2, 3, -3)
"""Steps on the ladder between neighbours: mostly by step, a leap now and then."""

PERIODS = ("aab.aac.", "aba.abc.", "abc.aba.", "aab.cca.", "aba.cbc.", "aaa.aab.")
"""Which motif each of eight bars sings: two phrases, question and answer, each ending in a rest."""

ARCH = (0, 1, 3, 1, 0, 3, 5, 0)
"""Semitones above the centre that each bar of eight aims at: two phrases, the second higher."""

REACH = 9
"""Semitones a melody strays from its centre."""


@dataclass(frozen=True)
class Motif:
    """One bar of melody without its pitches."""

    strokes: tuple[tuple[int, int], ...]
    """Start and length of every note, in pulses."""
    contour: tuple[int, ...]
    """Steps on the ladder above the first note."""


def invent_motif(meter: Meter, mood: str, dice: np.random.Generator) -> Motif:
    """Draw a rhythm and a contour; a bar that came out all ties gets a note on its downbeat."""
    pattern = "".join(pick(dice, CELLS[mood, beat]) for beat in meter.beats)
    if pattern[0] == "-":
        pattern = "x" + pattern[1:]
    timed = tuple((start, length) for start, length, _ in strokes(pattern))
    contour = [0]
    for _ in timed[1:]:
        step = pick(dice, STEPS)
        contour.append(contour[-1] + (step if abs(contour[-1] + step) <= 4 else -step))
    return Motif(timed, tuple(contour))


def sing(harmony: Harmony, centre: int, mood: str, dice: np.random.Generator) -> list[Note]:
    """Compose a melody over a section.

    Args:
        harmony: the section's chords.
        centre: the pitch around which the melody moves.
        mood: "calm" or "lively": how many notes a beat has.
        dice: the song's own.
    """
    motifs = {name: invent_motif(harmony.meter, mood, dice) for name in "abc"}
    period = pick(dice, PERIODS)
    pickups = happens(dice, 50)
    notes: list[Note] = []
    for bar in range(len(harmony.bars)):
        goal = centre + ARCH[bar % len(ARCH)]
        name = period[bar % len(period)]
        if name == "." or bar == len(harmony.bars) - 1:
            notes += _rest_point(harmony, bar, goal, pickups)
        else:
            notes += _sing_bar(harmony, bar, motifs[name], goal, centre)
    return notes


def _sing_bar(harmony: Harmony, bar: int, motif: Motif, goal: int, centre: int) -> list[Note]:
    """One bar of a motif; notes on strong beats move to the nearest chord tone."""
    origin = bar * harmony.meter.bar
    anchor = nearest_chord_tone(harmony, origin, goal)
    notes = []
    for (start, length), steps in zip(motif.strokes, motif.contour, strict=True):
        pitches = harmony.ladder_at(origin + start)
        pitch = pitches[bisect_left(pitches, anchor) + steps]
        pitch = min(max(pitch, centre - REACH), centre + REACH)
        if start in harmony.meter.strong or length >= SIMPLE_BEAT:
            pitch = nearest_chord_tone(harmony, origin + start, pitch)
        else:
            pitch = pitches[bisect_left(pitches, pitch)]
        notes.append(Note(origin + start, length, pitch, 80 + accent(harmony.meter, start)))
    return notes


def _rest_point(harmony: Harmony, bar: int, goal: int, pickup: bool) -> list[Note]:
    """The end of a phrase: a long note, home at the section's end, then perhaps a pick-up."""
    origin, last_beat = bar * harmony.meter.bar, harmony.meter.beats[-1]
    long = harmony.meter.bar - last_beat
    pitch = nearest_chord_tone(harmony, origin, goal)
    notes = [Note(origin, long, pitch, 84)]
    if pickup:
        after = origin + harmony.meter.bar
        aim = nearest_chord_tone(harmony, after, goal)
        pitches = harmony.ladder_at(origin + long)
        place = bisect_left(pitches, aim)
        half = last_beat // 2
        notes.append(Note(origin + long, half, pitches[place - 2], 72))
        notes.append(Note(origin + long + half, half, pitches[place - 1], 76))
    return notes


def nearest_chord_tone(harmony: Harmony, pulse: int, pitch: int) -> int:
    """The tone of the chord at `pulse` nearest to `pitch`; of two as near, the lower."""
    classes = harmony.chord_at(pulse).classes
    return min(
        (tone for tone in range(pitch - 6, pitch + 7) if tone % 12 in classes),
        key=lambda tone: abs(tone - pitch),
    )


def second_voice(harmony: Harmony, melody: list[Note]) -> list[Note]:
    """Two steps of the ladder below the melody, where it gives time to hear it."""
    notes = []
    for note in melody:
        if note.length >= SIMPLE_BEAT // 2:
            pitches = harmony.ladder_at(note.start)
            pitch = pitches[bisect_left(pitches, note.pitch) - 2]
            notes.append(note._replace(pitch=pitch, velocity=note.velocity - 8))
    return notes


def guide_tones(harmony: Harmony, centre: int) -> list[Note]:
    """A slow line through the thirds (or sevenths) of the chords, each as near as can be."""
    notes, pitch = [], centre
    for start, length, chord in harmony.spans():
        classes = (
            {chord.classes[1], chord.classes[-1]} if len(chord.classes) > 3 else {chord.classes[1]}
        )
        options = [tone for tone in range(centre - 9, centre + 10) if tone % 12 in classes]
        pitch = min(options, key=lambda tone: abs(tone - pitch))
        notes.append(Note(start, length, pitch, 76))
    return notes
