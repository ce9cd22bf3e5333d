"""Modes, Roman numerals, chord progressions and voicings.

Conventions
    pitch class  0-11, 0 is C
    numeral      the chord's root as a degree of the major scale on the tonic, whatever the mode,
                 so minor's sixth chord is bVI; lower case is a minor third; then the quality
    progression  numerals between spaces, one a bar
    chord scale  every pitch that fits the scale and the chord, ascending; melodies move along it
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from pipeline.demo.rhythm import Meter

DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
"""Semitones from the tonic to each degree of the major scale."""
QUALITIES = {
    "": (7,), "7": (7, 10), "maj7": (7, 11), "o7": (6, 10),
}  # fmt: skip
"""Semitones of fifth and seventh above the root by suffix; o7 is the half-diminished."""
MAJOR_THIRD, MINOR_THIRD = 4, 3
NUMERAL = re.compile(r"(b?)([IV]+|[iv]+)(maj7|o7|7)?")

MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")


@dataclass(frozen=True)
class Mode:
    """A scale and its chord progressions."""

    scale: tuple[int, ...]
    """Semitones above the tonic."""
    relative: int
    """Semitones from the tonic to the keynote of its key signature, a major key's."""
    tonic: str
    progressions: dict[str, tuple[str, ...]]
    """For verse, chorus and bridge."""


def _mode(scale: str, relative: int, tonic: str, **progressions: str) -> Mode:
    split = {name: tuple(text.split(" | ")) for name, text in progressions.items()}
    return Mode(tuple(map(int, scale.split())), relative, tonic, split)


MODES = {
    "ionian": _mode(
        "0 2 4 5 7 9 11", 0, "I",
        verse="I V vi IV | I vi IV V | I iii IV V | I IV I V | I V vi iii IV I IV V",
        chorus="IV V I vi | vi IV I V | I IV vi V | IV I V vi",
        bridge="ii V iii vi | IV V vi vi | IV iv I V | bVI bVII I I",
    ),
    "jazz": _mode(
        "0 2 4 5 7 9 11", 0, "Imaj7",
        verse="ii7 V7 Imaj7 vi7 | Imaj7 vi7 ii7 V7 | Imaj7 VI7 ii7 V7 iii7 VI7 ii7 V7",
        chorus="iii7 VI7 ii7 V7 | IVmaj7 iv7 iii7 VI7 ii7 V7 Imaj7 Imaj7",
        bridge="III7 III7 VI7 VI7 II7 II7 V7 V7 | iv7 bVII7 bIIImaj7 V7",
    ),
    "blues": _mode(
        "0 2 4 5 7 9 10", 5, "I7",
        verse="I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",
        chorus="I7 I7 I7 I7 IV7 IV7 I7 I7 ii7 V7 I7 V7 | "
        "I7 IV7 I7 I7 IV7 bVII7 I7 VI7 ii7 V7 I7 V7",
        bridge="IV7 IV7 I7 I7 II7 II7 V7 V7",
    ),
    "mixolydian": _mode(
        "0 2 4 5 7 9 10", 5, "I",
        verse="I bVII IV I | I I bVII IV | I v bVII I",
        chorus="IV bVII I I | I IV bVII IV",
        bridge="v IV v bVII | ii v IV bVII",
    ),
    "aeolian": _mode(
        "0 2 3 5 7 8 10", 3, "i",
        verse="i bVI bIII bVII | i iv bVII bIII | i i bVI bVII | i bVII bVI bVII",
        chorus="bVI bVII i i | i bIII bVII bVI | bVI bIII bVII i",
        bridge="iv v bVI bVII | iv bVII bIII V7 | bVI v iv V7",
    ),
    "dorian": _mode(
        "0 2 3 5 7 9 10", 10, "i",
        verse="i IV i IV | i7 IV7 i7 v7 | i bVII IV i",
        chorus="bIII IV i i | i ii bIII IV",
        bridge="v IV v IV | bVII IV bIII ii",
    ),
    "harmonic_minor": _mode(
        "0 2 3 5 7 8 11", 3, "i",
        verse="i iv V7 i | i V7 i V7 | i bVI iio7 V7",
        chorus="iv i V7 i | bVI iv i V7 | iv bVII bIII bVI iio7 V7 i i",
        bridge="bIII bVI iio7 V7 | iv iv i V7",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Chord:
    """A chord without its voicing."""

    root: int
    """Pitch class."""
    intervals: tuple[int, ...]
    """Semitones above the root, ascending from 0."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes, root first."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)


def chord(numeral: str, tonic: int) -> Chord:
    """Read a Roman numeral in a key: "V7" on C (0) is G B D F."""
    match = NUMERAL.fullmatch(numeral)
    if match is None:
        raise ValueError(f"{numeral!r} is not a chord numeral this module knows")
    flat, degree, suffix = match.groups()
    third = MAJOR_THIRD if degree.isupper() else MINOR_THIRD
    root = tonic + DEGREES[degree.upper()] - len(flat)
    return Chord(root % 12, (0, third, *QUALITIES[suffix or ""]))


@dataclass(frozen=True)
class Harmony:
    """The chords of one section, one a bar, which all parts share."""

    meter: Meter
    bars: tuple[Chord, ...]
    scale: tuple[int, ...]
    """Pitch classes of the key."""

    @property
    def length(self) -> int:
        """Pulses from the first bar line to the last."""
        return len(self.bars) * self.meter.bar

    def chord_at(self, pulse: int) -> Chord:
        """The chord that sounds at a pulse; past the end, the section begins again."""
        return self.bars[pulse // self.meter.bar % len(self.bars)]

    def chord_scale_at(self, pulse: int) -> tuple[int, ...]:
        """The pitches that a melody may use at a pulse."""
        return chord_scale(self.chord_at(pulse), self.scale)


def harmonize(progression: str, mode: Mode, tonic: int, meter: Meter, bars: int) -> Harmony:
    """Repeat a progression over `bars` bars; a tail that does not fit is left out."""
    chords = [chord(numeral, tonic) for numeral in progression.split()]
    scale = tuple((tonic + interval) % 12 for interval in mode.scale)
    return Harmony(meter, tuple(chords[bar % len(chords)] for bar in range(bars)), scale)


@lru_cache(maxsize=4096)
def chord_scale(chord: Chord, scale: tuple[int, ...]) -> tuple[int, ...]:
    """All MIDI pitches of the scale, adapted to the chord.

    A chord tone from outside the scale replaces the tone that it alters, so a melody never clashes
    with the chord. A major third replaces the tone below it (over E7 in A minor, G sharp replaces
    G), any other tone the one above it (over A flat in C, A flat and E flat replace A and E).
    """
    altered = {
        (tone + (-1 if interval == MAJOR_THIRD else 1)) % 12
        for tone, interval in zip(chord.classes, chord.intervals, strict=True)
        if tone not in scale
    }
    classes = (set(scale) - altered) | set(chord.classes)
    return tuple(pitch for pitch in range(128) if pitch % 12 in classes)


@lru_cache(maxsize=4096)
def voicing(chord: Chord, near: int) -> tuple[int, ...]:
    """The inversion in close position whose mean lies nearest to pitch `near`, ascending."""
    options = [
        tuple(lowest + (tone - lowest) % 12 for tone in chord.classes[turn:] + chord.classes[:turn])
        for turn in range(len(chord.classes))
        for lowest in range(near - 18, near + 12)
        if lowest % 12 == chord.classes[turn]
    ]
    return min(options, key=lambda pitches: abs(sum(pitches) - near * len(pitches)))


def key_name(tonic: int, mode: Mode) -> str:
    """The key signature as mido names it; a mode has that of its relative key."""
    relative_major = (tonic + mode.relative) % 12
    is_minor = MINOR_THIRD in mode.scale
    return MINOR_KEYS[(relative_major + 9) % 12] if is_minor else MAJOR_KEYS[relative_major]
