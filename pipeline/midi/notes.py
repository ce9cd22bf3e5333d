"""Note events to note records: what is in force when a note starts, and the final order.

Conventions
    part    port * 16 + channel: what one instrument of one sound module listens to
    key     tick << 32 | place in the file: the order in which a player would meet events
    word    the last 8 bytes of a note record as one integer; see NOTE_DTYPE

Records are filled as three 64-bit integers each and viewed as a structured array, which costs
nothing. That needs a little-endian machine.

Every kernel of this file calls kernels of this file only; see events.py.
"""

import sys

import numpy as np
from numba import njit

assert sys.byteorder == "little"

NOTE_DTYPE = np.dtype(
    {
        "names": ["start", "end", "pitch", "velocity", "channel", "track", "program", "is_drum"],
        "formats": ["<i8", "<i8", "u1", "u1", "u1", "<u2", "u1", "?"],
        "offsets": [0, 8, 18, 19, 20, 16, 21, 22],
        "itemsize": 24,
    }
)

CROWD = 32  # simultaneous notes, or nearly; more are sorted by another method
DIGIT = 9  # bits that the other method sorts by at a time
BUCKETS = 1 << DIGIT


@njit(cache=True)
def latest(keys, first, last, key):
    """The last position in keys[first:last], which is sorted, whose key is below `key`, or -1."""
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
    """Positions sorted by part, and where each part's begin; within a part they keep order."""
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
def in_force(start, place, word, change_key, change_part, change_value, default):
    """For each note, the value its part was last given before the note started.

    Changes hold for all tracks: a program change may stand in another track than the notes.
    Within a tick, what stands earlier in the file comes first.

    Args:
        start, place, word: the notes, in the order of the file.
        change_key: int64, sorted. change_part, change_value: in the same order.
        default: shape (parts,); the value of each part before its first change.

    Returns:
        uint8, shape (notes,).
    """
    parts = len(default)
    order, bounds = by_part(change_part, parts)
    keys, values = change_key[order], change_value[order]
    current = np.full(parts, -1, np.int32)
    since = np.full(parts, -1, np.int64)  # current[part] holds for keys in (since, until]
    until = np.full(parts, -1, np.int64)
    result = np.empty(len(start), np.uint8)
    for i in range(len(start)):
        key = np.int64(start[i]) << 32 | place[i]
        part = (word[i] >> 56) << 4 | ((word[i] >> 32) & 15)
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
def programs(notes, word, settings, counts):
    """The program of each note: that of its part when the note starts; 0 before any is set.

    Args:
        notes, word, counts: as `events.read_tracks` returns them.
        settings: likewise, sorted by (tick, place).
    """
    s_tick, s_place, s_bytes, s_origin = settings[0], settings[1], settings[2], settings[3]
    count = 0
    for i in range(len(s_bytes)):
        count += (s_bytes[i] & 0xF0) == 0xC0
    change_key = np.empty(count, np.int64)
    change_part = np.empty(count, np.int32)
    change_value = np.empty(count, np.uint8)
    k = 0
    for i in range(len(s_bytes)):
        if (s_bytes[i] & 0xF0) == 0xC0:
            change_key[k] = np.int64(s_tick[i]) << 32 | s_place[i]
            change_part[k] = s_origin[i] >> 16 << 4 | s_bytes[i] & 15
            change_value[k] = (s_bytes[i] >> 8) & 127
            k += 1
    used = counts[0]
    default = np.zeros(counts[3], np.uint8)
    return in_force(
        notes[0, :used],
        notes[2, :used],
        word[:used],
        change_key,
        change_part,
        change_value,
        default,
    )


@njit(cache=True)
def chord_key(word):
    """Track, channel and pitch of a note as one number that sorts by all three."""
    return (word & 0xFFFF) << 11 | (((word >> 32) & 15) << 7 | ((word >> 16) & 127))


@njit(cache=True)
def order_of_keys(keys):
    """Positions that sort `keys`, integers of 0 or more; equals keep their order.

    One counting pass a digit, from the lowest up, so that time is linear in what is sorted.
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
    """Sort every bucket of more than CROWD records, each of which ends where `ends` says.

    By start, track, channel and pitch; equals keep their order. It is here so that no input
    makes `sort_nearly_sorted` slow.
    """
    first = 0
    for last in ends:
        if last - first > CROWD:
            earliest = records[first:last, 0].min()
            keys = np.empty(last - first, np.int64)
            for i in range(first, last):
                keys[i - first] = (records[i, 0] - earliest) << 27 | chord_key(records[i, 2])
            records[first:last] = records[first:last][order_of_keys(keys)]
        first = last


@njit(cache=True)
def sort_nearly_sorted(records):
    """Sort by start, track, channel and pitch by insertion: fast if none is far from its place."""
    for i in range(1, len(records)):
        start = records[i, 0]
        if records[i - 1, 0] < start:
            continue
        end, word = records[i, 1], records[i, 2]
        key = chord_key(word)
        j = i
        while j > 0 and (
            records[j - 1, 0] > start
            or (records[j - 1, 0] == start and chord_key(records[j - 1, 2]) > key)
        ):
            records[j, 0] = records[j - 1, 0]
            records[j, 1] = records[j - 1, 1]
            records[j, 2] = records[j - 1, 2]
            j -= 1
        if j < i:
            records[j, 0], records[j, 1], records[j, 2] = start, end, word


@njit(cache=True)
def note_records(notes, word, program, decision, is_drum, counts):
    """The notes in their final order: start, track, channel, pitch, then as in the file.

    One pass drops each note into the bucket of its time, which keeps the order of the file; then
    every bucket, mostly a chord, is put in order.

    Args:
        program, decision: of each note, in the order of the file.
        is_drum: bool, by decision.

    Returns:
        records: int64, shape (notes, 3), to be viewed as NOTE_DTYPE.
        decided: int64, by decision: how many notes it was made for.
    """
    start, end = notes[0], notes[1]
    count = counts[0]
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
        decided[np.uintp(decision[i])] += 1
        flags = np.int64(program[i]) << 40 | np.int64(is_drum[np.uintp(decision[i])]) << 48
        records[at, 0] = start[i]
        records[at, 1] = end[i]
        records[at, 2] = (word[i] & 0x0000FFFFFFFFFFFF) | flags
    if fullest > CROWD:
        sort_crowds(records, ends[:buckets])
    sort_nearly_sorted(records)
    return records, decided
