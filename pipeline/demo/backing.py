"""Bass, chords, pad and arpeggio.

Conventions
    bass style    'r' root, '3' third, '5' fifth, '8' octave, 'a' the scale step that approaches the
                  next bar's root
    chord style   'x' the whole voicing
    arpeggio      indices into the voicing; past its top it continues an octave higher
"""

from pipeline.demo.harmony import Chord, Harmony, voicing
from pipeline.demo.rhythm import Note, Style, accent, bar_pattern, strokes

LOWEST_BASS = 28
"""E1, the lowest string of a bass."""

BASS_STYLES: dict[str, Style] = {
    "roots": (("r---", "----"), ("r-----", "------")),
    "beats": (("r---",), ("r-----",)),
    "eighths": (("r-r-",), ("r-r-r-",)),
    "root and fifth": (("r---", "5---"), ("r-----", "5-----")),
    "octaves": (("r-8-",), ("r-r-8-",)),
    "walking": (("r---", "3---", "5---", "a---"), ("r---3-", "5---a-")),
    "bossa": (("r--5", "--5-"), ("r---5-", "5---r-")),
    "syncopated": (("r--r", "..r-", "5--r", "--a-"), ("r--r--", "5-r-a-")),
    "tresillo": (("r--r", "--5-"), ("r---r-", "..5---")),
    "waltz": (("r---", "....", "...."), ("r---..", "5---..")),
    "shuffle": (("r-r-", "5-5-", "8-8-", "5-5-"), ("r---r-", "5---5-", "8---8-", "5---a-")),
}

CHORD_STYLES: dict[str, Style] = {
    "held": (("x---", "----"), ("x-----", "------")),
    "beats": (("x---",), ("x-----",)),
    "off beats": (("..x.",), ("..x.x.",)),
    "back beats": (("....", "x-.."), ("......", "x---..")),
    "eighths": (("x-x-",), ("x-x-x-",)),
    "charleston": (("x---", "..x-"), ("x-----", "....x-")),
    "strummed": (("x---", "x-xx", "..xx", "x-xx"), ("x---xx", "x-x-xx")),
    "tresillo": (("x--x", "--x-"), ("x---x-", "..x---")),
    "waltz": (("....", "x-..", "x-.."), ("..x-x-", "..x-x-")),
    "chops": (("...x", "..x.", "x..x", "..x."), ("..x..x", "..x.x.")),
}

ARPEGGIOS = {
    "up": (0, 1, 2, 3),
    "down": (3, 2, 1, 0),
    "up and down": (0, 1, 2, 3, 2, 1),
    "alberti": (0, 2, 1, 2),
    "skipping": (0, 2, 1, 3, 2, 4),
}


def bass_line(harmony: Harmony, style: str) -> list[Note]:
    """Play a bass style over the chords."""
    meter, notes = harmony.meter, []
    pattern = bar_pattern(BASS_STYLES[style], meter)
    for bar in range(len(harmony.bars)):
        origin = bar * meter.bar
        for start, length, tone in strokes(pattern):
            pitch = _bass_pitch(harmony, origin + start, origin + meter.bar, tone)
            notes.append(Note(origin + start, length, pitch, 80 + accent(meter, start)))
    return notes


def _bass_pitch(harmony: Harmony, pulse: int, next_bar: int, tone: str) -> int:
    chord = harmony.chord_at(pulse)
    root = bass_root(chord)
    if tone == "a":
        goal = bass_root(harmony.chord_at(next_bar))
        scale = harmony.chord_scale_at(pulse)
        return next(step for step in (goal - 1, goal - 2, goal + 2, goal + 1) if step in scale)
    return root + {"r": 0, "3": chord.intervals[1], "5": chord.intervals[2], "8": 12}[tone]


def bass_root(chord: Chord) -> int:
    """The root in the octave from E1 up."""
    return LOWEST_BASS + (chord.root - LOWEST_BASS) % 12


def chords(harmony: Harmony, style: str, centre: int) -> list[Note]:
    """Play a chord style; each chord takes the inversion nearest to `centre`."""
    meter, notes = harmony.meter, []
    pattern = bar_pattern(CHORD_STYLES[style], meter)
    for bar in range(len(harmony.bars)):
        origin = bar * meter.bar
        for start, length, _ in strokes(pattern):
            loud = 78 + accent(meter, start)
            for pitch in voicing(harmony.chord_at(origin + start), centre):
                notes.append(Note(origin + start, length, pitch, loud))
    return notes


def pad(harmony: Harmony, centre: int) -> list[Note]:
    """Hold every chord."""
    return [
        Note(start, length, pitch, 78)
        for start, length, chord in harmony.spans()
        for pitch in voicing(chord, centre)
    ]


def arpeggio(harmony: Harmony, order: str, step: int, centre: int) -> list[Note]:
    """Break the chords into single notes.

    Args:
        harmony: the section's chords.
        order: a name in ARPEGGIOS; the order restarts in each bar.
        step: pulses from a note to the next.
        centre: the pitch around which the voicings lie.
    """
    meter, notes = harmony.meter, []
    for origin in range(0, harmony.length, meter.bar):
        for count, start in enumerate(range(0, meter.bar, step)):
            tones = voicing(harmony.chord_at(origin + start), centre)
            octave, tone = divmod(ARPEGGIOS[order][count % len(ARPEGGIOS[order])], len(tones))
            pitch = tones[tone] + 12 * octave
            notes.append(Note(origin + start, step, pitch, 78 + accent(meter, start)))
    return notes
