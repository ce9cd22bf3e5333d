"""Genres: the meters, tempos, modes, styles and instruments that a song may choose from.

Where a field lists choices, each song draws one; a choice listed twice is drawn twice as often.
Tempos are quarter notes per minute in every meter, as in MIDI.
"""

from dataclasses import dataclass

ROLES = ("melody", "bass", "drums", "chords", "pad", "arpeggio", "second", "double")
"""Every part a song may have: `second` is a second voice, `double` the melody an octave higher."""

KEYS = (0, 2, 4, 6, 16, 18)
GUITARS = (24, 25, 27, 28)
LOUD_GUITARS = (29, 30)
HARP_LIKE = (8, 10, 11, 12, 46)
REEDS = (64, 65, 66, 68, 71)
BRASS = (56, 57, 60, 61)
STRINGS = (48, 49, 44)
SOFT = (52, 89, 91, 95, 50)
SYNTHS = (80, 81, 87, 90)
FLUTES = (72, 73, 74, 75)
BOWED = (40, 41, 42)
FINGERED = (33, 34, 35)


@dataclass(frozen=True, kw_only=True)
class Genre:
    """A style of music, as choices for its songs."""

    folder: str
    meters: tuple[str, ...]
    tempos: tuple[int, int]
    """Slowest and fastest, in quarter notes per minute."""
    modes: tuple[str, ...]
    roles: tuple[str, ...] = ROLES
    """Parts by importance; a song has at least the first three."""
    swing: bool = False
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    grooves: tuple[str, ...] = ()
    """Where the meter has none of these, any groove of the meter."""
    programs: dict[str, tuple[int, ...]]
    """General MIDI programs for each role but the drums; `double` takes the second's."""


GENRES = (
    Genre(
        folder="rock",
        meters=("4/4", "4/4", "4/4", "4/4", "6/8"),
        tempos=(100, 170),
        modes=("ionian", "mixolydian", "aeolian", "dorian"),
        roles=("melody", "bass", "drums", "chords", "second", "pad", "double", "arpeggio"),
        bass=("eighths", "beats", "syncopated"),
        chords=("eighths", "beats", "strummed"),
        grooves=("rock", "drive", "half time"),
        programs={
            "melody": LOUD_GUITARS + SYNTHS[:2],
            "bass": FINGERED,
            "chords": LOUD_GUITARS + GUITARS,
            "pad": (16, 18, *SOFT),
            "arpeggio": (27, 28, 4),
            "second": LOUD_GUITARS,
        },
    ),
    Genre(
        folder="pop",
        meters=("4/4", "4/4", "4/4", "4/4", "3/4", "12/8"),
        tempos=(84, 132),
        modes=("ionian", "ionian", "aeolian", "lydian"),
        bass=("beats", "syncopated", "root and fifth", "octaves"),
        chords=("beats", "strummed", "off beats", "held"),
        grooves=("rock", "disco", "ballad", "half time"),
        programs={
            "melody": (53, 54, *SYNTHS, *FLUTES),
            "bass": (*FINGERED, 38, 39),
            "chords": KEYS + GUITARS,
            "pad": STRINGS + SOFT,
            "arpeggio": (*HARP_LIKE, 4, 27),
            "second": (52, 53, *BOWED),
        },
    ),
    Genre(
        folder="jazz",
        meters=("4/4", "4/4", "4/4", "3/4", "5/4"),
        tempos=(96, 180),
        modes=("jazz", "jazz", "dorian"),
        roles=("melody", "bass", "drums", "chords", "second", "arpeggio", "pad", "double"),
        swing=True,
        bass=("walking", "walking", "root and fifth"),
        chords=("charleston", "chops", "held"),
        grooves=("swing", "jazz waltz", "cool"),
        programs={
            "melody": (*REEDS, 56, 57, 11),
            "bass": (32, 35),
            "chords": (0, 26, 4),
            "pad": STRINGS,
            "arpeggio": (11, 26),
            "second": REEDS + BRASS,
        },
    ),
    Genre(
        folder="blues",
        meters=("12/8", "4/4", "4/4"),
        tempos=(100, 140),
        modes=("blues",),
        roles=("melody", "bass", "drums", "chords", "pad", "second", "arpeggio"),
        swing=True,
        bass=("shuffle", "walking"),
        chords=("charleston", "back beats", "off beats"),
        grooves=("shuffle", "slow blues", "gospel"),
        programs={
            "melody": (22, 27, 29, 66),
            "bass": (32, *FINGERED),
            "chords": (0, 3, 26, 27),
            "pad": (16, 18),
            "arpeggio": (25, 27),
            "second": (22, *BRASS),
        },
    ),
    Genre(
        folder="latin",
        meters=("4/4",),
        tempos=(92, 150),
        modes=("jazz", "harmonic minor", "dorian", "ionian"),
        bass=("bossa", "tresillo"),
        chords=("tresillo", "charleston", "off beats"),
        grooves=("bossa", "salsa"),
        programs={
            "melody": (*FLUTES, 24, 56, 66, 21),
            "bass": (32, 33),
            "chords": (0, 24, 4),
            "pad": STRINGS,
            "arpeggio": (24, 12, 46),
            "second": BRASS + FLUTES,
        },
    ),
    Genre(
        folder="funk and soul",
        meters=("4/4",),
        tempos=(88, 120),
        modes=("dorian", "mixolydian", "jazz"),
        bass=("syncopated", "octaves", "eighths"),
        chords=("chops", "off beats", "back beats"),
        grooves=("funk", "disco", "one drop"),
        programs={
            "melody": (65, 66, 61, 81),
            "bass": (36, 37, 33),
            "chords": (4, 7, 27, 28, 16),
            "pad": STRINGS + SOFT,
            "arpeggio": (7, 28),
            "second": BRASS,
        },
    ),
    Genre(
        folder="electronic",
        meters=("4/4", "4/4", "4/4", "7/8"),
        tempos=(112, 150),
        modes=("aeolian", "dorian", "phrygian"),
        roles=("melody", "bass", "drums", "arpeggio", "pad", "chords", "second", "double"),
        bass=("octaves", "eighths", "tresillo"),
        chords=("off beats", "tresillo", "held"),
        grooves=("house", "disco"),
        programs={
            "melody": SYNTHS,
            "bass": (38, 39),
            "chords": (81, 90, 5),
            "pad": SOFT,
            "arpeggio": (80, 84, 11, 98),
            "second": (85, 87, 54),
        },
    ),
    Genre(
        folder="ballads",
        meters=("4/4", "4/4", "12/8", "6/8", "3/4"),
        tempos=(60, 84),
        modes=("ionian", "ionian", "aeolian", "harmonic minor"),
        roles=("melody", "chords", "bass", "drums", "pad", "arpeggio", "second"),
        bass=("roots", "root and fifth", "beats"),
        chords=("held", "beats"),
        grooves=("ballad", "slow six", "half time"),
        programs={
            "melody": (0, 66, 73, 68, 53, 40),
            "bass": (32, 35),
            "chords": (0, 4, 24),
            "pad": STRINGS + SOFT,
            "arpeggio": (0, 24, 46),
            "second": (42, 60, 68),
        },
    ),
    Genre(
        folder="folk",
        meters=("6/8", "6/8", "4/4", "3/4", "2/4"),
        tempos=(92, 152),
        modes=("ionian", "dorian", "mixolydian", "aeolian"),
        roles=("melody", "chords", "bass", "second", "drums", "arpeggio", "pad"),
        bass=("root and fifth", "roots"),
        chords=("strummed", "beats", "back beats"),
        grooves=("jig", "polka"),
        programs={
            "melody": (110, 72, 74, 21, 22, 40),
            "bass": (32,),
            "chords": (25, 105, 21),
            "pad": (20, 48),
            "arpeggio": (46, 105, 25),
            "second": (40, 74, 110),
        },
    ),
    Genre(
        folder="dances",
        meters=("3/4", "3/4", "2/4", "2/4"),
        tempos=(108, 180),
        modes=("ionian", "harmonic minor"),
        roles=("melody", "bass", "chords", "drums", "second", "arpeggio", "double"),
        bass=("waltz", "root and fifth"),
        chords=("waltz", "off beats"),
        grooves=("waltz", "polka", "march"),
        programs={
            "melody": (21, 40, 71, 73, 56),
            "bass": (58, 43, 32),
            "chords": (0, 21, 60),
            "pad": STRINGS,
            "arpeggio": (46, 45),
            "second": (71, 60, 41),
        },
    ),
    Genre(
        folder="progressive",
        meters=("7/8", "5/4", "7/8", "5/4", "6/8"),
        tempos=(96, 160),
        modes=("dorian", "lydian", "phrygian", "mixolydian"),
        roles=("melody", "bass", "drums", "arpeggio", "chords", "pad", "second", "double"),
        bass=("beats", "eighths", "syncopated"),
        chords=("beats", "held", "strummed"),
        programs={
            "melody": (29, 80, 81, 73),
            "bass": FINGERED,
            "chords": (18, 27, 30, 0),
            "pad": (52, 50, 95),
            "arpeggio": (11, 98, 4),
            "second": (29, 81, 40),
        },
    ),
    Genre(
        folder="chamber",
        meters=("3/4", "4/4", "2/4", "6/8"),
        tempos=(66, 132),
        modes=("ionian", "harmonic minor", "ionian", "aeolian"),
        roles=("melody", "bass", "second", "arpeggio", "pad", "chords"),
        bass=("beats", "roots", "root and fifth"),
        chords=("held", "beats"),
        programs={
            "melody": (40, 73, 68, 71),
            "bass": (42, 43, 70),
            "chords": (6, 0, 46),
            "pad": STRINGS,
            "arpeggio": (41, 45, 6, 46),
            "second": (41, 60, 71, 68),
        },
    ),
)
