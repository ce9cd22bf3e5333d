"""Decide which notes are drums.

Channel 10 is the drum channel in General MIDI. Other standards have three ways to make another
channel a drum kit, or channel 10 melodic, and Lakh contains all of them. Each note takes the
first of these that applies to its part (port and channel) when it starts:

    gs_part_mode    Roland GS SysEx 40 1x 15, "use for rhythm part": map 1 or 2, or off
    xg_part_mode    Yamaha XG SysEx 08 pp 07, part mode: drums, or normal
    xg_bank         XG bank 127 (kits) or 126 (effect kits), selected by a program change
    gm2_bank        General MIDI 2 bank 120 (kits), or 121 (melodic, even on channel 10)
    channel_10      General MIDI
    track_name      weakest: the track's name says "drums", the notes look like drums, and neither
                    name nor program is a percussion instrument with pitches, such as timpani

Keys 41 to 53 of the orchestra kit are timpani from F to F, so they are melodic: program 47, decided
by orchestra_kit. XG's kit of that number has toms there. If the file names no maker, a part that
looks like drums is taken for an ordinary kit: many files leave any program on channel 10.

A decision for "not drums" has the same name with _off. In GS, banks 126 and 127 hold the melodic
sounds of older machines; if a file names neither maker or both, banks 126 and 127 count as
xg_bank only if the notes look like drums. A reset (GM, GM2, GS, XG) returns every part of its
port to its default. A part is assumed to listen on the channel of its own number.

Source:
    Roland GS (address 40 1x 15, use for rhythm part), Yamaha XG (multi part 08 nn 07, part mode),
    General MIDI 2 (RP-024, bank select of rhythm and melody channels; orchestra set).
"""

import re
from collections.abc import Iterator

import numpy as np
from numba import njit

from pipeline.midi.notes import in_force

SYSEX, TRACK_NAME, INSTRUMENT_NAME = 0xF0, 0x03, 0x04  # kinds of metas
DRUM_CHANNEL = 9  # called channel 10, counting from 1

DECISIONS = (
    "",  # melodic by default
    "channel_10",
    "gs_part_mode",
    "gs_part_mode_off",
    "xg_part_mode",
    "xg_part_mode_off",
    "xg_bank",
    "gm2_bank",
    "gm2_bank_off",
    "track_name",
    "ambiguous_bank",  # 126 or 127 of an unknown maker: the notes decide
    "orchestra_kit",
)
(
    NONE, CHANNEL_10, GS_ON, GS_OFF, XG_ON, XG_OFF, XG_BANK, GM2_ON, GM2_OFF, NAME, AMBIGUOUS,
    ORCHESTRA_KIT,
) = range(len(DECISIONS))  # fmt: skip
IS_DRUM = np.array([code in (1, 2, 4, 6, 7, 9) for code in range(len(DECISIONS))])

UNKNOWN_MAKER, GS, XG = 0, 1, 2  # which maker's SysEx messages the file uses

NAMES_DRUMS = re.compile(
    rb"drum|perc(?!eive)|(?<![a-z])kit(?![a-z])|batter|bater|schlag(?:zeug|werk)|"
    rb"\x83h\x83\x89\x83\x80|\xe3\x83\x89\xe3\x83\xa9\xe3\x83\xa0",  # do-ra-mu: Shift JIS, UTF-8
    re.IGNORECASE,
)
NAMES_PITCHES = re.compile(rb"timpan|timbal|pauke|kettle|steel|taiko|melodic", re.IGNORECASE)
"""Names of percussion with pitches, "steel drums" among them."""
ORCHESTRA, TIMPANI, TIMPANI_KEYS = 48, 47, (41, 53)
"""The orchestra kit's number, the program that its timpani become, and their keys."""
PITCHED_PERCUSSION = np.zeros(128, bool)
PITCHED_PERCUSSION[[*range(8, 16), TIMPANI, *range(112, 120)]] = True
"""Programs: General MIDI's chromatic and percussive families, and timpani."""
KICKS, SNARES, HATS = (35, 36), (38, 40), (42, 44, 46)
MIN_NOTES = 8  # needed before the notes can be judged


@njit(cache=True)
def dialect(data, x_offset, x_length):
    """The maker named by the file's SysEx messages, if there is exactly one."""
    gs, xg = False, False
    for i in range(len(x_offset)):
        at = x_offset[i]
        if x_length[i] >= 7:
            gs |= data[at] == 0x41 and data[at + 2] == 0x42 and data[at + 3] == 0x12
            xg |= data[at] == 0x43 and data[at + 1] >> 4 == 1 and data[at + 2] == 0x4C
    return GS if gs and not xg else XG if xg and not gs else UNKNOWN_MAKER


@njit(cache=True)
def is_reset(data, at, length):
    """Whether this SysEx is a GM, GM2, GS or XG reset; 2 for GM2's."""
    if length >= 4 and data[at] == 0x7E and data[at + 2] == 0x09:
        return 2 if data[at + 3] == 3 else 1
    if length >= 8 and data[at] == 0x41 and data[at + 2] == 0x42 and data[at + 3] == 0x12:
        return int(data[at + 5] == 0 and data[at + 6] == 0x7F)
    if length >= 7 and data[at] == 0x43 and data[at + 1] >> 4 == 1 and data[at + 2] == 0x4C:
        return int(data[at + 3] == 0 and data[at + 4] == 0 and data[at + 5] >= 0x7E)
    return 0


@njit(cache=True)
def find_resets(metas, data):
    """GM, GM2, GS and XG resets, and the maker that the file's SysEx messages name.

    Returns:
        (int64 rows key, port of the resets, sorted by key; the maker, as `dialect` says)
    """
    x = np.flatnonzero(metas[3] == SYSEX)
    found = np.empty((2, len(x)), np.int64)
    count = 0
    for i in x:
        if is_reset(data, metas[1, i], metas[2, i]):
            found[0, count] = np.int64(metas[0, i]) << 32
            found[1, count] = metas[4, i] >> 16
            count += 1
    order = np.argsort(found[0, :count])
    resets = np.empty((2, count), np.int64)
    for i in range(count):
        resets[0, i], resets[1, i] = found[0, order[i]], found[1, order[i]]
    return resets, dialect(data, metas[1][x], metas[2][x])


@njit(cache=True)
def part_mode(data, at, length):
    """(channel, decision) of a SysEx that sets a part's mode; (-1, 0) for any other."""
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
def bank_decision(bank, maker, is_gm2):
    """What a bank selected by a program change means for its part."""
    if bank == 120:
        return GM2_ON
    if bank == 121 and is_gm2:
        return GM2_OFF
    if bank == 126 or bank == 127:
        return XG_BANK if maker == XG else AMBIGUOUS if maker == UNKNOWN_MAKER else NONE
    return NONE


@njit(cache=True)
def switches(messages, x_key, x_offset, x_length, x_port, data, default, home):
    """Every change of a part's decision by its own messages: (key, part, decision), by key.

    Args:
        messages: the rows of `events.read_track`, sorted by (tick, offset).
        x_key: int64, tick << 32 | offset of each SysEx, sorted. x_offset, x_length: where its
            bytes lie in `data`. x_port: its port.
        home: the port whose SysEx messages apply to each part.
    """
    s_tick, s_offset, s_bytes, s_origin = messages[0], messages[1], messages[2], messages[3]
    room = 2 * (len(s_tick) + len(x_key))  # a reset undoes only earlier changes
    key = np.empty(room, np.int64)
    part = np.empty(room, np.int32)
    decision = np.empty(room, np.uint8)
    maker, is_gm2 = dialect(data, x_offset, x_length), False
    mode = np.zeros(len(default), np.uint8)
    bank = np.zeros(len(default), np.uint8)
    banked = np.zeros(len(default), np.uint8)
    current = default.copy()
    s, x, k = 0, 0, 0
    while s < len(s_tick) or x < len(x_key):
        s_key = np.int64(s_tick[s]) << 32 | s_offset[s] if s < len(s_tick) else np.int64(2**63 - 1)
        if x < len(x_key) and x_key[x] < s_key:
            now = x_key[x]
            reset = is_reset(data, x_offset[x], x_length[x])
            channel, changed = part_mode(data, x_offset[x], x_length[x])
            first, last = (0, len(default)) if reset or channel >= 0 else (0, 0)
            is_gm2 = reset == 2 if reset else is_gm2
            for p in range(first, last):
                if home[p] == x_port[x] and reset:
                    mode[p], bank[p], banked[p] = NONE, 0, NONE
                elif home[p] == x_port[x] and p & 15 == channel:
                    mode[p] = changed
            x += 1
        else:
            now = s_key
            first = (s_origin[s] >> 16 << 4) + (s_bytes[s] & 15)
            last = first
            if s_bytes[s] & 0xFFF0 == 0x00B0:
                bank[first] = (s_bytes[s] >> 16) & 127
            elif s_bytes[s] & 0xF0 == 0xC0:
                banked[first] = bank_decision(bank[first], maker, is_gm2)
                last = first + 1
            s += 1
        for p in range(first, last):
            result = mode[p] if mode[p] else banked[p] if banked[p] else default[p]
            if result != current[p]:
                current[p] = result
                key[k], part[k], decision[k] = now, p, result
                k += 1
    return key[:k], part[:k], decision[:k]


@njit(cache=True)
def by_channel(packed):
    """The decision for each note by the channel alone (General MIDI)."""
    decisions = np.empty(len(packed), np.uint8)
    for i in range(len(packed)):
        decisions[i] = CHANNEL_10 if (packed[i] >> 32) & 15 == DRUM_CHANNEL else NONE
    return decisions


@njit(cache=True)
def needs_more_than_channel(packed, s_bytes, metas, data, named):
    """Whether anything beyond the channel matters: a part mode, a drum bank, or a name.

    Args:
        named: bool, one per track: its name says drums.
    """
    for i in range(len(s_bytes)):
        if s_bytes[i] & 0xFFF0 != 0x00B0:
            continue
        bank = (s_bytes[i] >> 16) & 127
        if bank == 121 or (bank >= 120 and s_bytes[i] & 15 != DRUM_CHANNEL):
            return True
    m_offset, m_length, m_kind = metas[1], metas[2], metas[3]
    for i in range(len(m_kind)):
        if m_kind[i] == SYSEX and part_mode(data, m_offset[i], m_length[i])[0] >= 0:
            return True
    for i in range(len(packed) if named.any() else 0):
        track = packed[i] & 0xFFFF
        if track < len(named) and named[track] and (packed[i] >> 32) & 15 != DRUM_CHANNEL:
            return True
    return False


def look_like_drums(pitch: np.ndarray) -> bool:
    """Whether these pitches look like a drum part rather than a melody.

    At least 90 % lie on General MIDI's percussion keys, and at least half on bass drum, snare or
    hi-hat, of which at least two occur.
    """
    if len(pitch) < MIN_NOTES:
        return False
    on_keys = np.count_nonzero((pitch >= 35) & (pitch <= 81))
    families = [np.count_nonzero(np.isin(pitch, family)) for family in (KICKS, SNARES, HATS)]
    return bool(
        10 * on_keys >= 9 * len(pitch)
        and 2 * sum(families) >= len(pitch)
        and np.count_nonzero(families) >= 2
    )


def groups(*labels: np.ndarray) -> Iterator[np.ndarray]:
    """Groups of positions that share all their labels."""
    order = np.lexsort(labels)
    changes = np.zeros(max(len(order) - 1, 0), bool)
    for label in labels:
        changes |= np.diff(label[order].astype(np.int64)) != 0
    yield from np.split(order, np.flatnonzero(changes) + 1)


def resolve_hints(
    decisions: np.ndarray, packed: np.ndarray, program: np.ndarray, named: np.ndarray
) -> None:
    """Let the notes decide where there is only a hint; in place.

    Args:
        decisions: one per note; none is AMBIGUOUS afterwards.
        packed: one per note; see `events.read_track`.
        program: one per note.
        named: bool, one per track: its name says drums.
    """
    track, channel = packed & 0xFFFF, (packed >> 32) & 15
    ambiguous = decisions == AMBIGUOUS
    decisions[ambiguous] = np.where(channel[ambiguous] == DRUM_CHANNEL, CHANNEL_10, NONE)
    is_named = np.append(named, False)[track] & ~PITCHED_PERCUSSION[program]
    for hint, decision in ((ambiguous, XG_BANK), (is_named, NAME)):
        at = np.flatnonzero(hint & (decisions == NONE))
        if at.size == 0:
            continue
        for group in groups(channel[at], track[at]):
            if look_like_drums((packed[at[group]] >> 16) & 127):
                decisions[at[group]] = decision


@njit(cache=True)
def name_metas(metas):
    """(offset, length, track) of every track name and instrument name."""
    m_offset, m_length, m_kind, m_origin = metas[1], metas[2], metas[3], metas[4]
    count = 0
    found = np.empty((3, len(m_kind)), np.int64)
    for i in range(len(m_kind)):
        if m_kind[i] == TRACK_NAME or m_kind[i] == INSTRUMENT_NAME:
            found[0, count], found[1, count] = m_offset[i], m_length[i]
            found[2, count] = m_origin[i] & 0xFFFF
            count += 1
    return found[:, :count]


def named_tracks(metas: np.ndarray, data: bytes, tracks: int) -> np.ndarray:
    """Whether each track's name or instrument name says drums, in any encoding."""
    named = np.zeros(tracks, bool)
    for at, length, track in zip(*name_metas(metas).tolist(), strict=True):
        says_drums = NAMES_DRUMS.search(data, at, at + length)
        if says_drums and not NAMES_PITCHES.search(data, at, at + length):
            named[track] = True
    return named


@njit(cache=True)
def any_orchestra_kit(decisions, program, is_drum):
    """Whether any drum is played by the orchestra kit."""
    found = False
    for i in range(len(program)):
        found |= program[i] == ORCHESTRA and is_drum[decisions[i]]
    return found


def find_timpani(
    decisions: np.ndarray, packed: np.ndarray, program: np.ndarray, maker: int
) -> None:
    """Make the timpani of the orchestra kit notes of their program; in place.

    Args:
        decisions, packed, program: one per note; see `events.read_track`.
        maker: that the file names.
    """
    if maker == XG or not any_orchestra_kit(decisions, program, IS_DRUM):
        return
    at = np.flatnonzero(program == ORCHESTRA)
    at = at[IS_DRUM[decisions[at]]]
    at = at[(decisions[at] != XG_ON) & (decisions[at] != XG_BANK)]
    pitch, part = (packed[at] >> 16) & 127, packed[at] >> 56 << 4 | ((packed[at] >> 32) & 15)
    is_timpani = (pitch >= TIMPANI_KEYS[0]) & (pitch <= TIMPANI_KEYS[1])
    for group in groups(part) if len(at) and maker == UNKNOWN_MAKER else ():
        is_timpani[group] &= not look_like_drums(pitch[group])
    decisions[at[is_timpani]], program[at[is_timpani]] = ORCHESTRA_KIT, TIMPANI


def decide(
    notes: tuple,
    program: np.ndarray,
    messages: np.ndarray,
    metas: np.ndarray,
    counts: np.ndarray,
    padded: np.ndarray,
    data: bytes,
    home: np.ndarray,
) -> np.ndarray:
    """The decision for each note, as indexes into DECISIONS.

    Args:
        notes: (start, packed, offset) of each note, in the order of the file.
        program: of each note.
        messages: rows as in `events.read_track`, sorted by (tick, offset).
        metas: likewise, in file order.
        counts: as `events.read_tracks` returns them.
        padded, data: the file, as an array with padding and as bytes.
        home: the port whose SysEx messages apply to each part.
    """
    start, packed, offset = notes
    named = named_tracks(metas, data, counts[4])
    if not needs_more_than_channel(packed, messages[2], metas, padded, named):
        return by_channel(packed)
    default = np.zeros(counts[3], np.uint8)
    default[DRUM_CHANNEL::16] = CHANNEL_10
    tick, m_offset, length, kind, origin = metas
    x = np.flatnonzero(kind == SYSEX)
    x_key = tick[x].astype(np.int64) << 32 | m_offset[x]
    order = np.argsort(x_key)
    x = x[order]
    changes = switches(
        messages, x_key[order], m_offset[x], length[x], origin[x] >> 16, padded, default, home
    )
    decisions = in_force(start, offset, packed, *changes, default)
    resolve_hints(decisions, packed, program, named)
    return decisions


def count_decisions(decided: np.ndarray) -> dict[str, int]:
    """Number of notes per decision, leaving out those that are melodic by default."""
    return {DECISIONS[code]: n for code, n in enumerate(decided.tolist()) if n and code != NONE}
