"""Instrument names as a musician would type them -> instrument classes.

A name is a General MIDI program or any part of its name, a family, `drums` for all of them, a
program number from 0 to 127, or a drum. A whole name selects that class, a part of names all of
them: trumpet is the trumpet, guitar every guitar. Who is to play is one program for each name.
"""

import difflib

import numpy as np

from shards.codec import EncodedSong
from shards.errors import SettingError
from shards.gm import FAMILIES
from shards.vocabulary import NO_INSTRUMENT, PROGRAMS, Vocabulary

DRUMS = "drums"
FAMILY_NUMBERS = {name.lower(): number for number, (name, _) in enumerate(FAMILIES)}
"""Each family has eight consecutive programs."""


def parse_instruments(
    text: str, vocabulary: Vocabulary, *, option: str = "--instruments"
) -> np.ndarray:
    """Find the instrument classes that a list of names selects.

    Args:
        text: names separated by commas, such as `piano,fretless bass,drums`.
        vocabulary: whose classes they are.
        option: that they were given to; named in errors.

    Returns:
        shape (instruments,), bool.

    Raises:
        SettingError: no class fits a name; suggests the nearest name.
    """
    selected = np.zeros(vocabulary.instruments, bool)
    for name in text.split(","):
        selected[_classes(name.strip().lower(), vocabulary, option)] = True
    return selected


MEANT = {"strings": [40, 41, 42, 43, 44, 48, 49, 50, 51]}
"""Names that musicians use otherwise than General MIDI: its strings have harp and timpani, but no
string ensemble."""
TYPICAL = {"piano": 0, "chromatic percussion": 11, "organ": 16, "guitar": 25, "bass": 33,
           "strings": 48, "ensemble": 48, "choir": 52, "brass": 61, "sax": 65, "reed": 65,
           "pipe": 73, "synth lead": 80, "synth pad": 89}  # fmt: skip
"""The program that a name of several means, where the song plays none of them."""


def choose_instruments(
    text: str, vocabulary: Vocabulary, song: EncodedSong | None = None
) -> np.ndarray:
    """Choose the instrument classes that are to play: one program for each name.

    Where a name selects several, those that the song plays already, or else the typical one: who
    asks for a bass wants no eight of them.

    Args:
        text: as for `parse_instruments`.
        vocabulary: whose classes they are.
        song: what is there already.

    Returns:
        shape (instruments,), bool.

    Raises:
        SettingError: no class fits a name.
    """
    chosen, played = np.zeros((2, vocabulary.instruments), bool)
    if song is not None:
        played[song.instruments[song.instruments != NO_INSTRUMENT]] = True
    for name in text.split(","):
        name = name.strip().lower()
        classes = np.array(_classes(name, vocabulary))
        if len(classes) > 1 and classes.max() < PROGRAMS:
            typical = np.array([TYPICAL.get(name, int(classes[0]))])
            classes = classes[played[classes]] if played[classes].any() else typical
        chosen[classes] = True
    return chosen


def _classes(name: str, vocabulary: Vocabulary, option: str = "--instruments") -> list[int] | range:
    if name == DRUMS:
        return range(PROGRAMS, vocabulary.instruments)
    if name in MEANT:
        return MEANT[name]
    if name in FAMILY_NUMBERS:
        return range(8 * FAMILY_NUMBERS[name], 8 * FAMILY_NUMBERS[name] + 8)
    if name.isdecimal() and int(name) < PROGRAMS:
        return [int(name)]
    names = [known.lower() for known in vocabulary.instrument_names]
    if name in names:  # trumpet is the trumpet, not the muted one
        return [names.index(name)]
    matches = [number for number, known in enumerate(names) if name and name in known]
    if not matches:
        near = difflib.get_close_matches(name, [DRUMS, *FAMILY_NUMBERS, *names], n=1)
        families = ", ".join(FAMILY_NUMBERS)
        hint = f"did you mean {near[0]}?" if near else f"known: {DRUMS}, {families}, …"
        raise SettingError(f"{option}: no instrument is named {name!r}; {hint}")
    return matches
