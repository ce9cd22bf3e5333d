"""The compiled half of the reader as one call: a file's bytes to records.

A call from Python into compiled code costs some microseconds, most of them for the arrays that come
back, and a short file takes 30 in all.
"""

import hashlib
import inspect

import numpy as np
from numba import njit

from pipeline.midi import controls, drum_names, events, notes, parts, percussion
from pipeline.midi.controls import METER, TEMPO, by_time, control_records, stated
from pipeline.midi.drum_names import named_tracks
from pipeline.midi.events import NUMBER
from pipeline.midi.notes import in_force, note_records
from pipeline.midi.percussion import IS_DRUM, XG

SYSEX = 0xF0


@njit
def drum_decisions(start, offset, packed, program, messages, sysex, data, maker, named, home):
    """The decision for each note, as indexes into `percussion.DECISIONS`."""
    if not percussion.needs_more_than_channel(packed, messages[2], sysex, data, named):
        return percussion.by_channel(packed)
    default = percussion.channel_defaults(len(home))
    changes = percussion.switches(messages, sysex, data, maker, default, home)
    decisions = in_force(start, offset, packed, changes, default)
    percussion.resolve_hints(decisions, packed, program, named)
    return decisions


@njit
def counted(counts):
    """(index, count) of all that is not 0: int64, two columns."""
    found = np.flatnonzero(counts)
    return np.stack((found, counts[found]), 1)


def reader(sources: bytes):
    """`read_music`, compiled.

    numba's cache notices a change in the file of the kernel that it keeps, and in the values that
    this kernel encloses, but not in the files of the kernels that it calls. So it encloses a hash
    of those.
    """

    @njit(cache=True)
    def read_music(data, at, stated_tracks, max_ticks, file_format):
        """Read every track from `at` on.

        Args:
            data: bytes of the whole file.
            stated_tracks, max_ticks: see `events.read_tracks`.
            file_format: 0, 1 or 2.

        Returns:
            records: int64, of notes, tempos, meters and controls, to be viewed as their dtypes.
            repairs, decisions: (number, count) of those of `events.REPAIRS` and of
                `percussion.DECISIONS` that occur.
            tracks: their number.
        """
        _ = sources
        padded = events.padded(data)
        note_rows, packed, messages, metas, counts, repairs = events.read_tracks(
            padded, at, len(data), stated_tracks, max_ticks, file_format == 2
        )
        used_notes, used_messages, used_metas, n_parts, tracks = counts
        start, end = note_rows[0, :used_notes], note_rows[1, :used_notes]
        offset, packed = note_rows[2, :used_notes], packed[:used_notes]
        first, is_shared = parts.first_ticks(start, packed, n_parts)
        home = parts.own_ports(n_parts)
        if is_shared and file_format == 1:
            home = parts.split_shared_channels(
                start, offset, packed, messages[:, :used_messages], n_parts // 16
            )
            first, _ = parts.first_ticks(start, packed, len(home))
        messages, metas = by_time(messages, used_messages), by_time(metas, used_metas)

        sysex = percussion.of_kind(metas, SYSEX)
        resets, maker = percussion.find_resets(sysex, padded), percussion.dialect(sysex, padded)
        programs, tunings = parts.part_changes(messages, resets, home, first, maker == XG)
        program = in_force(start, offset, packed, programs, np.zeros(len(home), np.uint8))
        named = named_tracks(metas, padded, tracks)
        decisions = drum_decisions(
            start, offset, packed, program, messages, sysex, padded, maker, named, home
        )
        if len(tunings[0]):
            centre = np.full(len(home), parts.CENTRE, np.uint8)
            semitones = in_force(start, offset, packed, tunings, centre)
            parts.tune(packed, semitones, IS_DRUM[decisions])
        percussion.find_timpani(decisions, packed, program, maker, len(home))

        numbers = parts.part_numbers(first, messages)
        records, decided = note_records(start, end, packed, program, decisions, IS_DRUM, numbers)
        tempos, repairs[NUMBER.bad_tempo] = stated(metas, padded, TEMPO)
        meters, repairs[NUMBER.bad_meter] = stated(metas, padded, METER)
        control = control_records(messages, resets, home, first, numbers)
        return (records, tempos, meters, control), counted(repairs), counted(decided), tracks

    return read_music


KERNELS = (events, parts, notes, controls, drum_names, percussion)
read_music = reader(hashlib.sha256("".join(map(inspect.getsource, KERNELS)).encode()).digest())
