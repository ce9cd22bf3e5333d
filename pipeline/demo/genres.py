"""The tables that songs are drawn from: rhythms of each part, and genres that choose among them.

Conventions
    names     between spaces; one that is listed twice is drawn twice as often
    programs  General MIDI programs, from 0
    tempos    quarter notes per minute in every meter, as in MIDI
"""

from dataclasses import dataclass

BASS = {
    "roots": "r--- ----",
    "beats": "r---",
    "eighths": "r-r-",
    "fifths": "r--- 5---",
    "octaves": "r-8-",
    "walking": "r--- 3--- 5--- a---",
    "bossa": "r--5 --5-",
    "syncopated": "r--r ..r- 5--r --a-",
    "waltz": "r--- .... ....",
    "shuffle": "r-r- 5-5- 8-8- 5-5-",
}
"""Rhythms of the bass: 'r' root, '3' third, '5' fifth, '8' octave, 'a' the scale step that
approaches the next bar's root."""

CHORDS = {
    "held": "x--- ----",
    "beats": "x---",
    "off-beats": "..x.",
    "back-beats": ".... x-..",
    "eighths": "x-x-",
    "charleston": "x--- ..x-",
    "strummed": "x--- x-xx ..xx x-xx",
    "tresillo": "x--x --x-",
    "waltz": ".... x-.. x-..",
    "chops": "...x ..x. x..x ..x.",
}
"""Rhythms of the chords: 'x' the whole voicing."""

ARPEGGIOS = ((0, 1, 2, 3), (3, 2, 1, 0), (0, 1, 2, 3, 2, 1), (0, 2, 1, 2), (0, 2, 1, 3, 2, 4))
"""Indices into the voicing; past its top it continues an octave higher."""

GROOVES = {
    "rock": "kick X... .... X.x. .... | snare .... X... | hat x.x.",
    "drive": "kick X..x ..x. X..x .... | snare .... X... .... X..g | ride X.x.",
    "disco": "kick X... | snare .... X... | open_hat ..x. | hat x...",
    "house": "kick X... | clap .... X... | hat x.xx | shaker ..x.",
    "funk": "kick X..x ..x. ..x. .x.. | snare .... X..g .g.. X..g | hat xxXx",
    "ballad": "kick X... .... x... .... | rim .... X... | hat x.x.",
    "half-time": "kick X... ..x. .... .... | snare .... .... X... .... | hat x.x.",
    "bossa": "kick X..x | rim X..X ..X. ..X. .X.. | shaker x.x.",
    "one-drop": "kick .... .... X... .... | rim .... .... X... .... | hat x.x.",
    "swing": "ride X... x.x. | pedal .... x... | kick g... .... | snare .... ..g. .g.. ....",
    "shuffle": "kick X... .... X.x. .... | snare .... X... | hat X.x.",
    "waltz": "kick X... .... .... | snare .... x... x... | hat x...",
    "march": "kick X... | snare x.xx X.xx",
    "polka": "kick X... | snare ..x. | tambourine x.x.",
}
"""Drums, each with its rhythm: 'X' accent, 'x' stroke, 'g' ghost note."""

FILLS = ("sshm", "s.sshhml", "sshhmmll", "ks.shm", "s.s.hml.", "hhll", "sss.mml.", "s..s..hmll")
"""The last sixteenths of a section; each character is a drum of FILL_DRUMS."""

SOFT = "52 89 91 95 50"
STRINGS = "48 49 44"


@dataclass(frozen=True, kw_only=True)
class Genre:
    """A style of music, as choices for its songs."""

    folder: str
    meters: str
    tempos: tuple[int, int]
    """Slowest and fastest."""
    modes: str
    swing: bool = False
    bass: str
    chords: str
    grooves: str
    parts: str
    """Roles, the most important first, each with its programs; a song has at least the first three.
    `second` is a second voice, `double` the melody an octave higher, by a program of the second."""

    @property
    def programs(self) -> dict[str, list[int]]:
        """The programs of each role, by importance; none of the drums."""
        rows = [row.split() for row in self.parts.split(" | ")]
        found = {role: [*map(int, programs)] for role, *programs in rows}
        return found | ({"double": found["second"]} if "double" in found else {})


GENRES = (
    Genre(
        folder="rock", meters="4/4 4/4 4/4 4/4 6/8", tempos=(100, 170),
        modes="ionian mixolydian aeolian dorian",
        bass="eighths beats syncopated", chords="eighths beats strummed",
        grooves="rock drive half-time",
        parts="melody 29 30 80 81 | bass 33 34 35 | drums | chords 29 30 24 25 27 | second 29 30 "
        f"| pad 16 18 {SOFT} | double | arpeggio 27 28 4",
    ),
    Genre(
        folder="pop", meters="4/4 4/4 4/4 4/4 3/4 12/8", tempos=(84, 132),
        modes="ionian ionian aeolian mixolydian",
        bass="beats syncopated fifths octaves", chords="beats strummed off-beats held",
        grooves="rock disco ballad half-time",
        parts="melody 53 54 80 81 87 90 72 73 | bass 33 34 35 38 39 | drums | chords 0 2 4 24 25 "
        f"| pad {STRINGS} {SOFT} | arpeggio 8 10 11 12 46 4 27 | second 52 53 40 41 | double",
    ),
    Genre(
        folder="jazz", meters="4/4 4/4 4/4 3/4 5/4", tempos=(96, 180),
        modes="jazz jazz dorian", swing=True,
        bass="walking walking fifths", chords="charleston chops held", grooves="swing",
        parts="melody 64 65 66 68 71 56 57 11 | bass 32 35 | drums | chords 0 26 4 "
        f"| second 64 65 66 56 57 60 61 | arpeggio 11 26 | pad {STRINGS} | double",
    ),
    Genre(
        folder="blues", meters="12/8 4/4 4/4", tempos=(100, 140), modes="blues", swing=True,
        bass="shuffle walking", chords="charleston back-beats off-beats", grooves="shuffle ballad",
        parts="melody 22 27 29 66 | bass 32 33 34 35 | drums | chords 0 3 26 27 | pad 16 18 "
        "| second 22 56 57 60 61 | arpeggio 25 27",
    ),
    Genre(
        folder="latin", meters="4/4 4/4 2/4", tempos=(92, 150),
        modes="jazz dorian ionian",
        bass="bossa", chords="tresillo charleston off-beats", grooves="bossa",
        parts="melody 72 73 74 75 24 56 66 21 | bass 32 33 | drums | chords 0 24 4 "
        f"| pad {STRINGS} | arpeggio 24 12 46 | second 56 57 60 72 73 | double",
    ),
    Genre(
        folder="funk and soul", meters="4/4", tempos=(88, 120), modes="dorian mixolydian jazz",
        bass="syncopated octaves eighths", chords="chops off-beats back-beats",
        grooves="funk disco one-drop",
        parts="melody 65 66 61 81 | bass 36 37 33 | drums | chords 4 7 27 28 16 "
        f"| pad {STRINGS} {SOFT} | arpeggio 7 28 | second 56 57 60 61 | double",
    ),
    Genre(
        folder="electronic", meters="4/4 4/4 4/4 7/8", tempos=(112, 150), modes="aeolian dorian",
        bass="octaves eighths bossa", chords="off-beats tresillo held", grooves="house disco",
        parts=f"melody 80 81 87 90 | bass 38 39 | drums | arpeggio 80 84 11 98 | pad {SOFT} "
        "| chords 81 90 5 | second 85 87 54 | double",
    ),
    Genre(
        folder="ballads", meters="4/4 4/4 12/8 6/8 3/4", tempos=(60, 84),
        modes="ionian ionian aeolian harmonic_minor",
        bass="roots fifths beats", chords="held beats", grooves="ballad half-time",
        parts="melody 0 66 73 68 53 40 | chords 0 4 24 | bass 32 35 | drums "
        f"| pad {STRINGS} {SOFT} | arpeggio 0 24 46 | second 42 60 68",
    ),
    Genre(
        folder="folk", meters="6/8 6/8 4/4 3/4 3/4 2/4", tempos=(92, 152),
        modes="ionian dorian mixolydian aeolian",
        bass="fifths roots waltz", chords="strummed beats waltz", grooves="polka waltz march",
        parts="melody 110 72 74 21 22 40 | chords 25 105 21 | bass 32 | second 40 74 110 | drums "
        "| arpeggio 46 105 25 | pad 20 48",
    ),
    Genre(
        folder="chamber", meters="3/4 4/4 2/4 6/8", tempos=(66, 132),
        modes="ionian harmonic_minor aeolian",
        bass="beats roots fifths", chords="held beats", grooves="march",
        parts=f"melody 40 73 68 71 | bass 42 43 70 | second 41 60 71 68 | arpeggio 41 45 6 46 "
        f"| pad {STRINGS} | chords 6 0 46",
    ),
)  # fmt: skip
