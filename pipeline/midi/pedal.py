"""Lengthen notes that the sustain pedal holds.

Conventions
    pedal   controller 64: down from value 64 on; reset all controllers (121) lifts it too
    part    what a pedal acts on; see parts.py

Source:
    MIDI 1.0 detailed specification, control changes 64 (hold 1), 120 (all sound off)
    and 121 (reset all controllers).
"""

import dataclasses

import numpy as np
from numba import njit

from pipeline.midi.controls import ALL_CONTROLLERS_OFF, ALL_SOUND_OFF, SUSTAIN
from pipeline.midi.reader import Recording

LAST_PIANO = 7
PARTS = 256
DOWN = 64  # the lowest value that counts as down
KEYS = PARTS * 128


@njit(cache=True)
def any_pedal_down(controls):
    """Whether any pedal is ever pressed."""
    found = False
    for i in range(len(controls)):
        found |= controls[i].kind == SUSTAIN and controls[i].value >= DOWN
    return found


@njit(cache=True)
def extended_ends(notes, controls):
    """The ends of notes with the pedal applied; see `extend_by_pedal`.

    Args:
        notes: NOTE_DTYPE, by start.
        controls: CONTROL_DTYPE, by tick; at least one.

    Returns:
        int64, shape (notes,), ticks.
    """
    ends = np.empty(len(notes), np.int64)
    for i in range(len(notes)):
        ends[i] = notes[i].end
    last = max(np.max(ends), controls[-1].tick)
    changes = np.empty(len(controls), np.int64)  # indices of those that a pedal follows
    count = 0
    for i in range(len(controls)):
        if controls[i].kind in (SUSTAIN, ALL_SOUND_OFF, ALL_CONTROLLERS_OFF):
            changes[count] = i
            count += 1
    lift = np.full(PARTS, last, np.int64)
    released = np.empty(count, np.int64)  # the first lift after each change
    for c in range(count - 1, -1, -1):
        change = controls[changes[c]]
        released[c] = lift[change.part]
        if change.kind != SUSTAIN or change.value < DOWN:
            lift[change.part] = change.tick
    held = np.zeros(PARTS, np.bool_)
    until = np.zeros(PARTS, np.int64)
    extended = ends.copy()
    c = 0
    for i in np.argsort(ends, kind="mergesort"):
        while c < count and controls[changes[c]].tick <= ends[i]:
            change = controls[changes[c]]
            if change.kind != ALL_SOUND_OFF:  # it ends what is held; the pedal stays
                held[change.part] = change.kind == SUSTAIN and change.value >= DOWN
            until[change.part] = released[c]
            c += 1
        if held[notes[i].part] and not notes[i].is_drum:
            extended[i] = max(ends[i], until[notes[i].part])
    nearest = np.full(KEYS, last, np.int64)  # start of the next note of each key,
    following = np.full(KEYS, last, np.int64)  # and of the next one on a later tick
    for i in range(len(notes) - 1, -1, -1):
        note = notes[i]
        if note.is_drum:
            continue
        key = np.int64(note.part) << 7 | note.pitch
        if note.start < nearest[key]:
            following[key] = nearest[key]
            nearest[key] = note.start
        extended[i] = max(ends[i], min(extended[i], following[key]))
    return extended


def apply_pedal(recording: Recording, mode: str) -> tuple[Recording, int]:
    """Lengthen the notes that the sustain pedal holds, if the mode says so.

    Args:
        recording: as read.
        mode: extend, ignore, or auto: extend what is for one player at a keyboard.

    Returns:
        The recording, and how many notes the pedal holds beyond their end.
    """
    extended = extend_by_pedal(recording)
    if extended is recording:
        return recording, 0
    held = int((extended.notes["end"] > recording.notes["end"]).sum())
    wanted = mode == "extend" or (mode == "auto" and is_solo_keyboard(recording.notes))
    return extended if wanted else recording, held


def is_solo_keyboard(notes: np.ndarray) -> bool:
    """Whether all notes are those of pianos, programs 0 to 7, and none a drum's."""
    return not notes["is_drum"].any() and bool((notes["program"] <= LAST_PIANO).all())


def extend_by_pedal(recording: Recording) -> Recording:
    """Lengthen each note for as long as the sustain pedal holds it.

    A note that ends while the pedal of its part is down lasts until the pedal is lifted or its
    key is struck again, whichever comes first. A pedal pressed on the tick where a note ends
    still holds it; one lifted on that tick does not. A pedal that is never lifted is released at
    the recording's last event. Drums are unchanged: a drum kit has no pedal.
    """
    notes, controls = recording.notes, np.ascontiguousarray(recording.controls)
    if not len(notes) or not any_pedal_down(controls):
        return recording
    extended = notes.copy()
    extended["end"] = extended_ends(extended, controls)
    return dataclasses.replace(recording, notes=extended)
