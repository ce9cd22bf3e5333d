"""Modes, Roman numerals, chord progressions and voicings.

Conventions
    pitch class  0-11, 0 is C
    numeral      the chord's root as a degree of the major scale on the tonic, whatever the mode,
                 so minor's sixth chord is bVI; lower case is a minor third; then the quality
    bar          one numeral, or two with a comma between them: the bar is split at its middle
    chord scale  every pitch that fits the scale and the chord, ascending; melodies move along it
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from pipeline.demo.rhythm import Meter

DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
"""Semitones from the tonic to each degree of the major scale."""

QUALITIES = {
    ("major", ""): (0, 4, 7),
    ("minor", ""): (0, 3, 7),
    ("major", "7"): (0, 4, 7, 10),
    ("minor", "7"): (0, 3, 7, 10),
    ("major", "maj7"): (0, 4, 7, 11),
    ("major", "6"): (0, 4, 7, 9),
    ("major", "sus4"): (0, 5, 7),
    ("minor", "o"): (0, 3, 6),
    ("minor", "o7"): (0, 3, 6, 10),
}
"""Semitones above the root, by case of the numeral and suffix; o7 is the half-diminished."""

MAJOR_THIRD = 4

NUMERAL = re.compile(r"(b?)([IV]+|[iv]+)(maj7|sus4|o7|o|6|7)?$")

MAJOR_KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_KEYS = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")


@dataclass(frozen=True)
class Mode:
    """A scale and its chord progressions."""

    scale: tuple[int, ...]
    """Semitones above the tonic."""
    minor: bool
    relative: int
    """Semitones from the tonic to the keynote of its key signature."""
    tonic: str
    verse: tuple[str, ...]
    chorus: tuple[str, ...]
    bridge: tuple[str, ...]


MODES = {
    "ionian": Mode(
        (0, 2, 4, 5, 7, 9, 11),
        False,
        0,
        "I",
        ("I V vi IV", "I vi IV V", "I iii IV V", "I IV I V", "I V vi iii IV I IV V"),
        ("IV V I vi", "vi IV I V", "I IV vi V", "IV I V vi"),
        ("ii V iii vi", "IV V vi vi", "IV iv I V", "bVI bVII I I"),
    ),
    "jazz": Mode(
        (0, 2, 4, 5, 7, 9, 11),
        False,
        0,
        "Imaj7",
        ("ii7 V7 Imaj7 vi7", "Imaj7 vi7 ii7 V7", "Imaj7,vi7 ii7,V7 iii7,VI7 ii7,V7"),
        ("iii7 VI7 ii7 V7", "IVmaj7 iv7 iii7 VI7 ii7 V7 Imaj7 Imaj7"),
        ("III7 III7 VI7 VI7 II7 II7 V7 V7", "iv7 bVII7 bIIImaj7 V7"),
    ),
    "blues": Mode(
        (0, 2, 4, 5, 7, 9, 10),
        False,
        5,
        "I7",
        ("I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7",),
        ("I7 I7 I7 I7 IV7 IV7 I7 I7 ii7 V7 I7 V7", "I7 IV7 I7 I7 IV7 bVII7 I7 VI7 ii7 V7 I7 V7"),
        ("IV7 IV7 I7 I7 II7 II7 V7 V7",),
    ),
    "mixolydian": Mode(
        (0, 2, 4, 5, 7, 9, 10),
        False,
        5,
        "I",
        ("I bVII IV I", "I I bVII IV", "I v bVII I"),
        ("IV bVII I I", "I IV bVII IV"),
        ("v IV v bVII", "ii v IV bVII"),
    ),
    "lydian": Mode(
        (0, 2, 4, 6, 7, 9, 11),
        False,
        7,
        "Imaj7",
        ("Imaj7 II Imaj7 II", "I II vii I"),
        ("I V II vi", "vi II I V"),
        ("iii vi vii II", "vi vii I II"),
    ),
    "aeolian": Mode(
        (0, 2, 3, 5, 7, 8, 10),
        True,
        3,
        "i",
        ("i bVI bIII bVII", "i iv bVII bIII", "i i bVI bVII", "i bVII bVI bVII"),
        ("bVI bVII i i", "i bIII bVII bVI", "bVI bIII bVII i"),
        ("iv v bVI bVII", "iv bVII bIII V7", "bVI v iv V7"),
    ),
    "dorian": Mode(
        (0, 2, 3, 5, 7, 9, 10),
        True,
        10,
        "i",
        ("i IV i IV", "i7 IV7 i7 v7", "i bVII IV i"),
        ("bIII IV i i", "i ii bIII IV"),
        ("v IV v IV", "bVII IV bIII ii"),
    ),
    "phrygian": Mode(
        (0, 1, 3, 5, 7, 8, 10),
        True,
        8,
        "i",
        ("i bII i bII", "i bII bIII bII"),
        ("bVI bvii i i", "bIII bII i i"),
        ("iv bIII bII bII", "bVI bII bIII bII"),
    ),
    "harmonic minor": Mode(
        (0, 2, 3, 5, 7, 8, 11),
        True,
        3,
        "i",
        ("i iv V7 i", "i V7 i V7", "i bVI iio7 V7"),
        ("iv i V7 i", "bVI iv i V7", "iv bVII bIII bVI iio7 V7 i i"),
        ("bIII bVI iio7 V7", "iv iv i V7"),
    ),
}


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
    match = NUMERAL.match(numeral)
    if match is None:
        raise ValueError(f"{numeral!r} is not a chord numeral this module knows")
    flat, degree, suffix = match.groups()
    case = "major" if degree.isupper() else "minor"
    root = tonic + DEGREES[degree.upper()] - len(flat)
    return Chord(root % 12, QUALITIES[case, suffix or ""])


@dataclass(frozen=True)
class Harmony:
    """The chords of one section, which all parts share."""

    meter: Meter
    bars: tuple[tuple[Chord, ...], ...]
    scale: tuple[int, ...]
    """Pitch classes of the key."""

    @property
    def length(self) -> int:
        """Pulses from the first bar line to the last."""
        return len(self.bars) * self.meter.bar

    def chord_at(self, pulse: int) -> Chord:
        """The chord that sounds at a pulse; past the end, the section begins again."""
        bar, offset = divmod(pulse % self.length, self.meter.bar)
        chords = self.bars[bar]
        return chords[-1] if offset >= self.meter.middle else chords[0]

    def chord_scale_at(self, pulse: int) -> tuple[int, ...]:
        """The pitches that a melody may use at a pulse."""
        return chord_scale(self.chord_at(pulse), self.scale)

    def spans(self) -> Iterator[tuple[int, int, Chord]]:
        """Every chord as (start, length, chord), in pulses."""
        bar, middle = self.meter.bar, self.meter.middle
        for number, chords in enumerate(self.bars):
            if len(chords) == 1:
                yield number * bar, bar, chords[0]
            else:
                yield number * bar, middle, chords[0]
                yield number * bar + middle, bar - middle, chords[1]


def harmonize(progression: str, mode: Mode, tonic: int, meter: Meter, bars: int) -> Harmony:
    """Repeat a progression over `bars` bars; a tail that does not fit is left out."""
    written = [
        tuple(chord(numeral, tonic) for numeral in bar.split(",")) for bar in progression.split()
    ]
    scale = tuple((tonic + interval) % 12 for interval in mode.scale)
    return Harmony(meter, tuple(written[bar % len(written)] for bar in range(bars)), scale)


@lru_cache(maxsize=4096)
def chord_scale(chord: Chord, scale: tuple[int, ...]) -> tuple[int, ...]:
    """All MIDI pitches of the scale, adapted to the chord.

    A chord tone from outside the scale replaces the tone that it alters, so a melody never clashes
    with the chord. A major third replaces the tone below it (over E7 in A minor, G sharp replaces
    G), any other tone the one above it (over A flat in C, A flat and E flat replace A and E).
    """
    altered = set()
    for interval in chord.intervals:
        tone = (chord.root + interval) % 12
        if tone not in scale:
            altered.add((tone + (-1 if interval == MAJOR_THIRD else 1)) % 12)
    classes = (set(scale) - altered) | set(chord.classes)
    return tuple(pitch for pitch in range(128) if pitch % 12 in classes)


@lru_cache(maxsize=4096)
def voicing(chord: Chord, near: int) -> tuple[int, ...]:
    """The inversion in close position whose mean lies nearest to pitch `near`, ascending."""
    options = []
    for turn in range(len(chord.intervals)):
        classes = chord.classes[turn:] + chord.classes[:turn]
        for lowest in range(near - 18, near + 12):
            if lowest % 12 == classes[0]:
                options.append(tuple(lowest + (tone - classes[0]) % 12 for tone in classes))
    return min(options, key=lambda pitches: abs(sum(pitches) - near * len(pitches)))


def key_name(tonic: int, mode: Mode) -> str:
    """The key signature as mido names it; a mode has that of its relative key."""
    relative_major = (tonic + mode.relative) % 12
    return MINOR_KEYS[(relative_major + 9) % 12] if mode.minor else MAJOR_KEYS[relative_major]
