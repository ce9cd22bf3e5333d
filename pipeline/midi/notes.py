"""Note events to note records: which program a note plays, and the final order.

Conventions
    part    port * 16 + channel: one instrument of one sound module
    key     tick << 32 | offset in the file: the order in which a player would meet events
    packed  the last 8 bytes of a note record as one integer; see NOTE_DTYPE

Each record is filled as three 64-bit integers and viewed as a structured array, which copies
nothing but needs a little-endian machine.

Kernels here call only kernels of this file; see events.py.
"""

import sys

import numpy as np
from numba import njit

assert sys.byteorder == "little"

NOTE_DTYPE = np.dtype(
    {
        "names": [
            *("start", "end", "pitch", "velocity", "channel", "track", "program", "is_drum", "part")
        ],
        "formats": ["<i8", "<i8", "u1", "u1", "u1", "<u2", "u1", "?", "u1"],
        "offsets": [0, 8, 18, 19, 20, 16, 21, 22, 23],
        "itemsize": 24,
    }
)

CROWD = 32  # notes in one bucket; larger buckets are sorted by radix
DIGIT = 9  # bits per radix pass
BUCKETS = 1 << DIGIT


@njit(cache=True)
def latest(keys, first, last, key):
    """The last position in the sorted keys[first:last] whose key is below `key`, or -1."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low - 1 if low > first else -1


@njit(cache=True)
def by_part(parts, count):
    """Positions sorted by part (stable), and where the positions of each part begin."""
    bounds = np.zeros(count + 1, np.int32)
    for part in parts:
        bounds[part + 1] += 1
    for part in range(count):
        bounds[part + 1] += bounds[part]
    order = np.empty(len(parts), np.int32)
    filled = bounds.copy()
    for i in range(len(parts)):
        order[filled[parts[i]]] = i
        filled[parts[i]] += 1
    return order, bounds


@njit(cache=True)
def in_force(start, offset, packed, changes, default):
    """For each note, the last value its part was given before the note started.

    Changes apply to all tracks: a program change may be in another track than the notes.
    Within a tick, the event earlier in the file comes first.

    Args:
        start, offset, packed: the notes, in the order of the file.
        changes: (key, part, value), sorted by key.
        default: shape (parts,); the value of each part before its first change.

    Returns:
        uint8, shape (notes,).
    """
    parts = len(default)
    change_key, change_part, change_value = changes
    order, bounds = by_part(change_part, parts)
    keys, values = change_key[order], change_value[order]
    current = np.full(parts, -1, np.int32)
    since = np.full(parts, -1, np.int64)  # current[part] holds for keys in (since, until]
    until = np.full(parts, -1, np.int64)
    result = np.empty(len(start), np.uint8)
    for i in range(len(start)):
        key = np.int64(start[i]) << 32 | offset[i]
        part = (packed[i] >> 56) << 4 | ((packed[i] >> 32) & 15)
        if not since[part] < key <= until[part]:
            first, last = bounds[part], bounds[part + 1]
            at = latest(keys, first, last, key)
            current[part] = at
            since[part] = keys[at] if at >= 0 else -1
            after = at + 1 if at >= 0 else first
            until[part] = keys[after] if after < last else np.int64(2**63 - 1)
        at = current[part]
        result[i] = values[at] if at >= 0 else default[part]
    return result


@njit(cache=True)
def chord_key(packed):
    """Track, channel and pitch of a note as one number that sorts by all three."""
    return (packed & 0xFFFF) << 11 | (((packed >> 32) & 15) << 7 | ((packed >> 16) & 127))


@njit(cache=True)
def order_of_keys(keys):
    """Positions that sort `keys`, integers of 0 or more; equals keep their order.

    A radix sort: one counting pass per digit, from the lowest up, so the time is linear.
    """
    greatest = keys.max()
    order = np.arange(len(keys)).astype(np.int32)
    spare = np.empty_like(order)
    shift = 0
    while greatest >> shift:
        bounds = np.zeros(BUCKETS + 1, np.int32)
        for key in keys:
            bounds[((key >> shift) & (BUCKETS - 1)) + 1] += 1
        for digit in range(BUCKETS):
            bounds[digit + 1] += bounds[digit]
        for i in order:
            digit = (keys[i] >> shift) & (BUCKETS - 1)
            spare[bounds[digit]] = i
            bounds[digit] += 1
        order, spare = spare, order
        shift += DIGIT
    return order


@njit(cache=True)
def sort_crowds(records, ends):
    """Sort every bucket of more than CROWD records; bucket b ends at ends[b].

    By start, track, channel and pitch; stable. Without it, some inputs would make
    `sort_nearly_sorted` quadratic.
    """
    first = 0
    for last in ends:
        if last - first > CROWD:
            crowd = records[first:last].copy()
            earliest = crowd[:, 0].min()
            keys = np.empty(len(crowd), np.int64)
            for i in range(len(crowd)):
                keys[i] = (crowd[i, 0] - earliest) << 27 | chord_key(crowd[i, 2])
            order = order_of_keys(keys)
            for i in range(len(crowd)):
                for word in range(3):
                    records[first + i, word] = crowd[order[i], word]
        first = last


@njit(cache=True)
def sort_nearly_sorted(records):
    """Insertion sort by start, track, channel and pitch: fast for nearly sorted records."""
    if len(records) == 0:
        return
    last, last_key = records[0, 0], chord_key(records[0, 2])
    for i in range(1, len(records)):
        start, end, packed = records[i, 0], records[i, 1], records[i, 2]
        key = chord_key(packed)
        # One branch, seldom taken, instead of one at each chord, which no processor foresees.
        if (last < start) | ((last == start) & (last_key <= key)):
            last, last_key = start, key
            continue
        j = i
        while j > 0 and (
            records[j - 1, 0] > start
            or (records[j - 1, 0] == start and chord_key(records[j - 1, 2]) > key)
        ):
            records[j, 0] = records[j - 1, 0]
            records[j, 1] = records[j - 1, 1]
            records[j, 2] = records[j - 1, 2]
            j -= 1
        records[j, 0], records[j, 1], records[j, 2] = start, end, packed


@njit(cache=True)
def note_records(start, end, packed, program, decision, is_drum, part_number):
    """The notes in their final order: start, track, channel, pitch, then as in the file.

    One stable pass puts each note into the bucket of its time; then every bucket, mostly a chord,
    is sorted.

    Args:
        start, end, packed, program, decision: one per note, in the order of the file.
        is_drum: bool, one per decision.
        part_number: uint8, one per part; see `parts.part_numbers`.

    Returns:
        records: int64, shape (notes, 3), to be viewed as NOTE_DTYPE.
        decided: int64, number of notes per decision; 0 stays uncounted.
    """
    count = len(start)
    records = np.empty((count, 3), np.int64)
    decided = np.zeros(len(is_drum), np.int64)
    if count == 0:
        return records, decided
    span = 0
    for i in range(count):
        span = max(span, start[i])
    shift = 0
    while span >> shift > count:
        shift += 1
    buckets = (span >> shift) + 1
    ends = np.zeros(buckets + 1, np.int32)  # first where each bucket begins, then where it ends
    for i in range(count):
        ends[np.uintp((start[i] >> shift) + 1)] += 1
    fullest = ends.max()
    for bucket in range(buckets):
        ends[bucket + 1] += ends[bucket]
    for i in range(count):
        bucket = np.uintp(start[i] >> shift)
        at = np.uintp(ends[bucket])
        ends[bucket] += 1
        if decision[i]:
            decided[np.uintp(decision[i])] += 1
        flags = np.int64(program[i]) << 40 | np.int64(is_drum[np.uintp(decision[i])]) << 48
        records[at, 0] = start[i]
        records[at, 1] = end[i]
        part = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15)
        flags |= np.int64(part_number[part]) << 56
        records[at, 2] = (packed[i] & 0x0000FFFFFFFFFFFF) | flags
    if fullest > CROWD:
        sort_crowds(records, ends[:buckets])
    sort_nearly_sorted(records)
    return records, decided
