"""Drum grooves and fills for the General MIDI kit.

Conventions
    groove  a drum tab of one bar: a line per drum, a character per sixteenth, 'X' accent,
            'x' stroke, 'g' ghost note, '.' silence
    fill    the last sixteenths of a section; each character is a drum of FILL_DRUMS
"""

import numpy as np

from pipeline.demo.randomness import choose
from pipeline.demo.rhythm import SIXTEENTH, Meter, Note

KEYS = {
    "kick": 36, "rim": 37, "snare": 38, "clap": 39, "low_tom": 43, "hat": 42, "pedal": 44,
    "open_hat": 46, "mid_tom": 47, "high_tom": 50, "crash": 49, "ride": 51, "bell": 53,
    "tambourine": 54, "cowbell": 56, "high_conga": 63, "low_conga": 64, "shaker": 70, "claves": 75,
}  # fmt: skip
"""General MIDI percussion keys."""

VELOCITIES = {"X": 92, "x": 76, "g": 44}
"""Velocities of the characters of a groove."""

FILL_DRUMS = {"s": "snare", "h": "high_tom", "m": "mid_tom", "l": "low_tom", "k": "kick"}

FILLS = ("sshm", "s.sshhml", "sshhmmll", "ks.shm", "s.s.hml.", "hhll", "sss.mml.", "s..s..hmll")

GROOVES: dict[str, dict[str, str]] = {
    "4/4": {
        "rock": """
            kick  X.......X.x.....
            snare ....X.......X...
            hat   x.x.x.x.x.x.x.x.
        """,
        "drive": """
            kick  X..x..x.X..x....
            snare ....X.......X..g
            ride  X.x.X.x.X.x.X.x.
        """,
        "disco": """
            kick     X...X...X...X...
            snare    ....X.......X...
            open_hat ..x...x...x...x.
            hat      x...x...x...x...
        """,
        "house": """
            kick   X...X...X...X...
            clap   ....X.......X...
            hat    x.xxx.xxx.xxx.xx
            shaker ..x...x...x...x.
        """,
        "funk": """
            kick     X..x..x...x..x..
            snare    ....X..g.g..X..g
            hat      xxXxxxXxxxXxxx.x
            open_hat ..............x.
        """,
        "ballad": """
            kick X.......x.......
            rim  ....X.......X...
            hat  x.x.x.x.x.x.x.x.
        """,
        "half time": """
            kick  X.....x.........
            snare ........X.......
            hat   x.x.x.x.x.x.x.x.
        """,
        "bossa": """
            kick   X..xX..xX..xX..x
            rim    X..X..X...X..X..
            shaker x.x.x.x.x.x.x.x.
        """,
        "salsa": """
            claves     X..X..X...X.X...
            cowbell    X.x.X.x.X.x.X.x.
            high_conga ....x.......x...
            low_conga  ......xx......xx
            kick       ...x..x....x..x.
        """,
        "one drop": """
            kick ........X.......
            rim  ........X.......
            hat  x.x.x.x.x.x.x.x.
        """,
        "swing": """
            ride  X...x.x.X...x.x.
            pedal ....x.......x...
            kick  g.......g.......
            snare ......g......g..
        """,
        "shuffle": """
            kick  X.......X.x.....
            snare ....X.......X...
            hat   X.x.X.x.X.x.X.x.
        """,
    },
    "3/4": {
        "waltz": """
            kick  X...........
            snare ....x...x...
            hat   x...x...x...
        """,
        "jazz waltz": """
            ride  X...x.x.x...
            pedal ....x.......
            kick  x.........g.
            snare ......g...g.
        """,
        "rock": """
            kick  X.....x.....
            snare ....X...X...
            hat   x.x.x.x.x.x.
        """,
    },
    "2/4": {
        "march": """
            kick  X...x...
            snare x.xxX.xx
        """,
        "polka": """
            kick  X...X...
            snare ..x...x.
            hat   x.x.x.x.
        """,
    },
    "5/4": {
        "three and two": """
            kick  X.....x.....X.......
            snare ....X...........X...
            hat   x.x.x.x.x.x.x.x.x.x.
        """,
        "cool": """
            ride  X...x.x.x...X...x.x.
            pedal ....x...........x...
            kick  X.........x.x.......
        """,
    },
    "6/8": {
        "slow six": """
            kick  X.........x.
            snare ......X.....
            hat   x.x.x.x.x.x.
        """,
        "jig": """
            kick       X.....X.....
            tambourine x...x.x...x.
            rim        ....x.....x.
        """,
    },
    "7/8": {
        "two two three": """
            kick  X.......X.....
            snare ....X.......X.
            hat   x.x.x.x.x.x.x.
        """,
        "restless": """
            kick  X..x..x.X..x..
            snare ....X.....X...
            ride  X.x.X.x.X.x.x.
        """,
    },
    "12/8": {
        "slow blues": """
            kick  X.........x.X...........
            snare ......X...........X.....
            hat   X.x.x.X.x.x.X.x.x.X.x.x.
        """,
        "gospel": """
            kick  X.........x.X...x.......
            snare ......X...........X.....
            ride  X...x.X...x.X...x.X...x.
        """,
    },
}


def drum_part(meter: Meter, groove: str, bars: int, rng: np.random.Generator) -> list[Note]:
    """Play a groove, with a cymbal crash at the start and a fill at the end of the section.

    The hi-hat opens at the end of every fourth bar. The fill replaces the groove.
    """
    notes = [Note(0, SIXTEENTH, KEYS["crash"], 92)]
    for bar in range(bars):
        notes += _groove_bar(meter, read_tab(groove), bar)
    return _with_fill(notes, choose(rng, FILLS), bars * meter.bar)


def read_tab(groove: str) -> dict[str, str]:
    """The lines of a drum tab, by drum."""
    return dict(line.split() for line in groove.strip().splitlines())


def _groove_bar(meter: Meter, lines: dict[str, str], bar: int) -> list[Note]:
    notes = []
    for drum, pattern in lines.items():
        for sixteenth, mark in enumerate(pattern):
            if mark == ".":
                continue
            opening = drum == "hat" and bar % 4 == 3 and sixteenth == len(pattern) - 2
            key = KEYS["open_hat" if opening else drum]
            start = bar * meter.bar + sixteenth * SIXTEENTH
            notes.append(Note(start, SIXTEENTH, key, VELOCITIES[mark]))
    return notes


def _with_fill(notes: list[Note], fill: str, end: int) -> list[Note]:
    begin = end - len(fill) * SIXTEENTH
    kept = [note for note in notes if note.start < begin]
    for sixteenth, mark in enumerate(fill):
        if mark != ".":
            start = begin + sixteenth * SIXTEENTH
            # A fill grows louder towards the bar line.
            kept.append(Note(start, SIXTEENTH, KEYS[FILL_DRUMS[mark]], 74 + 3 * sixteenth))
    return kept


def last_stroke(length: int) -> list[Note]:
    """The end of a song: kick and crash."""
    return [Note(0, length, KEYS[drum], 92) for drum in ("kick", "crash")]
