"""Bytes to events: the compiled half of the tolerant MIDI reader.

Conventions
    data      uint8, the file followed by PADDING zero bytes, so that an event that is cut off
              by the end of the file can be read whole and then refused
    at        a position in `data`; `limit` is one past the last byte that may belong to a track
    tick      absolute time, 0 .. MAX_TICK
    place     the position of an event in the file; (tick, place) orders all events of all tracks
    part      port * 16 + channel: what one instrument of one sound module listens to
    capacity  no event is shorter than its array assumes (a note-on takes 3 bytes, a setting 2, a
              mark 4), so the arrays never overflow, whatever the bytes say

Every kernel of this file calls kernels of this file only: numba's cache notices a change in the
file that defines a kernel, not in the files that it calls.

Source:
    Standard MIDI Files 1.0 (RP-001); MIDI 1.0 detailed specification, tables I-VII.
"""

import numpy as np
from numba import njit

PADDING = 16
MAX_TICK = 2**31 - 2
LONG_REST = 64  # whole notes; a longer delta is real, or a sign of lost sync
CALM = 16  # so many plausible events after a suspicious one clear it
MOST_MISSING = 4  # events in a row without a status; more are no events
NOTE_KEYS = 16 * 128

STRICT, TOLERANT, SALVAGE = 0, 1, 2
TIERS = ("strict", "tolerant", "salvage")

REPAIRS: tuple[tuple[str, int, str], ...] = (
    ("unended_note", STRICT, "a note without note-off was ended by rule"),
    ("orphan_note_off", STRICT, "a note-off without a sounding note was ignored"),
    ("zero_length_note", STRICT, "a note ends on the tick it starts on; kept as it is"),
    ("alien_chunk", STRICT, "a chunk that is neither header nor track was skipped"),
    ("format_2", STRICT, "the tracks of a format 2 file were laid end to end"),
    ("smpte_division", STRICT, "time in film frames was turned into beats"),
    ("gzip_wrapper", TOLERANT, "the file was a gzip archive; it was unpacked"),
    ("riff_wrapper", TOLERANT, "a RIFF (.rmi) wrapper was taken off"),
    ("macbinary_prefix", TOLERANT, "a MacBinary header was taken off"),
    ("leading_junk", TOLERANT, "bytes before the header were skipped"),
    ("carriage_returns", TOLERANT, "a transfer in text mode was undone: CR LF became LF"),
    ("header_length", TOLERANT, "the header states a length other than 6"),
    ("unknown_format", TOLERANT, "a format other than 0, 1 or 2 was read as format 1"),
    ("zero_division", TOLERANT, "no usable resolution was given; 480 ticks a beat assumed"),
    ("track_count", TOLERANT, "the header states another number of tracks"),
    ("track_length", TOLERANT, "a track states a wrong length; its end was found by reading"),
    ("track_id", TOLERANT, "a track chunk has a damaged name"),
    ("missing_end_of_track", TOLERANT, "a track ends without saying so"),
    ("early_end_of_track", TOLERANT, "a track goes on after it said that it ends; read to the end"),
    ("data_after_end_of_track", TOLERANT, "bytes of a track after its end were skipped"),
    ("junk_between_chunks", TOLERANT, "bytes between chunks or after the last were skipped"),
    ("long_number", TOLERANT, "a variable-length number has more than four bytes"),
    ("data_byte", TOLERANT, "a data byte over 127 was read as 127"),
    ("running_status_after_meta", TOLERANT, "running status was kept over a meta event"),
    ("status_missing", TOLERANT, "an event before the first status byte was skipped"),
    ("system_message", TOLERANT, "a system message that has no place in a file was skipped"),
    ("undefined_status", TOLERANT, "an undefined status or meta type was skipped"),
    ("sysex_length", TOLERANT, "a SysEx states a wrong length; its end was found by reading"),
    ("bad_tempo", TOLERANT, "a tempo of 0 or of a wrong length was ignored"),
    ("bad_meter", TOLERANT, "a time signature that no bar can have was ignored"),
    ("bad_key_signature", TOLERANT, "a key that does not exist was ignored"),
    ("missing_header", SALVAGE, "there is no header; format 1 and 480 ticks a beat assumed"),
    ("truncated_track", SALVAGE, "a track stops inside an event; what came before was kept"),
    ("lost_sync", SALVAGE, "a track stops making sense; what came before was kept"),
    ("time_out_of_bounds", SALVAGE, "a track runs beyond the last representable tick"),
    ("lost_byte", SALVAGE, "a byte of a track behind its damage was not read"),
)
"""(code, tier, what was done), in the order of the kernels' counters."""

NUMBER = {code: number for number, (code, _, _) in enumerate(REPAIRS)}

UNENDED_NOTE = NUMBER["unended_note"]
ORPHAN_NOTE_OFF = NUMBER["orphan_note_off"]
ZERO_LENGTH_NOTE = NUMBER["zero_length_note"]
ALIEN_CHUNK = NUMBER["alien_chunk"]
TRACK_LENGTH = NUMBER["track_length"]
TRACK_ID = NUMBER["track_id"]
MISSING_END = NUMBER["missing_end_of_track"]
EARLY_END = NUMBER["early_end_of_track"]
DATA_AFTER_END = NUMBER["data_after_end_of_track"]
JUNK = NUMBER["junk_between_chunks"]
LONG_NUMBER = NUMBER["long_number"]
DATA_BYTE = NUMBER["data_byte"]
RUNNING_AFTER_META = NUMBER["running_status_after_meta"]
STATUS_MISSING = NUMBER["status_missing"]
SYSTEM_MESSAGE = NUMBER["system_message"]
UNDEFINED_STATUS = NUMBER["undefined_status"]
SYSEX_LENGTH = NUMBER["sysex_length"]
BAD_TEMPO = NUMBER["bad_tempo"]
BAD_METER = NUMBER["bad_meter"]
BAD_KEY = NUMBER["bad_key_signature"]
TRUNCATED = NUMBER["truncated_track"]
LOST_SYNC = NUMBER["lost_sync"]
OUT_OF_BOUNDS = NUMBER["time_out_of_bounds"]
LOST_BYTE = NUMBER["lost_byte"]

# What makes an event suspicious. One kind alone is some program's habit, and reading goes on; two
# kinds close together mean that reading is out of step with the events.
ODD_DATA, ODD_STATUS, NO_STATUS, ODD_DELTA, ODD_LENGTH = 1, 2, 4, 8, 16

# What a mark is: a meta event's type, or
SYSEX = 0xF0
TEMPO, METER, KEY, TRACK_NAME, INSTRUMENT_NAME = 0x51, 0x58, 0x59, 0x03, 0x04
PORT, END_OF_TRACK = 0x21, 0x2F


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
    """Whether some other chunk starts here: four letters, and a length that fits the file."""
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
def add_mark(marks, m, tick, place, length, kind, origin):
    """Fill column m; see `read_track`."""
    marks[0, m], marks[1, m], marks[2, m] = tick, place, length
    marks[3, m], marks[4, m] = kind, origin


@njit(cache=True)
def end_open_notes(start, end, word, first, last, track_end, longest):
    """End the notes [first, last) of one track that no note-off ended; return how many.

    Such a note ends where the next note of its channel and pitch starts, at the end of the
    track, or `longest` ticks after its start, whichever comes first.
    """
    latest = np.full(NOTE_KEYS, track_end, np.int64)  # start of the nearest later note of a key,
    beyond = np.full(NOTE_KEYS, track_end, np.int64)  # and of the nearest one on a later tick
    ended = 0
    for i in range(last - 1, first - 1, -1):
        key = ((word[i] >> 32) & 15) << 7 | ((word[i] >> 16) & 127)
        if start[i] < latest[key]:
            beyond[key] = latest[key]
            latest[key] = start[i]
        if end[i] < 0 or end[i] > track_end:
            end[i] = max(int(start[i]), min(beyond[key], track_end, start[i] + longest))
            ended += 1
    return ended


@njit(cache=True)
def read_track(
    data, at, limit, believed, track, base, longest, notes, word, settings, marks, counts, repairs
):
    """Read the events of one track from `at` until its end or `limit`.

    One long function, because it is the inner loop: every state it keeps lives in a register.
    Indexes are np.uintp where it matters, which spares numba a test for negative ones.

    Args:
        believed: whether the track's stated length led to `limit`; then events after its end
            are kept if they make sense up to there.
        track: its number, stored with every note and setting.
        base: the tick that its first delta counts from.
        longest: what an unended note may last, in ticks.
        notes: int32, rows start, end, place, following note of the same key; from counts[0] on.
            Note-offs end the sounding note of their channel and pitch that started first.
        word: int64, of each note; from the low byte up: track (2 bytes), pitch, velocity,
            channel, 0, 0, port.
        settings: int32, rows tick, place, bytes (status, first and second data byte, from the low
            byte up), origin (port << 16 | track); from counts[1] on.
        marks: int32, rows tick, place of the payload, length, kind, origin; from counts[2] on.
        repairs: counters, one for each of REPAIRS.

    Returns:
        (position after the track, its last tick, whether it said where it ends, whether damaged)
    """
    start, end, place, following = notes[0], notes[1], notes[2], notes[3]
    s_tick, s_place, s_bytes, s_origin = settings[0], settings[1], settings[2], settings[3]
    oldest = np.full(NOTE_KEYS, -1, np.int32)  # of the sounding notes of each channel and pitch,
    newest = np.full(NOTE_KEYS, -1, np.int32)
    n, s, m = counts[0], counts[1], counts[2]
    first, opened, closed, zeros = n, 0, 0, 0
    tick, status, port = base, 0, 0
    interrupted = False
    suspects, calm, missing = 0, 0, 0
    kept = (n, s, m, tick, at)  # what to go back to if suspicion is confirmed,
    ended = (n, s, m, tick, at)  # and if what follows the end of the track is no music
    damage, said_end, event_at = -1, False, at

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
                    repairs[LONG_NUMBER] += 1
                    suspect = ODD_LENGTH
                if delta >= LONG_REST * longest:
                    suspect |= ODD_DELTA
        tick += delta
        if at >= limit:
            tick -= delta
            break  # a delta with no event behind it
        if tick > MAX_TICK:
            damage = OUT_OF_BOUNDS
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
                repairs[RUNNING_AFTER_META] += 1
        else:  # most messages have two data bytes: skip as many, and stay in step
            at += 2
            repairs[STATUS_MISSING] += 1
            suspect |= NO_STATUS
            missing += 1

        if 128 <= byte < 0xF0:
            x, y = int(data[np.uintp(at)]), int(data[np.uintp(at + 1)])
            one = (byte & 0xE0) == 0xC0  # program change and channel pressure have one data byte
            y = 0 if one else y
            at += 1 if one else 2
            if at > limit:
                damage = TRUNCATED
                break
            if (x | y) >= 128:
                x, y = min(x, 127), min(y, 127)
                repairs[DATA_BYTE] += 1
                suspect |= ODD_DATA
            if byte < 0xA0:
                channel = byte & 15
                key = np.uintp(channel << 7 | x)
                sounding = oldest[key]
                if byte >= 0x90 and y > 0:
                    slot = np.uintp(n)
                    start[slot] = tick
                    end[slot] = -1
                    place[slot] = event_at
                    word[slot] = track | x << 16 | y << 24 | channel << 32 | port << 56
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
                    zeros += start[np.uintp(sounding)] == tick
                    oldest[key] = following[np.uintp(sounding)]
                    closed += 1
                else:
                    repairs[ORPHAN_NOTE_OFF] += 1
            elif byte >= 0xB0:
                s_tick[np.uintp(s)] = tick
                s_place[np.uintp(s)] = event_at
                s_bytes[np.uintp(s)] = byte | x << 8 | y << 16
                s_origin[np.uintp(s)] = port << 16 | track
                s += 1
        elif byte == 0xFF:
            interrupted = True
            kind = int(data[at])
            length, at, _ = number_at(data, at + 1, limit)
            if at + length > limit:
                damage = TRUNCATED
                break
            if kind == END_OF_TRACK:
                at += length
                if said_end:
                    break
                said_end, status = True, 0
                ended = (n, s, m, tick, at)
                if suspects or not believed or is_track(data, at):
                    break
                continue  # a few programs go on after the end
            if kind >= 128:
                repairs[UNDEFINED_STATUS] += 1
                suspect |= ODD_STATUS
            elif kind == PORT and length >= 1:
                port = int(data[at]) & 127
                counts[3] = max(counts[3], (port + 1) * 16)
            elif kind in (TEMPO, METER, TRACK_NAME, INSTRUMENT_NAME):
                add_mark(marks, m, tick, at, length, kind, port << 16 | track)
                m += 1
            elif kind == KEY and (length != 2 or 7 < data[at] < 249 or data[at + 1] > 1):
                repairs[BAD_KEY] += 1
            at += length
        elif byte == 0xF0 or byte == 0xF7:
            interrupted = True
            length, at, _ = number_at(data, at, limit)
            stop = at + length
            if stop > limit or (
                byte == 0xF0 and data[stop - 1] != 0xF7 and holds_status(data, at, stop)
            ):
                repairs[SYSEX_LENGTH] += 1
                suspect |= ODD_LENGTH
                stop = sysex_end(data, at, limit)
                if stop < 0:
                    damage = TRUNCATED
                    break
            if byte == 0xF0 and stop - at >= 4:
                add_mark(marks, m, tick, at, stop - at, SYSEX, port << 16 | track)
                m += 1
            at = stop
        elif byte >= 128:
            suspect |= ODD_STATUS
            if byte in (0xF4, 0xF5, 0xF9, 0xFD):
                repairs[UNDEFINED_STATUS] += 1
            else:
                repairs[SYSTEM_MESSAGE] += 1
                at += 2 if byte == 0xF2 else 1 if byte == 0xF1 or byte == 0xF3 else 0

        if suspect:
            if suspects == 0:
                kept = (
                    n - (n > first and place[n - 1] >= event_at),
                    s - (s > counts[1] and s_place[s - 1] >= event_at),
                    m - (m > counts[2] and marks[1, m - 1] >= event_at),
                    tick - delta,
                    event_at,
                )
            suspects |= suspect
            calm = 0
            if suspects & (suspects - 1) or missing > MOST_MISSING:
                damage = LOST_SYNC
                break
        elif suspects:
            calm += 1
            if calm > CALM:
                suspects, missing = 0, 0

    back = False
    if said_end and ended[4] < limit and believed:
        back = damage >= 0 or suspects != 0 or at < limit or (n, s, m) == ended[:3]
        if back:
            n, s, m, tick, at = ended
        repairs[DATA_AFTER_END if back else EARLY_END] += not is_track(data, at)
    elif damage >= 0:
        repairs[damage] += 1
        tick = min(tick, MAX_TICK)
        back = suspects != 0
        if back:
            n, s, m, tick, at = kept
        repairs[LOST_BYTE] += limit - min(at, event_at)
    if back or opened > closed:
        repairs[UNENDED_NOTE] += end_open_notes(start, end, word, first, n, tick, longest)
    repairs[ZERO_LENGTH_NOTE] += zeros
    counts[0], counts[1], counts[2] = n, s, m
    return at, tick, said_end, not said_end and damage >= 0


@njit(cache=True)
def read_tracks(data, at, size, stated_tracks, longest, end_to_end):
    """Read every track chunk from `at` on.

    A stated length is believed where a chunk, or the end of the file, follows. Otherwise the
    track reaches to the next MTrk, or to the end of the file, unless it says before that it ends.

    Args:
        size: the file's length; `data` is PADDING longer.
        stated_tracks: how many the header states. Further ones are read if they follow at once;
            behind junk they are what an older and longer file left on the disk.
        longest: what an unended note may last, in ticks.
        end_to_end: format 2: each track starts where the one before it ended.

    Returns:
        (notes, word, settings, marks, counts, repairs): the arrays as `read_track` fills them.
        counts are those of notes, settings, marks, parts (ports times 16) and tracks.
    """
    notes = np.empty((4, size // 3 + 2), np.int32)
    word = np.empty(size // 3 + 2, np.int64)
    settings = np.empty((4, size // 2 + 2), np.int32)
    marks = np.empty((5, size // 4 + 2), np.int32)
    counts = np.zeros(5, np.int64)
    counts[3] = 16
    repairs = np.zeros(len(REPAIRS), np.int64)
    tracks, base = 0, 0
    while at + 8 <= size:
        damaged_name = False
        if not is_track(data, at):
            if is_header(data, at):
                break  # a second file behind the first
            if not is_alien(data, at, size):
                if tracks >= stated_tracks:
                    break
                repairs[JUNK] += 1
                at = next_track(data, at, size)
                continue
            damaged_name = ends_like_a_track(data, at)
            if not damaged_name:
                repairs[ALIEN_CHUNK] += 1
                at += 8 + length_at(data, at)
                continue
            repairs[TRACK_ID] += 1
        stated = at + 8 + length_at(data, at)
        limit = stated
        believed = stated == size or (
            stated < size and (is_track(data, stated) or is_alien(data, stated, size))
        )
        if not believed:
            limit = next_track(data, at + 8, size)
        at, tick, said_end, damaged = read_track(
            data, at + 8, limit, believed, min(tracks, 65535), base, longest,
            notes, word, settings, marks, counts, repairs,
        )  # fmt: skip
        tracks += 1
        if end_to_end:
            base = tick
        if said_end:
            if believed and not is_track(data, at):
                at = limit
            elif at != stated:
                repairs[TRACK_LENGTH] += 1
        else:
            if limit == size < stated and not damaged:
                repairs[TRUNCATED] += 1
            elif not damaged:
                repairs[MISSING_END] += 1
            at = limit
    if at < size:
        repairs[JUNK] += 1
    counts[4] = tracks
    return notes, word, settings, marks, counts, repairs


def tier_of(repairs: dict[str, int]) -> str:
    """The tier that these repairs leave a recording in."""
    return TIERS[max((REPAIRS[NUMBER[code]][1] for code in repairs), default=STRICT)]
