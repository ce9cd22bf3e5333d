"""Which tracks have a name that says drums, in any of the encodings and languages met so far.

Kernels here call only kernels of this file; see events.py.
"""

import numpy as np
from numba import njit

TRACK_NAME, INSTRUMENT_NAME = 0x03, 0x04  # kinds of metas


def word_table(*words: bytes) -> np.ndarray:
    """Words in lower case, one a row, zeros behind each."""
    longest = max(map(len, words))
    return np.array([list(word.ljust(longest + 1, b"\0")) for word in words], np.uint8)


DRUMS = word_table(
    b"drum",
    b"batter",
    b"bater",
    b"schlagzeug",
    b"schlagwerk",
    b"\x83h\x83\x89\x83\x80",  # do-ra-mu in Shift JIS,
    b"\xe3\x83\x89\xe3\x83\xa9\xe3\x83\xa0",  # and in UTF-8
)
PERC, PERCEIVE = word_table(b"perc"), word_table(b"perceive")
KIT = word_table(b"kit")
PITCHED = word_table(b"timpan", b"timbal", b"pauke", b"kettle", b"steel", b"taiko", b"melodic")
"""Words of names of percussion with pitches, "steel drums" among them."""

IS_FIRST = np.zeros(256, bool)  # bytes that one of the words starts with
for table in (DRUMS, PERC, KIT, PITCHED):
    for byte in table[:, 0]:
        IS_FIRST[list(bytes([byte]) + bytes([byte]).upper())] = True


@njit(cache=True)
def in_lower_case(byte):
    """ASCII letters in lower case, other bytes as they are."""
    return byte + 32 if 65 <= byte <= 90 else byte


@njit(cache=True)
def is_letter(byte):
    """Whether this is an ASCII letter."""
    return 97 <= in_lower_case(byte) <= 122


@njit(cache=True)
def stands_at(words, data, at, stop):
    """Whether data[at:stop] starts with one of the words, in upper or lower case."""
    for w in range(len(words)):
        i = 0
        while words[w, i] and at + i < stop and in_lower_case(data[at + i]) == words[w, i]:
            i += 1
        if words[w, i] == 0:
            return True
    return False


@njit(cache=True)
def says_drums(data, at, stop):
    """Whether the name data[at:stop] holds a word for drums and none for pitched percussion.

    "perc" does not count in "perceive", nor "kit" beside a letter.
    """
    found = False
    for i in range(at, stop):
        if not IS_FIRST[data[i]]:
            continue
        if stands_at(PITCHED, data, i, stop):
            return False
        found |= stands_at(DRUMS, data, i, stop)
        found |= stands_at(PERC, data, i, stop) and not stands_at(PERCEIVE, data, i, stop)
        if stands_at(KIT, data, i, stop):
            found |= not (is_letter(data[i - 1]) or (i + 3 < stop and is_letter(data[i + 3])))
    return found


@njit(cache=True)
def named_tracks(metas, data, tracks):
    """Whether each track's name or instrument name says drums: bool, shape (tracks,)."""
    m_offset, m_length, m_kind, m_origin = metas[1], metas[2], metas[3], metas[4]
    named = np.zeros(tracks, np.bool_)
    for i in range(len(m_kind)):
        is_name = m_kind[i] == TRACK_NAME or m_kind[i] == INSTRUMENT_NAME
        if is_name and says_drums(data, m_offset[i], m_offset[i] + m_length[i]):
            named[m_origin[i] & 0xFFFF] = True
    return named
