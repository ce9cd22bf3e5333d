"""A song's n-grams, hashed, and the smallest hashes of each: the compiled half of fingerprints.

Two kinds are fingerprinted, so that neither another notation nor another arrangement hides a
duplicate. Neither depends on key, tempo, instrument, velocity, order of tracks, resolution, or
where the song starts.

    melodic     four notes of one part's skyline: a note and any three of the next five, as
                intervals and times from the first, in eighths of a beat
    top line    five notes of the highest line of all parts together: a note and any four of the
                next five, as intervals from the first, and times as shares of the n-gram's span.
                They survive half and double time, ticks on another scale, a drifting beat, and
                all parts merged into one

All are skip-grams: where notes are missing, n-grams that skip them remain. `pipeline audit` takes
a third kind, by pitches alone.

Kernels here call only kernels of this file; see pipeline/midi/events.py.

Conventions
    part, skyline, top line, line   see `pipeline.duplicates.lines`
    bin, place                      see `pipeline.duplicates.signature`
"""

import numpy as np
from numba import njit

from pipeline.duplicates.signature import BINS, LAST_PLACE

NEXT_NOTES, NEXT_PITCHES = 5, 6
MAX_EIGHTHS = 255
"""Longer times between notes count as this."""
SHARES = 16
"""Parts of a span that times are rounded to. Multiples of a twelfth or an eighth of the span lie at
least a hundredth of it from where rounding changes, so rounded ticks change few n-grams."""
SEEN_BITS = 10
"""Of a table of the notes that were hashed last, so that music that repeats costs little."""
EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
"""Stands for the smallest hash of a bin without n-grams."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)
def mix_bits(hash_):
    """Make every bit of a 64-bit number depend on all others (the finalizer of splitmix64)."""
    hash_ = (hash_ ^ (hash_ >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hash_ = (hash_ ^ (hash_ >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hash_ ^ (hash_ >> np.uint64(31))


@njit(cache=True)
def keep_smallest(smallest, first, ngram, start):
    """Note an n-gram and its start if no hash in its bin is smaller, and no equal one earlier."""
    bin_ = ngram >> np.uint64(56)
    if ngram <= smallest[bin_] and (ngram < smallest[bin_] or start < first[bin_]):
        smallest[bin_], first[bin_] = ngram, start


@njit(cache=True)
def is_repeated(step, start, seen, seen_at):
    """Whether a note and the next five were hashed before, at no later start.

    Args:
        step: of the next five, from 1 to 5.
        start: the note's.
        seen, seen_at: steps, shape (2 ** SEEN_BITS, 2), and starts; changed: this replaces another.
    """
    most = step[1] << np.uint64(48) | step[2] << np.uint64(32) | step[3] << np.uint64(16) | step[4]
    slot = ((most ^ step[5]) * GOLDEN) >> np.uint64(64 - SEEN_BITS)
    if seen[slot, 0] == most and seen[slot, 1] == step[5] and seen_at[slot] <= start:
        return True
    seen[slot, 0], seen[slot, 1], seen_at[slot] = most, step[5], start
    return False


@njit(cache=True)
def melodic_ngrams(line, begin, end, ticks_per_beat):
    """Find the smallest hashes of a song's melodic n-grams.

    Args:
        line, begin, end: the skylines, as `pipeline.duplicates.lines` finds them.
        ticks_per_beat: the unit of time.

    Returns:
        shape (BINS,), uint64: the smallest hash of each bin, EMPTY where there is none; and int64:
        its place.
    """
    smallest, first = np.full(BINS, EMPTY, np.uint64), np.zeros(BINS, np.int64)
    step = np.empty(NEXT_NOTES + 1, np.uint64)
    seen = np.zeros((1 << SEEN_BITS, 2), np.uint64)
    seen_at = np.empty(1 << SEEN_BITS, np.int64)
    for part in range(len(begin)):
        for i in range(begin[part], end[part] - 3):
            reach = min(NEXT_NOTES, end[part] - 1 - i)
            for n in range(1, reach + 1):
                # exact up to 2 ** 53, and several times as fast as dividing integers
                eighths = 8 * ((line[0, i + n] - line[0, i]) / ticks_per_beat) + 0.5
                interval = line[1, i + n] - line[1, i] + 128
                step[n] = np.uint64(np.int64(min(eighths, MAX_EIGHTHS)) << 8 | interval)
            if reach == NEXT_NOTES and is_repeated(step, line[0, i], seen, seen_at):
                continue
            for a in range(1, reach - 1):
                for b in range(a + 1, reach):
                    for c in range(b + 1, reach + 1):
                        ngram = step[a] << np.uint64(32) | step[b] << np.uint64(16) | step[c]
                        keep_smallest(smallest, first, mix_bits(ngram + GOLDEN), line[0, i])
    used = np.flatnonzero(end > begin)
    if len(used) == 0:
        return smallest, first
    return smallest, places(first, line[0, begin[used]].min(), line[0, end[used] - 1].max())


@njit(cache=True)
def top_line_ngrams(line):
    """Find the smallest hashes of a top line's n-grams; returns what `melodic_ngrams` does."""
    smallest, first = np.full(BINS, EMPTY, np.uint64), np.zeros(BINS, np.int64)
    step = np.empty(NEXT_NOTES, np.uint64)
    for i in range(line.shape[1] - 4):
        for last in range(4, min(NEXT_NOTES, line.shape[1] - 1 - i) + 1):
            span = line[0, i + last] - line[0, i]
            for n in range(1, last):
                share = SHARES * ((line[0, i + n] - line[0, i]) / span) + 0.5
                interval = line[1, i + n] - line[1, i] + 128
                step[n] = np.uint64(np.int64(share) << 8 | interval)
            end = np.uint64(line[1, i + last] - line[1, i] + 128)
            for skipped in range(1 if last > 4 else 4, 5):
                ngram = end
                for n in range(1, last):
                    if n != skipped:
                        ngram = ngram << np.uint64(13) | step[n]
                keep_smallest(smallest, first, mix_bits(ngram + GOLDEN), line[0, i])
    if line.shape[1] == 0:
        return smallest, first
    return smallest, places(first, line[0, 0], line[0, -1])


@njit(cache=True)
def places(first, begin, end):
    """Express ticks as shares of the time from begin to end; for empty bins, as anything."""
    return (first - begin) * LAST_PLACE // max(end - begin, 1)


@njit(cache=True)
def pitch_ngrams(pitch):
    """Hash a line's n-grams, a note and any five of the next six by pitches alone, with repeats."""
    ngrams = np.empty(len(pitch) * NEXT_PITCHES, np.uint64)
    found = 0
    for first in range(len(pitch) - NEXT_PITCHES + 1):
        reach = min(NEXT_PITCHES, len(pitch) - 1 - first)
        for skipped in range(1 if reach == NEXT_PITCHES else NEXT_PITCHES, NEXT_PITCHES + 1):
            ngram = np.uint64(0)
            for n in range(1, reach + 1):
                if n != skipped:
                    interval = np.uint64(pitch[first + n] - pitch[first] + 128)
                    ngram = ngram << np.uint64(8) | interval
            ngrams[found] = mix_bits(ngram + GOLDEN)
            found += 1
    return ngrams[:found]


@njit(cache=True)
def densify(smallest, places):
    """Take sixteen bits of each bin's smallest hash; an empty bin borrows another bin's.

    Which one it borrows depends on the bin alone, so equal sets have equal signatures.
    """
    hashes, taken = np.empty(BINS, np.uint16), np.empty(BINS, np.uint16)
    for bin_ in range(BINS):
        source, attempt = np.uint64(bin_), 0
        while smallest[source] == EMPTY:
            attempt += 1
            source = mix_bits(np.uint64(bin_ << 16 | attempt)) >> np.uint64(56)
        hashes[bin_] = mix_bits(smallest[source] + np.uint64(attempt)) & np.uint64(0xFFFF)
        taken[bin_] = places[source]
    return hashes, taken
