"""Lengthen notes that the sustain pedal holds.

Conventions
    pedal   controller 64: down from value 64 on; reset all controllers (121) lifts it too
    A pedal holds the notes of every track on its channel.

Source:
    MIDI 1.0 detailed specification, control change 64 (hold 1) and 121.
"""

import dataclasses

import numpy as np
from numba import njit

from pipeline.midi.controls import ALL_CONTROLLERS_OFF, SUSTAIN
from pipeline.midi.reader import Recording

CHANNELS = 16
DOWN = 64  # the lowest value that counts as down
KEYS = CHANNELS * 128


@njit(cache=True)
def extend_ends(start, end, key, pedal_tick, pedal_channel, pedal_is_down, last):
    """The ends of notes with the pedal applied.

    Args:
        start, key: int64, shape (notes,), by start; key = channel * 128 + pitch.
        end: int64, in the same order. All ticks.
        pedal_tick, pedal_channel, pedal_is_down: pedal changes, by tick.
        last: the tick where a pedal that is never lifted is released.

    Returns:
        int64, shape (notes,): a note that ends while the pedal is down lasts until it is lifted
        or its key is struck again, whichever comes first.
    """
    extended = end.copy()
    lift = np.full(CHANNELS, last, np.int64)
    released = np.empty(len(pedal_tick), np.int64)  # the first lift after each change
    for i in range(len(pedal_tick) - 1, -1, -1):
        released[i] = lift[pedal_channel[i]]
        if not pedal_is_down[i]:
            lift[pedal_channel[i]] = pedal_tick[i]
    held = np.zeros(CHANNELS, np.bool_)
    until = np.zeros(CHANNELS, np.int64)
    p = 0
    for i in np.argsort(end, kind="mergesort"):
        while p < len(pedal_tick) and pedal_tick[p] <= end[i]:
            held[pedal_channel[p]] = pedal_is_down[p]
            until[pedal_channel[p]] = released[p]
            p += 1
        channel = key[i] >> 7
        if held[channel]:
            extended[i] = max(end[i], until[channel])
    nearest = np.full(KEYS, last, np.int64)  # start of the next note of each key,
    following = np.full(KEYS, last, np.int64)  # and of the next one on a later tick
    for i in range(len(start) - 1, -1, -1):
        if start[i] < nearest[key[i]]:
            following[key[i]] = nearest[key[i]]
            nearest[key[i]] = start[i]
        extended[i] = max(end[i], min(extended[i], following[key[i]]))
    return extended


def extend_by_pedal(recording: Recording) -> Recording:
    """Lengthen each note for as long as the sustain pedal holds it.

    A note that ends while the pedal of its channel is down lasts until the pedal is lifted or its
    key is struck again, whichever comes first. A pedal pressed on the tick where a note ends
    still holds it; one lifted on that tick does not. A pedal that is never lifted is released at
    the recording's last event. Drums are unchanged: a drum kit has no pedal.
    """
    notes, controls = recording.notes, recording.controls
    pedal = (controls["kind"] == SUSTAIN) | (controls["kind"] == ALL_CONTROLLERS_OFF)
    changes = controls[pedal]
    if not (changes["value"][changes["kind"] == SUSTAIN] >= DOWN).any():
        return recording
    last = max(int(notes["end"].max(initial=0)), int(controls["tick"][-1]))
    melodic = np.flatnonzero(~notes["is_drum"])
    chosen = notes[melodic]
    extended = notes.copy()
    extended["end"][melodic] = extend_ends(
        chosen["start"].copy(),
        chosen["end"].copy(),
        chosen["channel"].astype(np.int64) << 7 | chosen["pitch"],
        changes["tick"].copy(),
        changes["channel"].astype(np.int64),
        (changes["kind"] == SUSTAIN) & (changes["value"] >= DOWN),
        last,
    )
    return dataclasses.replace(recording, notes=extended)
