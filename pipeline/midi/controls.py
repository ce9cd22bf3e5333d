"""Channel messages and metas to records: controllers, pitch bend, tempos and meters.

Conventions
    messages   rows tick, offset, bytes, origin, as filled by `events.read_track`; bytes
               holds status, first and second data byte from the low byte up; origin is
               port << 16 | track
    metas      rows tick, offset of the payload, length, kind, origin
    part       port * 16 + channel

Kernels here call only kernels of this file; see events.py.
"""

import numpy as np
from numba import njit

CONTROL_DTYPE = np.dtype(
    {
        "names": ["tick", "channel", "track", "kind", "value", "part"],
        "formats": ["<i8", "u1", "<u2", "u1", "<i4", "u1"],
        "offsets": [0, 14, 12, 15, 8, 16],
        "itemsize": 24,
    }
)
TEMPO_DTYPE = np.dtype(
    {
        "names": ["tick", "microseconds"],
        "formats": ["<i8", "<i4"],
        "offsets": [0, 8],
        "itemsize": 16,
    }
)
METER_DTYPE = np.dtype(
    {
        "names": ["tick", "numerator", "denominator"],
        "formats": ["<i8", "u1", "u1"],
        "offsets": [0, 8, 9],
        "itemsize": 16,
    }
)

PITCH_BEND, CHANNEL_PRESSURE = 128, 129
SUSTAIN, ALL_SOUND_OFF, ALL_CONTROLLERS_OFF = 64, 120, 121
MAX_DENOMINATOR_POWER = 7  # 128th notes
TEMPO, METER = 0x51, 0x58  # kinds of metas

UNSET = 0x3FFF  # the "null" parameter number: data entry changes nothing
DIGIT, SHORT_DIGIT = 11, 7  # bits of a radix pass,
FEW = 500  # and the shorter ones where a pass over all its values would take longest


@njit(cache=True)
def counting_pass(ticks, shift, bits, given, sorted_):
    """One stable radix pass: sort `given` into `sorted_` by one digit of its ticks."""
    highest = (1 << bits) - 1
    bounds = np.zeros(highest + 2, np.int32)
    for i in given:
        bounds[((ticks[i] >> shift) & highest) + 1] += 1
    for digit in range(highest + 1):
        bounds[digit + 1] += bounds[digit]
    for i in given:
        digit = (ticks[i] >> shift) & highest
        sorted_[bounds[digit]] = i
        bounds[digit] += 1


@njit(cache=True)
def order_by_tick(ticks, count):
    """Positions 0 .. count - 1 sorted by tick; stable."""
    order = np.arange(count).astype(np.int32)
    greatest, is_sorted = 0, True
    for i in range(1, count):
        is_sorted &= ticks[i - 1] <= ticks[i]
    if is_sorted:
        return order
    for i in range(count):
        greatest = max(greatest, ticks[i])
    bits = SHORT_DIGIT if count < FEW else DIGIT
    spare = np.empty(count, np.int32)
    shift = 0
    while greatest >> shift:
        counting_pass(ticks, shift, bits, order, spare)
        order, spare = spare, order
        shift += bits
    return order


@njit(cache=True)
def by_time(events, count):
    """The first `count` columns of `events`, sorted by their first row, ticks; stable.

    In file order before, so by (tick, offset) after: in the order a player would meet them.
    """
    result = np.empty((len(events), count), events.dtype)
    order = order_by_tick(events[0], count)
    for row in range(len(events)):
        for i in range(count):
            result[row, i] = events[row, order[i]]
    return result


@njit(cache=True)
def control_records(messages, resets, home, first, part_number):
    """Controllers, pitch bends and channel pressure, as three words each.

    A pitch bend is stored in cents: its position times the part's current bend range (registered
    parameter 0; 200 cents until set), halves rounded up. Program changes are left out: each note
    has its program. A GM, GM2, GS or XG reset becomes a reset of all controllers (121) of every
    part that has had a controller since the last one, and that message centres the pitch bend.

    Args:
        messages: sorted by (tick, offset).
        resets: rows key, port; sorted by key.
        home: the port whose resets apply to each part.
        first: the tick of each part's first note; a reset before it changes nothing.
        part_number: uint8, one per part; see `parts.part_numbers`.

    Returns:
        int64, shape (controls, 3), to be viewed as CONTROL_DTYPE.
    """
    s_tick, s_offset, s_bytes, s_origin = messages[0], messages[1], messages[2], messages[3]
    records = np.empty((2 * len(s_tick), 3), np.int64)
    parts = len(first)
    parameter = np.full(parts, UNSET, np.int32)
    bend_range = np.full(parts, 200, np.int32)
    bend = np.zeros(parts, np.int64)
    touched = np.zeros(parts, np.bool_)  # has had a controller since the last reset
    track_of = np.zeros(parts, np.int64)
    k, r = 0, 0
    for i in range(len(s_tick) + 1):
        key = np.int64(2**63 - 1)
        if i < len(s_tick):
            key = np.int64(s_tick[i]) << 32 | s_offset[i]
        while r < resets.shape[1] and resets[0, r] < key:
            for part in range(parts):
                if home[part] != resets[1, r] or resets[0, r] >> 32 <= first[part]:
                    continue
                parameter[part], bend_range[part] = UNSET, 200
                for kind in (PITCH_BEND, ALL_CONTROLLERS_OFF):
                    if bend[part] if kind == PITCH_BEND else touched[part]:
                        origin = track_of[part] << 32 | np.int64(part & 15) << 48
                        records[k, 0] = resets[0, r] >> 32
                        records[k, 1] = origin | np.int64(kind) << 56
                        records[k, 2] = part_number[part]
                        k += 1
                bend[part], touched[part] = 0, False
            r += 1
        if i == len(s_tick):
            break
        status, x, y = s_bytes[i] & 0xFF, (s_bytes[i] >> 8) & 127, (s_bytes[i] >> 16) & 127
        part = s_origin[i] >> 16 << 4 | status & 15
        kind, value = np.int64(x), np.int64(y)
        if status >> 4 == 0xC:
            continue
        track_of[part] = s_origin[i] & 0xFFFF
        origin = track_of[part] << 32 | np.int64(status & 15) << 48
        if status >> 4 == 0xB:
            touched[part] = True
            if x == 101:
                parameter[part] = y << 7 | parameter[part] & 127
            elif x == 100:
                parameter[part] = parameter[part] & 0x3F80 | y
            elif x == 98 or x == 99:
                parameter[part] = UNSET  # a non-registered parameter
            elif x == 6 and parameter[part] == 0:
                bend_range[part] = 100 * y + bend_range[part] % 100
            elif x == 38 and parameter[part] == 0:
                bend_range[part] = bend_range[part] // 100 * 100 + min(y, 99)
            elif x == ALL_CONTROLLERS_OFF:
                parameter[part] = UNSET
            if x == ALL_CONTROLLERS_OFF and bend[part]:
                bend[part] = 0
                records[k, 0] = s_tick[i]
                records[k, 1] = origin | np.int64(PITCH_BEND) << 56
                records[k, 2] = part_number[part]
                k += 1
        elif status >> 4 == 0xD:
            kind, value = np.int64(CHANNEL_PRESSURE), np.int64(x)
        else:
            kind = np.int64(PITCH_BEND)
            value = ((y << 7 | x) - 8192) * np.int64(bend_range[part])
            value = (value + 4096) // 8192
            bend[part] = value
        records[k, 0] = s_tick[i]
        records[k, 1] = (value & 0xFFFFFFFF) | origin | kind << 56
        records[k, 2] = part_number[part]
        k += 1
    return records[:k]


@njit(cache=True)
def stated(metas, data, kind):
    """The tempos or the meters that a file states; of those on one tick the last stays.

    Args:
        metas: sorted by (tick, offset).
        kind: TEMPO or METER.

    Returns:
        int64, shape (found, 2), to be viewed as TEMPO_DTYPE or METER_DTYPE; and the number of
        impossible ones.
    """
    m_tick, m_offset, m_length, m_kind = metas[0], metas[1], metas[2], metas[3]
    records = np.empty((len(m_kind), 2), np.int64)
    count, invalid = 0, 0
    for i in range(len(m_kind)):
        if m_kind[i] != kind:
            continue
        at = m_offset[i]
        first, second, third = int(data[at]), int(data[at + 1]), int(data[at + 2])
        if kind == TEMPO:
            value = first << 16 | second << 8 | third
            is_possible = m_length[i] == 3 and value > 0
        else:
            value = first | 1 << min(second, MAX_DENOMINATOR_POWER) << 8
            is_possible = m_length[i] >= 2 and first > 0 and second <= MAX_DENOMINATOR_POWER
        if not is_possible:
            invalid += 1
            continue
        count -= count > 0 and records[count - 1, 0] == m_tick[i]
        records[count, 0], records[count, 1] = m_tick[i], value
        count += 1
    return records[:count], invalid
