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

import numpy as np
from numba import njit

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

ORCHESTRA, TIMPANI, TIMPANI_KEYS = 48, 47, (41, 53)
"""The orchestra kit's number, the program that its timpani become, and their keys."""
PITCHED_PERCUSSION = np.zeros(128, bool)
PITCHED_PERCUSSION[[*range(8, 16), TIMPANI, *range(112, 120)]] = True
"""Programs: General MIDI's chromatic and percussive families, and timpani."""
MIN_NOTES = 8  # needed before the notes can be judged
NO_KEY, OTHER_KEY, KICK, SNARE, HAT = range(5)
KINDS_OF_KEYS = 5
KIND_OF_KEY = np.full(128, NO_KEY, np.uint8)
KIND_OF_KEY[35:82] = OTHER_KEY
for kind, keys in ((KICK, (35, 36)), (SNARE, (38, 40)), (HAT, (42, 44, 46))):
    KIND_OF_KEY[[*keys]] = kind
"""General MIDI's percussion keys, and those that most drum parts are made of."""


@njit(cache=True)
def of_kind(metas, kind):
    """The columns of `metas` of one kind."""
    found = np.empty(metas.shape, np.int32)
    count = 0
    for i in range(metas.shape[1]):
        if metas[3, i] == kind:
            for row in range(len(metas)):
                found[row, count] = metas[row, i]
            count += 1
    return found[:, :count]


@njit(cache=True)
def dialect(sysex, data):
    """The maker named by the file's SysEx messages, if there is exactly one."""
    gs, xg = False, False
    for i in range(sysex.shape[1]):
        at = sysex[1, i]
        if sysex[2, i] >= 7:
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
def find_resets(sysex, data):
    """GM, GM2, GS and XG resets: int64 rows key, port; sorted by key."""
    resets = np.empty((2, sysex.shape[1]), np.int64)
    count = 0
    for i in range(sysex.shape[1]):
        if is_reset(data, sysex[1, i], sysex[2, i]):
            resets[0, count] = np.int64(sysex[0, i]) << 32
            resets[1, count] = sysex[4, i] >> 16
            count += 1
    return resets[:, :count]


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
def switches(messages, sysex, data, maker, default, home):
    """Every change of a part's decision by its own messages: (key, part, decision), by key.

    Args:
        messages, sysex: sorted by (tick, offset).
        maker: that the file names; see `dialect`.
        default: the decision for each part until it changes.
        home: the port whose SysEx messages apply to each part.
    """
    s_tick, s_offset, s_bytes, s_origin = messages[0], messages[1], messages[2], messages[3]
    count = sysex.shape[1]
    room = 2 * (len(s_tick) + count)  # a reset undoes only earlier changes
    key = np.empty(room, np.int64)
    part = np.empty(room, np.int32)
    decision = np.empty(room, np.uint8)
    is_gm2 = False
    mode = np.zeros(len(default), np.uint8)
    bank = np.zeros(len(default), np.uint8)
    banked = np.zeros(len(default), np.uint8)
    current = default.copy()
    s, x, k = 0, 0, 0
    while s < len(s_tick) or x < count:
        now = np.int64(2**63 - 1)
        if s < len(s_tick):
            now = np.int64(s_tick[s]) << 32 | s_offset[s]
        x_key = np.int64(sysex[0, x]) << 32 | sysex[1, x] if x < count else np.int64(2**63 - 1)
        if x_key < now:
            now = x_key
            reset = is_reset(data, sysex[1, x], sysex[2, x])
            channel, changed = part_mode(data, sysex[1, x], sysex[2, x])
            first, last = (0, len(default)) if reset or channel >= 0 else (0, 0)
            is_gm2 = reset == 2 if reset else is_gm2
            port = sysex[4, x] >> 16
            for p in range(first, last):
                if home[p] == port and reset:
                    mode[p], bank[p], banked[p] = NONE, 0, NONE
                elif home[p] == port and p & 15 == channel:
                    mode[p] = changed
            x += 1
        else:
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
def channel_defaults(parts):
    """The decision for each part by the channel alone (General MIDI)."""
    default = np.zeros(parts, np.uint8)
    default[DRUM_CHANNEL::16] = CHANNEL_10
    return default


@njit(cache=True)
def by_channel(packed):
    """The decision for each note by the channel alone (General MIDI)."""
    decisions = np.empty(len(packed), np.uint8)
    for i in range(len(packed)):
        decisions[i] = CHANNEL_10 if (packed[i] >> 32) & 15 == DRUM_CHANNEL else NONE
    return decisions


@njit(cache=True)
def needs_more_than_channel(packed, s_bytes, sysex, data, named):
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
    for i in range(sysex.shape[1]):
        if part_mode(data, sysex[1, i], sysex[2, i])[0] >= 0:
            return True
    for i in range(len(packed) if named.any() else 0):
        if named[packed[i] & 0xFFFF] and (packed[i] >> 32) & 15 != DRUM_CHANNEL:
            return True
    return False


@njit(cache=True)
def look_like_drums(tally):
    """Whether these pitches look like a drum part rather than a melody.

    At least 90 % lie on General MIDI's percussion keys, and at least half on bass drum, snare or
    hi-hat, of which at least two occur.

    Args:
        tally: shape (KINDS_OF_KEYS,): the number of notes by the kind of their key.
    """
    count = tally.sum()
    families = tally[KICK:]
    return (
        count >= MIN_NOTES
        and 10 * tally[NO_KEY] <= count
        and 2 * families.sum() >= count
        and np.count_nonzero(families) >= 2
    )


@njit(cache=True)
def decide_by_look(decisions, packed, hinted, decision):
    """Give undecided notes with a hint a decision where those of their track and channel look
    like drums; in place.

    Args:
        hinted: bool, one per note.
    """
    first = 0
    while first < len(packed):
        track, last = packed[first] & 0xFFFF, first
        tally = np.zeros((16, KINDS_OF_KEYS), np.int64)
        while last < len(packed) and packed[last] & 0xFFFF == track:
            if hinted[last] and decisions[last] == NONE:
                tally[(packed[last] >> 32) & 15, KIND_OF_KEY[(packed[last] >> 16) & 127]] += 1
            last += 1
        for i in range(first, last):
            if (
                hinted[i]
                and decisions[i] == NONE
                and look_like_drums(tally[(packed[i] >> 32) & 15])
            ):
                decisions[i] = decision
        first = last


@njit(cache=True)
def resolve_hints(decisions, packed, program, named):
    """Let the notes decide where there is only a hint; in place.

    Args:
        decisions: one per note; none is AMBIGUOUS afterwards.
        packed: one per note; see `events.read_track`.
        program: one per note.
        named: bool, one per track: its name says drums.
    """
    is_ambiguous = decisions == AMBIGUOUS
    is_named = np.empty(len(packed), np.bool_)
    for i in range(len(packed)):
        is_named[i] = named[packed[i] & 0xFFFF] and not PITCHED_PERCUSSION[program[i]]
        if is_ambiguous[i]:
            decisions[i] = CHANNEL_10 if (packed[i] >> 32) & 15 == DRUM_CHANNEL else NONE
    decide_by_look(decisions, packed, is_ambiguous, XG_BANK)
    decide_by_look(decisions, packed, is_named, NAME)


@njit(cache=True)
def is_orchestra_kit(program, decision):
    """Whether a note is played by a kit that has timpani."""
    return program == ORCHESTRA and IS_DRUM[decision] and decision not in (XG_ON, XG_BANK)


@njit(cache=True)
def find_timpani(decisions, packed, program, maker, parts):
    """Make the timpani of the orchestra kit notes of their program; in place.

    Args:
        decisions, packed, program: one per note; see `events.read_track`.
        maker: that the file names.
    """
    found = False
    for i in range(len(program)):
        found |= program[i] == ORCHESTRA
    if maker == XG or not found:
        return
    tally = np.zeros((parts, KINDS_OF_KEYS), np.int64)
    for i in range(len(program) if maker == UNKNOWN_MAKER else 0):
        if is_orchestra_kit(program[i], decisions[i]):
            part = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15)
            tally[part, KIND_OF_KEY[(packed[i] >> 16) & 127]] += 1
    for i in range(len(program)):
        part, pitch = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15), (packed[i] >> 16) & 127
        is_timpani = (
            is_orchestra_kit(program[i], decisions[i])
            and TIMPANI_KEYS[0] <= pitch <= TIMPANI_KEYS[1]
        )
        if is_timpani and not look_like_drums(tally[part]):
            decisions[i], program[i] = ORCHESTRA_KIT, TIMPANI
