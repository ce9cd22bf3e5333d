"""Which part each note and message belongs to, and the state of a part: program and tuning.

Conventions
    part      port * 16 + channel: one instrument of one sound module
    key       tick << 32 | offset in the file: the order in which a player would meet events
    packed, messages, metas   as filled by `events.read_track`
    resets    rows key, port of each GM, GM2, GS or XG reset, sorted by key

A format 1 file may give several tracks the same channel, each with a program of its own before its
first note. The tracks are then separate parts: all but the first move to ports that are not in use.

Kernels here call only kernels of this file; see events.py.

Source:
    MIDI 1.0 detailed specification, registered parameters 1 (fine tuning, in 1/8192 of a semitone)
    and 2 (coarse tuning, in semitones); Yamaha XG, SFX voices (bank select MSB 64).
"""

import numpy as np
from numba import njit

MAX_PORTS = 128
UNSET = 0x3FFF  # the "null" parameter number: data entry changes nothing
SFX_BANK = 64
FIRST_SFX_PROGRAM = 120  # General MIDI's eight sound effects, one for each 16 of XG's
NEVER = 2**62
CENTRE = 64  # stored for a tuning of 0 semitones


@njit(cache=True)
def first_ticks(start, packed, parts):
    """The tick at which each part's first note starts, beyond every tick if it has none; and
    whether notes of two tracks are on one part.
    """
    first = np.full(parts, NEVER, np.int64)
    track_of = np.full(parts, -1, np.int32)
    is_shared = False
    for i in range(len(packed)):
        part = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15)
        if start[i] < first[part]:
            first[part] = start[i]
        if track_of[part] != packed[i] & 0xFFFF:
            is_shared |= track_of[part] >= 0
            track_of[part] = packed[i] & 0xFFFF
    return first, is_shared


@njit(cache=True)
def own_ports(parts):
    """The port of each part: what `split_shared_channels` returns where it moves nothing."""
    home = np.empty(parts, np.int32)
    for part in range(parts):
        home[part] = part >> 4
    return home


@njit(cache=True)
def split_shared_channels(start, offset, packed, messages, ports):
    """Move tracks that share a channel, each with its own program, to ports of their own.

    Every track with notes on the part must set a program on it at or before its first note, and
    the programs must differ. `packed` and `messages` are changed in place.

    Args:
        start, offset, packed: the notes, in the order of the file.
        messages: in the order of the file.
        ports: ports in use.

    Returns:
        int32, one per part: the port whose resets apply to it. As long as ports are in use
        afterwards, times 16.
    """
    s_tick, s_offset, s_bytes, s_origin = messages
    home = own_ports(MAX_PORTS * 16)
    # A pair is a part and a track with notes on it. The tracks of a part form a list by `after`.
    head = np.full(MAX_PORTS * 16, -1, np.int32)
    tail = np.full(MAX_PORTS * 16, -1, np.int32)
    pair_of_note = np.empty(len(packed), np.int32)
    track_of = np.empty(len(packed), np.int32)
    after = np.empty(len(packed), np.int32)
    first = np.empty(len(packed), np.int64)
    pairs = 0
    for i in range(len(packed)):
        part, track = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15), packed[i] & 0xFFFF
        key = np.int64(start[i]) << 32 | offset[i]
        if tail[part] < 0 or track_of[tail[part]] != track:
            if tail[part] < 0:
                head[part] = pairs
            else:
                after[tail[part]] = pairs
            tail[part] = pairs
            track_of[pairs], after[pairs], first[pairs] = track, -1, key
            pairs += 1
        pair_of_note[i] = tail[part]
        first[tail[part]] = min(first[tail[part]], key)
    program = np.full(pairs, -1, np.int32)
    pair_of_message = np.full(len(s_bytes), -1, np.int32)
    current = head.copy()  # of each part, the pair of the track that is looked at, or the next
    for i in range(len(s_bytes)):
        part, track = s_origin[i] >> 16 << 4 | s_bytes[i] & 15, s_origin[i] & 0xFFFF
        while current[part] >= 0 and track_of[current[part]] < track:
            current[part] = after[current[part]]
        pair = current[part]
        if pair < 0 or track_of[pair] != track:
            continue
        pair_of_message[i] = pair
        is_early = np.int64(s_tick[i]) << 32 | s_offset[i] < first[pair]
        if s_bytes[i] & 0xF0 == 0xC0 and is_early:
            program[pair] = (s_bytes[i] >> 8) & 127
    port_of = np.full(pairs, -1, np.int32)  # the new port of a pair that moves
    moved = np.zeros(16, np.int32)  # ports given to tracks, by channel
    for part in range(ports * 16):
        low, high = 128, -1
        pair = head[part]
        while pair >= 0:
            low, high = min(low, program[pair]), max(high, program[pair])
            pair = after[pair]
        if low < 0 or low >= high:
            continue
        channel = part & 15
        pair = after[head[part]]
        while pair >= 0 and ports + moved[channel] < MAX_PORTS:
            port_of[pair] = ports + moved[channel]
            home[port_of[pair] << 4 | channel] = part >> 4
            moved[channel] += 1
            pair = after[pair]
    for i in range(len(packed)):
        port = port_of[pair_of_note[i]]
        if port >= 0:
            packed[i] = packed[i] & 0x00FFFFFFFFFFFFFF | np.int64(port) << 56
    for i in range(len(s_bytes)):
        if pair_of_message[i] >= 0 and port_of[pair_of_message[i]] >= 0:
            s_origin[i] = port_of[pair_of_message[i]] << 16 | s_origin[i] & 0xFFFF
    return home[: (ports + moved.max()) * 16]


@njit(cache=True)
def part_numbers(first, messages):
    """Number the parts in use from 0, by part; 255 for every part beyond the 255th.

    Args:
        first: the tick of each part's first note.

    Returns:
        uint8, shape (parts,).
    """
    used = first < NEVER
    s_bytes, s_origin = messages[2], messages[3]
    for i in range(len(s_bytes)):
        used[s_origin[i] >> 16 << 4 | s_bytes[i] & 15] = True
    numbers = np.zeros(len(used), np.uint8)
    count = 0
    for part in range(len(used)):
        numbers[part] = min(count, 255)
        count += used[part]
    return numbers


@njit(cache=True)
def part_changes(messages, resets, home, first, is_xg):
    """Every change of a part's program and of its tuning.

    A reset takes both back to 0, unless the part has not played yet: files that set up all parts
    at once and reset the sound module some ticks later mean the set-up to last. XG's sound effects
    (bank 64 of a file that speaks XG alone) count as General MIDI's, group by group.

    Args:
        messages: sorted by (tick, offset).
        home: the port whose resets apply to each part.
        first: the tick of each part's first note.

    Returns:
        (programs, tunings): each (key, part, value), sorted by key; a tuning is in semitones,
        rounded from its cents, plus CENTRE.
    """
    s_tick, s_offset, s_bytes, s_origin = messages[0], messages[1], messages[2], messages[3]
    room, parts = 0, len(first)
    for i in range(len(s_bytes)):
        status, x = s_bytes[i] & 0xF0, (s_bytes[i] >> 8) & 127
        room += 2 * (status == 0xC0 or (status == 0xB0 and (x == 6 or x == 38)))
    key, part_of = np.empty((2, room), np.int64), np.empty((2, room), np.int32)
    value = np.empty((2, room), np.uint8)
    filled = np.zeros(2, np.int64)
    program, tuning = np.zeros(parts, np.uint8), np.full(parts, CENTRE, np.uint8)
    bank = np.zeros(parts, np.uint8)
    parameter = np.full(parts, UNSET, np.int32)
    coarse = np.full(parts, CENTRE, np.int32)
    fine = np.full(parts, 8192, np.int32)
    s, r = 0, 0
    while s < len(s_bytes) or r < resets.shape[1]:
        s_key = np.int64(s_tick[s]) << 32 | s_offset[s] if s < len(s_bytes) else np.int64(2**63 - 1)
        if r < resets.shape[1] and resets[0, r] < s_key:
            for part in range(parts):
                if home[part] != resets[1, r] or resets[0, r] >> 32 <= first[part]:
                    continue
                bank[part], parameter[part] = 0, UNSET
                coarse[part], fine[part] = CENTRE, 8192
                for which, now in ((0, program), (1, tuning)):
                    default = 0 if which == 0 else CENTRE
                    if now[part] != default:
                        now[part] = default
                        k = filled[which]
                        key[which, k], part_of[which, k] = resets[0, r], part
                        value[which, k] = default
                        filled[which] += 1
            r += 1
            continue
        status, x, y = s_bytes[s] & 0xF0, (s_bytes[s] >> 8) & 127, (s_bytes[s] >> 16) & 127
        part = np.int64(s_origin[s]) >> 16 << 4 | s_bytes[s] & 15
        s += 1
        which = -1
        if status == 0xC0:
            which = 0
            program[part] = x
            if is_xg and bank[part] == SFX_BANK:
                program[part] = FIRST_SFX_PROGRAM + x // 16
        elif status == 0xB0:
            if x == 0:
                bank[part] = y
            elif x == 101:
                parameter[part] = y << 7 | parameter[part] & 127
            elif x == 100:
                parameter[part] = parameter[part] & 0x3F80 | y
            elif x in (98, 99, 121):
                parameter[part] = UNSET
            elif (x == 6 or x == 38) and (parameter[part] == 1 or parameter[part] == 2):
                if parameter[part] == 2:
                    coarse[part] = y if x == 6 else coarse[part]
                else:
                    fine[part] = y << 7 | fine[part] & 127 if x == 6 else fine[part] & 0x3F80 | y
                cents = 100 * (coarse[part] - CENTRE) + (fine[part] - 8192) * 100 // 8192
                semitones = (cents + 50) // 100 + CENTRE
                if semitones != tuning[part]:
                    which = 1
                    tuning[part] = min(max(semitones, 0), 127)
        if which >= 0:
            k = filled[which]
            key[which, k], part_of[which, k] = s_key, part
            value[which, k] = program[part] if which == 0 else tuning[part]
            filled[which] += 1
    a, b = filled[0], filled[1]
    return (key[0, :a], part_of[0, :a], value[0, :a]), (key[1, :b], part_of[1, :b], value[1, :b])


@njit(cache=True)
def tune(packed, semitones, is_drum):
    """Transpose the notes of tuned parts, drums left out; pitches stay within 0 .. 127. In place.

    Args:
        semitones: of each note, plus CENTRE.
        is_drum: of each note.
    """
    for i in range(len(packed)):
        if semitones[i] != CENTRE and not is_drum[i]:
            pitch = ((packed[i] >> 16) & 127) + np.int64(semitones[i]) - CENTRE
            pitch = min(max(pitch, 0), 127)
            packed[i] = packed[i] & ~np.int64(0xFF0000) | pitch << 16
