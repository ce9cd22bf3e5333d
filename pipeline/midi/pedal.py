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
LIFTED, PRESSED, CUT = 0, 1, 2  # CUT: all sound off ends what is held; the pedal stays
DOWN = 64  # the lowest value that counts as down
KEYS = PARTS * 128


@njit(cache=True)
def extend_ends(start, end, key, pedal_tick, pedal_part, pedal_kind, last):
    """The ends of notes with the pedal applied.

    Args:
        start, key: int64, shape (notes,), by start; key = part * 128 + pitch.
        end: int64, in the same order. All ticks.
        pedal_tick, pedal_part, pedal_kind: pedal changes, by tick; see LIFTED.
        last: the tick where a pedal that is never lifted is released.

    Returns:
        int64, shape (notes,): a note that ends while the pedal is down lasts until it is lifted
        or its key is struck again, whichever comes first.
    """
    extended = end.copy()
    lift = np.full(PARTS, last, np.int64)
    released = np.empty(len(pedal_tick), np.int64)  # the first lift after each change
    for i in range(len(pedal_tick) - 1, -1, -1):
        released[i] = lift[pedal_part[i]]
        if pedal_kind[i] != PRESSED:
            lift[pedal_part[i]] = pedal_tick[i]
    held = np.zeros(PARTS, np.bool_)
    until = np.zeros(PARTS, np.int64)
    p = 0
    for i in np.argsort(end, kind="mergesort"):
        while p < len(pedal_tick) and pedal_tick[p] <= end[i]:
            if pedal_kind[p] != CUT:
                held[pedal_part[p]] = pedal_kind[p] == PRESSED
            until[pedal_part[p]] = released[p]
            p += 1
        part = key[i] >> 7
        if held[part]:
            extended[i] = max(end[i], until[part])
    nearest = np.full(KEYS, last, np.int64)  # start of the next note of each key,
    following = np.full(KEYS, last, np.int64)  # and of the next one on a later tick
    for i in range(len(start) - 1, -1, -1):
        if start[i] < nearest[key[i]]:
            following[key[i]] = nearest[key[i]]
            nearest[key[i]] = start[i]
        extended[i] = max(end[i], min(extended[i], following[key[i]]))
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
    notes, controls = recording.notes, recording.controls
    kind = np.ascontiguousarray(controls["kind"])
    if not (controls["value"][kind == SUSTAIN] >= DOWN).any():
        return recording
    is_change = (kind == SUSTAIN) | (kind == ALL_SOUND_OFF) | (kind == ALL_CONTROLLERS_OFF)
    changes = controls[is_change]
    last = max(int(notes["end"].max(initial=0)), int(controls["tick"][-1]))
    melodic = np.flatnonzero(~notes["is_drum"])
    chosen = notes[melodic]
    extended = notes.copy()
    extended["end"][melodic] = extend_ends(
        chosen["start"].copy(),
        chosen["end"].copy(),
        chosen["part"].astype(np.int64) << 7 | chosen["pitch"],
        changes["tick"].copy(),
        changes["part"].astype(np.int64),
        np.select(
            [changes["kind"] == ALL_SOUND_OFF, changes["kind"] == SUSTAIN],
            [CUT, np.where(changes["value"] >= DOWN, PRESSED, LIFTED)],
            LIFTED,
        ),
        last,
    )
    return dataclasses.replace(recording, notes=extended)
