"""Which notes are a drum kit's.

Channel 10 is one by General MIDI; the rest of the world has three ways to make another channel
one, or channel 10 none, and Lakh holds them all. In order of authority, each note takes the first
that speaks for its part (port and channel) when it starts:

    gs_part_mode    Roland GS SysEx 40 1x 15, "use for rhythm part": map 1 or 2, or off
    xg_part_mode    Yamaha XG SysEx 08 pp 07, part mode: drums, or normal
    xg_bank         XG bank 127 (kits) or 126 (effect kits), taken up by a program change
    gm2_bank        General MIDI 2 bank 120 (kits), or 121 (melodic, even on channel 10)
    channel_10      General MIDI
    track_name      last hint: the track says "drums" and the notes look like drums

A decision for "no kit" has the same name with _off. In GS, banks 126 and 127 hold the melodic
sounds of older machines; where a file names neither maker, or both, banks 126 and 127 count as
xg_bank only if the notes look like drums. A reset (GM, GM2, GS, XG) takes every part of its port
back to its default. A part is taken to listen to the channel of its own number.

Source:
    Roland GS (address 40 1x 15, use for rhythm part), Yamaha XG (multi part 08 nn 07, part mode),
    General MIDI 2 (RP-024, bank select of rhythm and melody channels).
"""

import re
from collections.abc import Iterator

import numpy as np
from numba import njit

from pipeline.midi.notes import in_force

SYSEX, TRACK_NAME, INSTRUMENT_NAME = 0xF0, 0x03, 0x04  # kinds of marks
DRUM_CHANNEL = 9  # called channel 10, counting from 1

DECISIONS = (
    "",  # melodic, because nothing says otherwise
    "channel_10",
    "gs_part_mode",
    "gs_part_mode_off",
    "xg_part_mode",
    "xg_part_mode_off",
    "xg_bank",
    "gm2_bank",
    "gm2_bank_off",
    "track_name",
    "unclear_bank",  # 126 or 127 of an unknown maker: to be decided by the notes
)
NONE, CHANNEL_10, GS_ON, GS_OFF, XG_ON, XG_OFF, XG_BANK, GM2_ON, GM2_OFF, NAME, UNCLEAR = range(11)
IS_DRUM = np.array([code in (1, 2, 4, 6, 7, 9) for code in range(len(DECISIONS))])

NOT_SAID, GS, XG = 0, 1, 2  # whose dialect the file speaks

NAMES_DRUMS = re.compile(
    rb"drum|perc(?!eive)|(?<![a-z])kit(?![a-z])|batter|bater|schlag(?:zeug|werk)|"
    rb"\x83h\x83\x89\x83\x80|\xe3\x83\x89\xe3\x83\xa9\xe3\x83\xa0",  # do-ra-mu: Shift JIS, UTF-8
    re.IGNORECASE,
)
KICKS, SNARES, HATS = (35, 36), (38, 40), (42, 44, 46)
FEWEST_NOTES = 8  # that a hint needs before it may look at them


@njit(cache=True)
def dialect(data, x_place, x_length):
    """The maker that the file's SysEx messages name, if it is one only; see NOT_SAID, GS, XG."""
    gs, xg = False, False
    for i in range(len(x_place)):
        at = x_place[i]
        if x_length[i] >= 7:
            gs |= data[at] == 0x41 and data[at + 2] == 0x42 and data[at + 3] == 0x12
            xg |= data[at] == 0x43 and data[at + 1] >> 4 == 1 and data[at + 2] == 0x4C
    return GS if gs and not xg else XG if xg and not gs else NOT_SAID


@njit(cache=True)
def is_reset(data, at, length):
    """Whether this SysEx is GM, GM2, GS or XG's "back to the defaults"; 2 where it is GM2's."""
    if length >= 4 and data[at] == 0x7E and data[at + 2] == 0x09:
        return 2 if data[at + 3] == 3 else 1
    if length >= 8 and data[at] == 0x41 and data[at + 2] == 0x42 and data[at + 3] == 0x12:
        return int(data[at + 5] == 0 and data[at + 6] == 0x7F)
    if length >= 7 and data[at] == 0x43 and data[at + 1] >> 4 == 1 and data[at + 2] == 0x4C:
        return int(data[at + 3] == 0 and data[at + 4] == 0 and data[at + 5] >= 0x7E)
    return 0


@njit(cache=True)
def part_mode(data, at, length):
    """(channel, decision) of a SysEx that makes a part a kit or none; (-1, 0) of any other."""
    if (
        length >= 8
        and data[at] == 0x41
        and data[at + 2] == 0x42
        and data[at + 3] == 0x12
        and data[at + 4] == 0x40
        and data[at + 5] >> 4 == 1
        and data[at + 6] == 0x15
    ):
        block = data[at + 5] & 15  # block 0 is part 10; 1-9 and 10-15 are parts 1-9 and 11-16
        channel = DRUM_CHANNEL if block == 0 else block - 1 if block <= 9 else block
        return int(channel), GS_ON if data[at + 7] in (1, 2) else GS_OFF
    if (
        length >= 7
        and data[at] == 0x43
        and data[at + 1] >> 4 == 1
        and data[at + 2] == 0x4C
        and data[at + 3] == 0x08
        and data[at + 4] < 16
        and data[at + 5] == 0x07
    ):
        return int(data[at + 4]), XG_ON if data[at + 6] else XG_OFF
    return -1, NONE


@njit(cache=True)
def bank_decision(bank, spoken, is_gm2):
    """What a bank that a program change takes up says about its part."""
    if bank == 120:
        return GM2_ON
    if bank == 121 and is_gm2:
        return GM2_OFF
    if bank == 126 or bank == 127:
        return XG_BANK if spoken == XG else UNCLEAR if spoken == NOT_SAID else NONE
    return NONE


@njit(cache=True)
def switches(settings, x_key, x_place, x_length, x_port, data, default):
    """Every change of what a part's settings say about it: (key, part, decision), sorted by key.

    Args:
        settings: the rows of `events.read_track`, sorted by (tick, place).
        x_key: int64, tick << 32 | place of each SysEx, sorted. x_place, x_length: where its
            bytes lie in `data`. x_port: its port.
    """
    s_tick, s_place, s_bytes, s_origin = settings[0], settings[1], settings[2], settings[3]
    room = 2 * (len(s_tick) + len(x_key))  # a reset undoes only what was done
    key = np.empty(room, np.int64)
    part = np.empty(room, np.int32)
    decision = np.empty(room, np.uint8)
    spoken, is_gm2 = dialect(data, x_place, x_length), False
    mode = np.zeros(len(default), np.uint8)
    bank = np.zeros(len(default), np.uint8)
    banked = np.zeros(len(default), np.uint8)
    said = default.copy()
    s, x, k = 0, 0, 0
    while s < len(s_tick) or x < len(x_key):
        s_key = np.int64(s_tick[s]) << 32 | s_place[s] if s < len(s_tick) else np.int64(2**63 - 1)
        if x < len(x_key) and x_key[x] < s_key:
            now = x_key[x]
            first = x_port[x] * 16
            last = first
            reset = is_reset(data, x_place[x], x_length[x])
            channel, changed = part_mode(data, x_place[x], x_length[x])
            if reset:
                is_gm2 = reset == 2
                last = first + 16
                mode[first:last] = NONE
                bank[first:last] = 0
                banked[first:last] = NONE
            elif channel >= 0:
                first += channel
                last = first + 1
                mode[first] = changed
            x += 1
        else:
            now = s_key
            first = (s_origin[s] >> 16 << 4) + (s_bytes[s] & 15)
            last = first
            if s_bytes[s] & 0xFFF0 == 0x00B0:
                bank[first] = (s_bytes[s] >> 16) & 127
            elif s_bytes[s] & 0xF0 == 0xC0:
                banked[first] = bank_decision(bank[first], spoken, is_gm2)
                last = first + 1
            s += 1
        for p in range(first, last):
            result = mode[p] if mode[p] else banked[p] if banked[p] else default[p]
            if result != said[p]:
                said[p] = result
                key[k], part[k], decision[k] = now, p, result
                k += 1
    return key[:k], part[:k], decision[:k]


@njit(cache=True)
def by_channel(word):
    """The decision for each note by General MIDI alone."""
    decisions = np.empty(len(word), np.uint8)
    for i in range(len(word)):
        decisions[i] = CHANNEL_10 if (word[i] >> 32) & 15 == DRUM_CHANNEL else NONE
    return decisions


@njit(cache=True)
def says_more(word, s_bytes, marks, data, named):
    """Whether anything but channel 10 could decide: a part mode, a bank for kits, or a name.

    Args:
        named: bool, by track: its name says drums.
    """
    for i in range(len(s_bytes)):
        if s_bytes[i] & 0xFFF0 != 0x00B0:
            continue
        bank = (s_bytes[i] >> 16) & 127
        if bank == 121 or (bank >= 120 and s_bytes[i] & 15 != DRUM_CHANNEL):
            return True
    m_place, m_length, m_kind = marks[1], marks[2], marks[3]
    for i in range(len(m_kind)):
        if m_kind[i] == SYSEX and part_mode(data, m_place[i], m_length[i])[0] >= 0:
            return True
    for i in range(len(word) if named.any() else 0):
        track = word[i] & 0xFFFF
        if track < len(named) and named[track] and (word[i] >> 32) & 15 != DRUM_CHANNEL:
            return True
    return False


def look_like_drums(pitch: np.ndarray) -> bool:
    """Whether these keys are struck as a kit's are, rather than played as a melody's.

    Nine in ten lie on General MIDI's percussion keys, and half on bass drum, snare and hi-hat,
    of which at least two occur.
    """
    if len(pitch) < FEWEST_NOTES:
        return False
    on_keys = np.count_nonzero((pitch >= 35) & (pitch <= 81))
    families = [np.count_nonzero(np.isin(pitch, family)) for family in (KICKS, SNARES, HATS)]
    return (
        10 * on_keys >= 9 * len(pitch)
        and 2 * sum(families) >= len(pitch)
        and np.count_nonzero(families) >= 2
    )


def groups(*labels: np.ndarray) -> Iterator[np.ndarray]:
    """Positions that share all their labels, group by group."""
    order = np.lexsort(labels)
    changes = np.zeros(max(len(order) - 1, 0), bool)
    for label in labels:
        changes |= np.diff(label[order].astype(np.int64)) != 0
    yield from np.split(order, np.flatnonzero(changes) + 1)


def settle_hints(decisions: np.ndarray, word: np.ndarray, named: np.ndarray) -> None:
    """Let the notes themselves decide where only a hint speaks; in place.

    Args:
        decisions: by note; none is UNCLEAR afterwards.
        word: of each note; see `notes.note_records`.
        named: bool, by track: its name says drums.
    """
    track, channel = word & 0xFFFF, (word >> 32) & 15
    unclear = decisions == UNCLEAR
    decisions[unclear] = np.where(channel[unclear] == DRUM_CHANNEL, CHANNEL_10, NONE)
    for hint, decision in ((unclear, XG_BANK), (np.append(named, False)[track], NAME)):
        at = np.flatnonzero(hint & (decisions == NONE))
        if at.size == 0:
            continue
        for group in groups(channel[at], track[at]):
            if look_like_drums((word[at[group]] >> 16) & 127):
                decisions[at[group]] = decision


@njit(cache=True)
def name_marks(marks):
    """(place, length, track) of every track name and instrument name."""
    m_place, m_length, m_kind, m_origin = marks[1], marks[2], marks[3], marks[4]
    count = 0
    found = np.empty((3, len(m_kind)), np.int64)
    for i in range(len(m_kind)):
        if m_kind[i] == TRACK_NAME or m_kind[i] == INSTRUMENT_NAME:
            found[0, count], found[1, count] = m_place[i], m_length[i]
            found[2, count] = m_origin[i] & 0xFFFF
            count += 1
    return found[:, :count]


def named_tracks(marks: np.ndarray, data: bytes, tracks: int) -> np.ndarray:
    """Whether each track's name, or its instrument's, says drums; in whatever encoding."""
    named = np.zeros(tracks, bool)
    for at, length, track in zip(*name_marks(marks).tolist(), strict=True):
        if NAMES_DRUMS.search(data, at, at + length):
            named[track] = True
    return named


def decide(
    notes: tuple,
    settings: np.ndarray,
    marks: np.ndarray,
    counts: np.ndarray,
    padded: np.ndarray,
    data: bytes,
) -> np.ndarray:
    """What each note is taken for, as indexes into DECISIONS.

    Args:
        notes: (start, word, place) of each note, in the order of the file.
        settings: the rows of `events.read_track`, sorted by (tick, place).
        marks: likewise, in the order of the file.
        counts: as `events.read_tracks` returns them.
        padded, data: the file, as an array with padding and as bytes.
    """
    start, word, place = notes
    named = named_tracks(marks, data, counts[4])
    if not says_more(word, settings[2], marks, padded, named):
        return by_channel(word)
    default = np.zeros(counts[3], np.uint8)
    default[DRUM_CHANNEL::16] = CHANNEL_10
    tick, m_place, length, kind, origin = marks
    x = np.flatnonzero(kind == SYSEX)
    x_key = tick[x].astype(np.int64) << 32 | m_place[x]
    order = np.argsort(x_key)
    x = x[order]
    changes = switches(
        settings, x_key[order], m_place[x], length[x], origin[x] >> 16, padded, default
    )
    decisions = in_force(start, place, word, *changes, default)
    settle_hints(decisions, word, named)
    return decisions


def count_decisions(decided: np.ndarray) -> dict[str, int]:
    """Notes by decision; those that nothing was said about are left out."""
    return {DECISIONS[code]: n for code, n in enumerate(decided.tolist()) if n and code != NONE}
