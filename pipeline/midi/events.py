"""Bytes to events: the compiled half of the tolerant MIDI reader.

Conventions
    data      uint8: the file, then PADDING zero bytes, so that an event cut off by the end of
              the file can be read in full and then refused
    at        a position in `data`; `limit` is one past the last byte that may belong to a track
    tick      absolute time, 0 .. MAX_TICK
    offset    the position of an event in the file; (tick, offset) orders the events of all tracks
    part      port * 16 + channel: one instrument of one sound module
    message   a channel message other than a note: controller, program, pressure or pitch bend
    meta      a meta event or a SysEx that later stages need
    capacity  arrays are sized by the shortest possible event (a note-on takes 3 bytes, another
              channel message 2, a meta 4), so they never overflow, whatever the bytes are

Kernels here call only kernels of this file: numba's cache notices a change in the file that
defines a kernel, but not in files that the kernel calls into. compiled.py joins them.

Source:
    Standard MIDI Files 1.0 (RP-001); MIDI 1.0 detailed specification, tables I-VII.
"""

from collections import namedtuple

import numpy as np
from numba import njit

PADDING = 16
MAX_TICK = 2**31 - 2
LONG_REST = 64  # whole notes; a longer delta may be a sign of lost sync
PLAUSIBLE_RUN = 16  # plausible events in a row that clear a suspicious one
MAX_MISSING_STATUS = 4  # events in a row without a status byte; more means lost sync
NOTE_KEYS = 16 * 128

STRICT, TOLERANT, SALVAGE = 0, 1, 2
TIERS = ("strict", "tolerant", "salvage")

REPAIRS: tuple[tuple[str, int, str], ...] = (
    ("unended_note", STRICT, "a note without a note-off was ended by rule"),
    ("all_notes_off", STRICT, "a note without a note-off was ended by an All Notes Off message"),
    ("double_strike", STRICT, "a key struck twice on one tick, with one note-off, ended once"),
    ("orphan_note_off", STRICT, "a note-off without a sounding note was ignored"),
    ("zero_length_note", STRICT, "a note ends on the tick where it starts; kept unchanged"),
    ("alien_chunk", STRICT, "a chunk that is neither header nor track was skipped"),
    ("format_2", STRICT, "the tracks of a format 2 file were laid end to end"),
    ("smpte_division", STRICT, "time in SMPTE frames was converted to beats"),
    ("gzip_wrapper", TOLERANT, "the file was a gzip archive; it was unpacked"),
    ("zip_wrapper", TOLERANT, "the file was a zip archive; it was unpacked"),
    ("riff_wrapper", TOLERANT, "a RIFF (.rmi) wrapper was removed"),
    ("macbinary_prefix", TOLERANT, "a MacBinary header was removed"),
    ("leading_junk", TOLERANT, "bytes before the header were skipped"),
    ("carriage_returns", TOLERANT, "a transfer in text mode was undone: CR LF became LF"),
    ("header_length", TOLERANT, "the header states a length other than 6"),
    ("unknown_format", TOLERANT, "a format other than 0, 1 or 2 was read as format 1"),
    ("zero_division", TOLERANT, "no usable resolution; 480 ticks per beat assumed"),
    ("wide_division", TOLERANT, "a division of no real frame rate was read as ticks per beat"),
    ("track_count", TOLERANT, "the header states a different number of tracks"),
    ("track_length", TOLERANT, "a track states a wrong length; its end was found by reading"),
    ("track_id", TOLERANT, "a track chunk has a damaged name"),
    ("missing_end_of_track", TOLERANT, "a track has no end-of-track event"),
    ("early_end_of_track", TOLERANT, "events after the end-of-track event were read"),
    ("data_after_end_of_track", TOLERANT, "bytes of a track after its end were skipped"),
    ("junk_between_chunks", TOLERANT, "bytes between chunks or after the last were skipped"),
    ("long_number", TOLERANT, "a variable-length number has more than four bytes"),
    ("data_byte", TOLERANT, "a data byte over 127 was read as 127"),
    ("running_status_after_meta", TOLERANT, "running status was kept across a meta event"),
    ("status_missing", TOLERANT, "an event before the first status byte was skipped"),
    ("system_message", TOLERANT, "a system message that does not belong in a file was skipped"),
    ("undefined_status", TOLERANT, "an undefined status or meta type was skipped"),
    ("sysex_length", TOLERANT, "a SysEx states a wrong length; its end was found by reading"),
    ("bad_tempo", TOLERANT, "a tempo of 0 or of a wrong length was ignored"),
    ("bad_meter", TOLERANT, "an impossible time signature was ignored"),
    ("bad_key_signature", TOLERANT, "an impossible key signature was ignored"),
    ("missing_header", SALVAGE, "no header; format 1 and 480 ticks per beat assumed"),
    ("truncated_track", SALVAGE, "a track stops inside an event; what precedes it was kept"),
    ("lost_sync", SALVAGE, "a track stops making sense; what precedes it was kept"),
    ("time_out_of_bounds", SALVAGE, "a track runs beyond the last representable tick"),
    ("lost_byte", SALVAGE, "bytes of a track after its damage were not read"),
)
"""(code, tier, description), in the order of the kernels' counters."""

NUMBER = namedtuple("Number", [code for code, _, _ in REPAIRS])(*range(len(REPAIRS)))
"""Of each repair, by its code: the place of its counter."""

# What makes an event suspicious. One kind alone is a quirk of some program, and reading goes on;
# two kinds close together mean that the reader has lost sync with the events.
ODD_DATA, ODD_STATUS, NO_STATUS, ODD_DELTA, ODD_LENGTH = 1, 2, 4, 8, 16

# The kind of a meta: its type byte, or
SYSEX = 0xF0
TEMPO, METER, KEY, TRACK_NAME, INSTRUMENT_NAME = 0x51, 0x58, 0x59, 0x03, 0x04
PORT, DEVICE_NAME, END_OF_TRACK = 0x21, 0x09, 0x2F
MAX_DEVICES = 64


@njit(cache=True)
def padded(data):
    """A copy of the file's bytes, PADDING longer."""
    result = np.empty(len(data) + PADDING, np.uint8)
    for i in range(len(data)):
        result[i] = data[i]
    result[len(data) :] = 0
    return result


@njit(cache=True)
def number_at(data, at, limit):
    """Read a variable-length number: (value, position after it, bytes).

    The value saturates just above MAX_TICK. A number cut off by `limit` ends there.
    """
    value, start = 0, at
    while at < limit:
        byte = int(data[at])
        at += 1
        value = (value << 7) | (byte & 127)
        if value > MAX_TICK:
            value = MAX_TICK + 1
        if byte < 128:
            break
    return value, at, at - start


@njit(cache=True)
def is_tag(data, at, a, b, c, d):
    """Whether the four bytes at `at` are these."""
    return data[at] == a and data[at + 1] == b and data[at + 2] == c and data[at + 3] == d


@njit(cache=True)
def is_track(data, at):
    """Whether a chunk named MTrk starts here."""
    return is_tag(data, at, 0x4D, 0x54, 0x72, 0x6B)


@njit(cache=True)
def is_header(data, at):
    """Whether a chunk named MThd starts here."""
    return is_tag(data, at, 0x4D, 0x54, 0x68, 0x64)


@njit(cache=True)
def length_at(data, at):
    """The length that the chunk at `at` states."""
    length = 0
    for i in range(4, 8):
        length = (length << 8) | int(data[at + i])
    return length


@njit(cache=True)
def is_alien(data, at, size):
    """Whether an unknown chunk starts here: a printable name, and a length that fits the file."""
    if at + 8 > size:
        return False
    for i in range(4):
        byte = data[at + i] | 32
        if not (97 <= byte <= 122 or data[at + i] == 32 or 48 <= data[at + i] <= 57):
            return False
    return at + 8 + length_at(data, at) <= size


@njit(cache=True)
def next_track(data, at, size):
    """The next MTrk at or after `at`, or `size`."""
    while at + 8 <= size:
        if is_track(data, at):
            return at
        at += 1
    return size


@njit(cache=True)
def ends_like_a_track(data, at):
    """Whether the chunk at `at` ends in an end-of-track event, whatever its name."""
    length = length_at(data, at)
    end = at + 8 + length
    return length >= 4 and data[end - 3] == 0xFF and data[end - 2] == 0x2F and data[end - 1] == 0


@njit(cache=True)
def sysex_end(data, at, limit):
    """Where a SysEx whose stated length is wrong ends, or -1.

    F7 ends it, and so does any other byte over 127: that is the next event's status byte, with
    its one-byte delta before it, or the first byte of a two-byte delta.
    """
    start = at
    while at < limit:
        byte = data[at]
        if byte == 0xF7:
            return at + 1
        if byte >= 128:
            if data[at + 1] < 128 and data[at + 2] >= 128:
                return at
            return max(at - 1, start)
        at += 1
    return -1


@njit(cache=True)
def holds_status(data, at, stop):
    """Whether a byte over 127, which no SysEx contains, lies in data[at:stop]."""
    highest = 0
    for i in range(at, stop):
        highest |= data[i]
    return highest >= 128


@njit(cache=True)
def add_meta(metas, m, tick, offset, length, kind, origin):
    """Fill column m of `metas`; see `read_track`."""
    metas[0, m], metas[1, m], metas[2, m] = tick, offset, length
    metas[3, m], metas[4, m] = kind, origin


@njit(cache=True)
def device_port(data, at, length, devices):
    """The port that stands for a device name: 0 for the first name of a file, 64 to 127 for others.

    Args:
        devices: int64, one hash per name seen so far; 0 where there is none yet.
    """
    name = np.int64(length)
    for i in range(at, at + min(length, 64)):
        name = (name * 31 + data[i]) & 0x7FFFFFFFFFFF
    name += 1
    for device in range(MAX_DEVICES):
        if devices[device] == 0:
            devices[device] = name
        if devices[device] == name:
            return 64 + device if device else 0
    return 0


@njit(cache=True)
def key_of(packed):
    """Channel and pitch of a note as one number below NOTE_KEYS."""
    return ((packed >> 32) & 15) << 7 | ((packed >> 16) & 127)


@njit(cache=True)
def next_of_key(packed, first, last):
    """For each note of [first, last) the next one of its key, or -1; index 0 is note `first`."""
    nearest = np.full(NOTE_KEYS, -1, np.int32)
    following = np.empty(last - first, np.int32)
    for i in range(last - 1, first - 1, -1):
        key = key_of(packed[i])
        following[i - first] = nearest[key]
        nearest[key] = i
    return following


@njit(cache=True)
def find_lost_note_offs(start, end, closed, packed, first, last):
    """Pair the notes of one track anew for every key with fewer note-offs than notes.

    First in, first out goes wrong from a lost note-off on: each later note takes the note-off of
    the note before it. So the notes whose note-off is lost are found first, as the unmatched
    opening brackets of the sequence of note-ons and note-offs: notes after which the number of
    sounding notes of the key never falls back to what it was. The other notes have a note-off
    each and are paired first in, first out.

    Args:
        end: paired first in, first out; -1 where there is no note-off. Rewritten in place; stays
            -1 for the notes whose note-off is lost.
        closed: for each note with an end, the number of notes before that note-off.

    Returns:
        Notes that start with a paired one of their key, and end with it: struck twice at once.
    """
    following = next_of_key(packed, first, last)
    pending = np.full(NOTE_KEYS, -1, np.int32)  # the note with the next end of each key
    is_short = np.zeros(NOTE_KEYS, np.bool_)
    for i in range(last - 1, first - 1, -1):
        key = key_of(packed[i])
        pending[key] = i
        is_short[key] |= end[i] < 0
    head = pending.copy()
    top = np.full(NOTE_KEYS, -1, np.int32)  # stack of the unmatched notes of each key
    below = np.empty(last - first, np.int32)
    has_off = np.zeros(last - first, np.bool_)
    for i in range(first, last):
        key = key_of(packed[i])
        if not is_short[key]:
            continue
        j = pending[key]
        while j >= 0 and end[j] >= 0 and closed[j] <= i:
            has_off[top[key] - first] = True
            top[key] = below[top[key] - first]
            j = following[j - first]
        pending[key] = j
        below[i - first] = top[key]
        top[key] = i
    for key in np.flatnonzero(is_short):
        j = pending[key]
        while j >= 0 and end[j] >= 0:
            has_off[top[key] - first] = True
            top[key] = below[top[key] - first]
            j = following[j - first]
    ends = end[first:last].copy()
    for key in np.flatnonzero(is_short):
        source, i = head[key], head[key]
        while i >= 0:
            end[i] = -1
            if has_off[i - first]:
                end[i] = ends[source - first]
                source = following[source - first]
            i = following[i - first]
    doubles = 0
    for i in range(last - 1, first - 1, -1):
        twin = following[i - first]
        if end[i] < 0 and twin >= 0 and start[twin] == start[i] and end[twin] >= 0:
            end[i] = end[twin]
            doubles += 1
    return doubles


@njit(cache=True)
def silencing_messages(messages, count):
    """The messages that end all notes of a part, as part << 32 | tick, sorted."""
    s_tick, s_bytes, s_origin = messages[0], messages[2], messages[3]
    found = np.empty(count, np.int64)
    k = 0
    for i in range(count):
        controller = (s_bytes[i] >> 8) & 127
        if s_bytes[i] & 0xF0 == 0xB0 and (controller == 120 or controller >= 123):
            part = np.int64(s_origin[i]) >> 16 << 4 | s_bytes[i] & 15
            found[k] = part << 32 | s_tick[i]
            k += 1
    return np.sort(found[:k])


@njit(cache=True)
def end_open_notes(notes, packed, silencers, repairs, first, last, track_end, max_ticks):
    """End the notes [first, last) of one track that have no note-off.

    Such a note ends at the first of these: the next note of its key on a later tick; an All Notes
    Off, All Sound Off or mode message (controllers 120 and 123 to 127) to its part, in any track;
    the end of the track; `max_ticks` after its start, unless one of those messages ends it.

    Args:
        silencers: see `silencing_messages`.
    """
    start, end = notes[0], notes[1]
    count = len(silencers)
    latest = np.full(NOTE_KEYS, track_end, np.int64)  # start of the next note of a key,
    beyond = np.full(NOTE_KEYS, track_end, np.int64)  # and of the next one on a later tick
    for i in range(last - 1, first - 1, -1):
        key = key_of(packed[i])
        if start[i] < latest[key]:
            beyond[key] = latest[key]
            latest[key] = start[i]
        if end[i] >= 0:
            continue
        part = packed[i] >> 56 << 4 | ((packed[i] >> 32) & 15)
        limit = min(beyond[key], track_end)
        at = np.searchsorted(silencers, (part << 32 | start[i]) + 1)
        if at < count and silencers[at] >> 32 == part and silencers[at] & 0xFFFFFFFF <= limit:
            end[i] = silencers[at] & 0xFFFFFFFF
            repairs[NUMBER.all_notes_off] += 1
        else:
            end[i] = max(int(start[i]), min(limit, start[i] + max_ticks))
            repairs[NUMBER.unended_note] += 1


@njit(cache=True)
def read_track(
    data, at, limit, trusted, track, base, max_ticks,
    notes, packed, messages, metas, oldest, newest, devices, counts, repairs,
):  # fmt: skip
    """Read the events of one track from `at` until its end or `limit`.

    One long function because it is the inner loop: its state stays in registers. Indexes are
    np.uintp where it matters, which saves numba a check for negative ones.

    Args:
        trusted: whether the track's stated length gave `limit`; if so, events after the end of
            track are kept as long as they make sense up to `limit`.
        track: its number, stored with every note and message.
        base: the tick that its first delta counts from.
        max_ticks: the longest that a note without a note-off may last.
        notes: int32, rows start, end (-1: without a note-off), offset, next sounding note of the
            same key, notes before its note-off; filled from counts[0] on. A note-off ends the
            sounding note of its channel and pitch that started first; where note-offs are lost,
            see `find_lost_note_offs`.
        packed: int64, one per note; from the low byte up: track (2 bytes), pitch, velocity,
            channel, 0, 0, port.
        messages: int32, rows tick, offset, bytes (status, first and second data byte, from the
            low byte up), origin (port << 16 | track); filled from counts[1] on.
        metas: int32, rows tick, offset of the payload, length, kind, origin; filled from
            counts[2] on.
        oldest, newest: int32, the first and the last sounding note of each channel and pitch;
            oldest is -1 without any, before the track and after it.
        devices: see `device_port`.
        repairs: one counter per entry of REPAIRS.

    Returns:
        (position after the track, its last tick, whether it has an end-of-track event, whether
        it is damaged, whether notes are left without an end)
    """
    start, end, offset, following, closed = notes[0], notes[1], notes[2], notes[3], notes[4]
    s_tick, s_offset, s_bytes, s_origin = messages[0], messages[1], messages[2], messages[3]
    n, s, m = counts[0], counts[1], counts[2]
    first, opened, ended_notes, zeros = n, 0, 0, 0
    tick, status, port, has_port = base, 0, 0, False
    interrupted = False
    suspects, plausible, missing = 0, 0, 0
    kept = (n, s, m, tick, at)  # state to return to if suspicion is confirmed,
    ended = (n, s, m, tick, at)  # and if the bytes after the end of track are not events
    damage, found_end, event_at = -1, False, at

    while at < limit:
        event_at, suspect = at, 0
        delta = int(data[np.uintp(at)])
        at += 1
        if delta >= 128:
            second = int(data[np.uintp(at)])
            if second < 128:
                delta = (delta & 127) << 7 | second
                at += 1
            else:
                delta, at, length = number_at(data, event_at, limit)
                if length > 4:
                    repairs[NUMBER.long_number] += 1
                    suspect = ODD_LENGTH
                if delta >= LONG_REST * max_ticks:
                    suspect |= ODD_DELTA
        tick += delta
        if at >= limit:
            tick -= delta
            break  # a delta with no event behind it
        if tick > MAX_TICK:
            damage = NUMBER.time_out_of_bounds
            break

        byte = int(data[np.uintp(at)])
        if 128 <= byte < 0xF0:
            status = byte
            at += 1
            interrupted = False
        elif byte >= 0xF0:
            at += 1
        elif status:
            byte = status
            if interrupted:
                interrupted = False
                repairs[NUMBER.running_status_after_meta] += 1
        else:  # most messages have two data bytes: skip two and stay in sync
            at += 2
            repairs[NUMBER.status_missing] += 1
            suspect |= NO_STATUS
            missing += 1

        if 128 <= byte < 0xF0:
            x, y = int(data[np.uintp(at)]), int(data[np.uintp(at + 1)])
            one = (byte & 0xE0) == 0xC0  # program change and channel pressure have one data byte
            y = 0 if one else y
            at += 1 if one else 2
            if at > limit:
                damage = NUMBER.truncated_track
                break
            if (x | y) >= 128:
                x, y = min(x, 127), min(y, 127)
                repairs[NUMBER.data_byte] += 1
                suspect |= ODD_DATA
            if byte < 0xA0:
                channel = byte & 15
                key = np.uintp(channel << 7 | x)
                sounding = oldest[key]
                if byte >= 0x90 and y > 0:
                    slot = np.uintp(n)
                    start[slot] = tick
                    end[slot] = -1
                    offset[slot] = event_at
                    packed[slot] = track | x << 16 | y << 24 | channel << 32 | port << 56
                    following[slot] = -1
                    if sounding < 0:
                        oldest[key] = n
                    else:
                        following[np.uintp(newest[key])] = n
                    newest[key] = n
                    n += 1
                    opened += 1
                elif sounding >= 0:
                    end[np.uintp(sounding)] = tick
                    closed[np.uintp(sounding)] = n
                    zeros += start[np.uintp(sounding)] == tick
                    oldest[key] = following[np.uintp(sounding)]
                    ended_notes += 1
                else:
                    repairs[NUMBER.orphan_note_off] += 1
            elif byte >= 0xB0:
                s_tick[np.uintp(s)] = tick
                s_offset[np.uintp(s)] = event_at
                s_bytes[np.uintp(s)] = byte | x << 8 | y << 16
                s_origin[np.uintp(s)] = port << 16 | track
                s += 1
        elif byte == 0xFF:
            interrupted = True
            kind = int(data[at])
            length, at, _ = number_at(data, at + 1, limit)
            if at + length > limit:
                damage = NUMBER.truncated_track
                break
            if kind == END_OF_TRACK:
                at += length
                if found_end:
                    break
                found_end, status = True, 0
                ended = (n, s, m, tick, at)
                if suspects or not trusted or is_track(data, at):
                    break
                continue  # a few programs write events after the end
            if kind >= 128:
                repairs[NUMBER.undefined_status] += 1
                suspect |= ODD_STATUS
            elif kind == PORT and length >= 1:
                port, has_port = int(data[at]) & 127, True
                counts[3] = max(counts[3], (port + 1) * 16)
            elif kind == DEVICE_NAME and length >= 1 and not has_port:
                port = device_port(data, at, length, devices)
                counts[3] = max(counts[3], (port + 1) * 16)
            elif kind in (TEMPO, METER, TRACK_NAME, INSTRUMENT_NAME):
                add_meta(metas, m, tick, at, length, kind, port << 16 | track)
                m += 1
            elif kind == KEY and (length != 2 or 7 < data[at] < 249 or data[at + 1] > 1):
                repairs[NUMBER.bad_key_signature] += 1
            at += length
        elif byte == 0xF0 or byte == 0xF7:
            interrupted = True
            length, at, _ = number_at(data, at, limit)
            stop = at + length
            if stop > limit or (
                byte == 0xF0 and data[stop - 1] != 0xF7 and holds_status(data, at, stop)
            ):
                repairs[NUMBER.sysex_length] += 1
                suspect |= ODD_LENGTH
                stop = sysex_end(data, at, limit)
                if stop < 0:
                    damage = NUMBER.truncated_track
                    break
            if byte == 0xF0 and stop - at >= 4:
                add_meta(metas, m, tick, at, stop - at, SYSEX, port << 16 | track)
                m += 1
            at = stop
        elif byte >= 128:
            suspect |= ODD_STATUS
            if byte in (0xF4, 0xF5, 0xF9, 0xFD):
                repairs[NUMBER.undefined_status] += 1
            else:
                repairs[NUMBER.system_message] += 1
                at += 2 if byte == 0xF2 else 1 if byte == 0xF1 or byte == 0xF3 else 0

        if suspect:
            if suspects == 0:
                kept = (
                    n - (n > first and offset[n - 1] >= event_at),
                    s - (s > counts[1] and s_offset[s - 1] >= event_at),
                    m - (m > counts[2] and metas[1, m - 1] >= event_at),
                    tick - delta,
                    event_at,
                )
            suspects |= suspect
            plausible = 0
            if suspects & (suspects - 1) or missing > MAX_MISSING_STATUS:
                damage = NUMBER.lost_sync
                break
        elif suspects:
            plausible += 1
            if plausible > PLAUSIBLE_RUN:
                suspects, missing = 0, 0

    back = False
    if found_end and ended[4] < limit and trusted:
        back = damage >= 0 or suspects != 0 or at < limit or (n, s, m) == ended[:3]
        if back:
            n, s, m, tick, at = ended
        which = NUMBER.data_after_end_of_track if back else NUMBER.early_end_of_track
        repairs[which] += not is_track(data, at)
    elif damage >= 0:
        repairs[damage] += 1
        tick = min(tick, MAX_TICK)
        back = suspects != 0
        if back:
            n, s, m, tick, at = kept
        repairs[NUMBER.lost_byte] += limit - min(at, event_at)
    if back:
        for i in range(first, n):
            if end[i] > tick:
                end[i] = -1  # its note-off is in the part that was dropped
    is_open = back or opened > ended_notes
    if is_open:
        oldest[:] = -1
        repairs[NUMBER.double_strike] += find_lost_note_offs(start, end, closed, packed, first, n)
        zeros = np.sum(start[first:n] == end[first:n])
    repairs[NUMBER.zero_length_note] += zeros
    counts[0], counts[1], counts[2] = n, s, m
    return at, tick, found_end, not found_end and damage >= 0, is_open


@njit(cache=True)
def read_tracks(data, at, size, stated_tracks, max_ticks, end_to_end):
    """Read every track chunk from `at` on.

    A track's stated length is trusted if a chunk, or the end of the file, follows it. Otherwise
    the track extends to its end-of-track event, the next MTrk, or the end of the file.

    Args:
        size: the file's length; `data` is PADDING longer.
        stated_tracks: how many the header states. Further tracks are read if they follow
            directly; behind junk they are left over from an older, longer file.
        max_ticks: the longest that a note without a note-off may last.
        end_to_end: format 2: each track starts where the one before it ended.

    Returns:
        (notes, packed, messages, metas, counts, repairs): the arrays as `read_track` fills them.
        counts: notes, messages, metas, parts (ports times 16), tracks.
    """
    notes = np.empty((5, size // 3 + 2), np.int32)
    packed = np.empty(size // 3 + 2, np.int64)
    messages = np.empty((4, size // 2 + 2), np.int32)
    metas = np.empty((5, size // 4 + 2), np.int32)
    counts = np.zeros(5, np.int64)
    counts[3] = 16
    oldest, newest = np.full(NOTE_KEYS, -1, np.int32), np.empty(NOTE_KEYS, np.int32)
    devices = np.zeros(MAX_DEVICES, np.int64)
    repairs = np.zeros(len(REPAIRS), np.int64)
    tracks, base = 0, 0
    open_tracks = np.empty((3, size // 11 + 2), np.int32)  # first note, last note, last tick
    open_count = 0
    while at + 8 <= size:
        damaged_name = False
        if not is_track(data, at):
            if is_header(data, at):
                break  # a second file after the first
            if not is_alien(data, at, size):
                if tracks >= stated_tracks:
                    break
                repairs[NUMBER.junk_between_chunks] += 1
                at = next_track(data, at, size)
                continue
            damaged_name = ends_like_a_track(data, at)
            if not damaged_name:
                repairs[NUMBER.alien_chunk] += 1
                at += 8 + length_at(data, at)
                continue
            repairs[NUMBER.track_id] += 1
        stated = at + 8 + length_at(data, at)
        limit = stated
        trusted = stated == size or (
            stated < size and (is_track(data, stated) or is_alien(data, stated, size))
        )
        if not trusted:
            limit = next_track(data, at + 8, size)
        first = counts[0]
        at, tick, found_end, damaged, is_open = read_track(
            data, at + 8, limit, trusted, min(tracks, 65535), base, max_ticks,
            notes, packed, messages, metas, oldest, newest, devices, counts, repairs,
        )  # fmt: skip
        if is_open:
            open_tracks[0, open_count], open_tracks[1, open_count] = first, counts[0]
            open_tracks[2, open_count] = tick
            open_count += 1
        tracks += 1
        if end_to_end:
            base = tick
        if found_end:
            if trusted and not is_track(data, at):
                at = limit
            elif at != stated:
                repairs[NUMBER.track_length] += 1
        else:
            if limit == size < stated and not damaged:
                repairs[NUMBER.truncated_track] += 1
            elif not damaged:
                repairs[NUMBER.missing_end_of_track] += 1
            at = limit
    if at < size:
        repairs[NUMBER.junk_between_chunks] += 1
    silencers = silencing_messages(messages, counts[1] if open_count else 0)
    for i in range(open_count):
        end_open_notes(
            notes, packed, silencers, repairs,
            open_tracks[0, i], open_tracks[1, i], open_tracks[2, i], max_ticks,
        )  # fmt: skip
    counts[4] = tracks
    return notes, packed, messages, metas, counts, repairs


def tier_of(repairs: dict[str, int]) -> str:
    """The tier of a recording with these repairs: the worst tier of any of them."""
    return TIERS[max((tier for code, tier, _ in REPAIRS if code in repairs), default=STRICT)]
