"""Bass, chords, pad, arpeggio and drums, by the rhythms of `genres.py`."""

from collections.abc import Iterator

import numpy as np

from pipeline.demo.genres import FILLS
from pipeline.demo.harmony import Chord, Harmony, voicing
from pipeline.demo.randomness import choose
from pipeline.demo.rhythm import SIXTEENTH, Meter, Note, strokes

LOWEST_BASS = 28
"""E1, the lowest string of a bass."""

KEYS = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "low_tom": 43, "hat": 42, "pedal": 44,
    "open_hat": 46, "mid_tom": 47, "high_tom": 50, "crash": 49, "ride": 51, "tambourine": 54,
    "shaker": 70,
}  # fmt: skip
"""General MIDI percussion keys."""
VELOCITIES = {"X": 92, "x": 76, "g": 44}
FILL_DRUMS = {"s": "snare", "h": "high_tom", "m": "mid_tom", "l": "low_tom", "k": "kick"}


def _played(harmony: Harmony, rhythm: str, loud: int) -> Iterator[tuple[Note, str]]:
    """The strokes of a rhythm in every bar, as notes without a pitch, and their characters."""
    meter = harmony.meter
    for origin in range(0, harmony.length, meter.bar):
        for start, length, mark in strokes(rhythm, meter):
            yield Note(origin + start, length, 0, loud + meter.accent(start)), mark


def bass_line(harmony: Harmony, rhythm: str) -> list[Note]:
    """Play a rhythm of the bass over the chords."""
    return [
        note._replace(pitch=_bass_pitch(harmony, note.start, tone))
        for note, tone in _played(harmony, rhythm, 80)
    ]


def _bass_pitch(harmony: Harmony, pulse: int, tone: str) -> int:
    chord = harmony.chord_at(pulse)
    if tone == "a":
        goal = _bass_root(harmony.chord_at(pulse + harmony.meter.bar))
        scale = harmony.chord_scale_at(pulse)
        return next(step for step in (goal - 1, goal - 2, goal + 2, goal + 1) if step in scale)
    _, third, fifth, *_ = chord.intervals
    return _bass_root(chord) + {"r": 0, "3": third, "5": fifth, "8": 12}[tone]


def _bass_root(chord: Chord) -> int:
    return LOWEST_BASS + (chord.root - LOWEST_BASS) % 12


def chords(harmony: Harmony, rhythm: str, centre: int) -> list[Note]:
    """Play a rhythm of chords; each chord takes the inversion nearest to `centre`."""
    return [
        note._replace(pitch=pitch)
        for note, _ in _played(harmony, rhythm, 78)
        for pitch in voicing(harmony.chord_at(note.start), centre)
    ]


def pad(harmony: Harmony, centre: int) -> list[Note]:
    """Hold every chord."""
    bar = harmony.meter.bar
    return [
        Note(number * bar, bar, pitch, 78)
        for number, chord in enumerate(harmony.bars)
        for pitch in voicing(chord, centre)
    ]


def arpeggio(harmony: Harmony, order: tuple[int, ...], step: int, centre: int) -> list[Note]:
    """Break the chords into single notes.

    Args:
        harmony: the section's chords.
        order: of the tones of the voicing; it restarts in each bar.
        step: pulses from a note to the next.
        centre: the pitch around which the voicings lie.
    """
    meter, notes = harmony.meter, []
    for start in range(0, harmony.length, step):
        tones = voicing(harmony.chord_at(start), centre)
        within = start % meter.bar
        octave, tone = divmod(order[within // step % len(order)], len(tones))
        notes.append(Note(start, step, tones[tone] + 12 * octave, 78 + meter.accent(within)))
    return notes


def drum_part(meter: Meter, groove: str, bars: int, rng: np.random.Generator) -> list[Note]:
    """Play a groove, with a cymbal crash at the start and a fill at the end of the section.

    The hi-hat opens at the end of every fourth bar. The fill replaces the groove.
    """
    fill = choose(rng, FILLS)
    begin = bars * meter.bar - len(fill) * SIXTEENTH
    notes = [Note(0, SIXTEENTH, KEYS["crash"], 92)]
    for drum, _, rhythm in (line.partition(" ") for line in groove.split(" | ")):
        one_bar = [*strokes(rhythm, meter)]
        for bar in range(bars):
            for start, _, mark in one_bar:
                opens = drum == "hat" and bar % 4 == 3 and start == meter.bar - 2 * SIXTEENTH
                key = KEYS["open_hat" if opens else drum]
                notes.append(Note(bar * meter.bar + start, SIXTEENTH, key, VELOCITIES[mark]))
    notes = [note for note in notes if note.start < begin]
    for sixteenth, mark in enumerate(fill):
        if mark != ".":  # a fill grows louder towards the bar line
            start, key = begin + sixteenth * SIXTEENTH, KEYS[FILL_DRUMS[mark]]
            notes.append(Note(start, SIXTEENTH, key, 74 + 3 * sixteenth))
    return notes


def last_stroke(length: int) -> list[Note]:
    """The end of a song: kick and crash."""
    return [Note(0, length, KEYS[drum], 92) for drum in ("kick", "crash")]
