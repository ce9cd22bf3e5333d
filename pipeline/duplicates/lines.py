"""The lines of a recording that n-grams are made of: each part's skyline, and the top line of all.

Conventions
    part        the notes of one channel, drums left out
    skyline     the highest of a part's notes that start on each tick
    top line    the notes, drums left out, above which nothing sounds when they start
    line        int64, shape (2, notes): ticks, strictly ascending, and pitches
"""

import numpy as np
from numba import njit

PARTS = 128


@njit(cache=True)
def lines(notes):
    """Find all skylines and the top line in one pass.

    Args:
        notes: NOTE_DTYPE, by start; of its fields start, end, channel, pitch and is_drum. Any
            number below PARTS that identifies the part can stand for the channel.

    Returns:
        int64, shape (2, notes), holding the skyline of part n in columns begin[n] to end[n] - 1;
        begin and end, int64, shape (PARTS,); and the top line.
    """
    count = np.zeros(PARTS + 1, np.int64)
    for i in range(len(notes)):
        count[notes[i].channel + 1] += 1
    begin = np.cumsum(count)[:PARTS]
    end = begin.copy()
    skylines, top_line = np.empty((2, len(notes)), np.int64), np.empty((2, len(notes)), np.int64)
    last = np.full(PARTS, -1, np.int64)
    sounds_until = np.zeros(128, np.int64)
    found, top, i = 0, 0, 0
    while i < len(notes):
        tick, highest = notes[i].start, -1
        while i < len(notes) and notes[i].start == tick:
            if not notes[i].is_drum:
                part, pitch = notes[i].channel, np.int64(notes[i].pitch)
                if last[part] != tick:
                    skylines[0, end[part]], skylines[1, end[part]] = tick, pitch
                    last[part] = tick
                    end[part] += 1
                else:
                    skylines[1, end[part] - 1] = max(skylines[1, end[part] - 1], pitch)
                sounds_until[pitch] = max(sounds_until[pitch], notes[i].end)
                highest = max(highest, pitch)
            i += 1
        if highest < 0:
            continue
        top = max(top, highest)
        while top > highest and sounds_until[top] <= tick:
            top -= 1
        if top == highest:
            top_line[0, found], top_line[1, found] = tick, highest
            found += 1
    return skylines, begin, end, top_line[:, :found]
