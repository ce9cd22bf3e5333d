"""Who may play: names as a musician would type them -> instrument classes.

A name is a General MIDI program's or any part of it, a family's, `drums` for all of them, a
program's number from 0 to 127, or a drum's name. One that fits several means all of them.
"""

import difflib

import numpy as np

from shards.errors import SettingError
from shards.gm import FAMILIES
from shards.vocabulary import PROGRAMS, Vocabulary

DRUMS = "drums"
FAMILY_OF = {name.lower(): number for number, (name, _) in enumerate(FAMILIES)}
"""Families by name; each has eight programs, one after the other."""


def parse_band(text: str, vocabulary: Vocabulary) -> np.ndarray:
    """Which classes a list of names means.

    Args:
        text: names with commas between them, such as `piano,fretless bass,drums`.

    Returns:
        shape (instruments,), bool.

    Raises:
        SettingError: a name fits nothing; names the nearest.
    """
    band = np.zeros(vocabulary.instruments, bool)
    for name in text.split(","):
        band[_classes(name.strip().lower(), vocabulary)] = True
    return band


def _classes(name: str, vocabulary: Vocabulary) -> list[int] | range:
    if name == DRUMS:
        return range(PROGRAMS, vocabulary.instruments)
    if name in FAMILY_OF:
        return range(8 * FAMILY_OF[name], 8 * FAMILY_OF[name] + 8)
    if name.isdecimal() and int(name) < PROGRAMS:
        return [int(name)]
    names = [known.lower() for known in vocabulary.instrument_names]
    found = [number for number, known in enumerate(names) if name and name in known]
    if not found:
        near = difflib.get_close_matches(name, [DRUMS, *FAMILY_OF, *names], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {DRUMS}, {', '.join(FAMILY_OF)}, …"
        raise SettingError(f"--instruments: no instrument is named {name!r}; {hint}")
    return found
