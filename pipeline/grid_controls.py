"""Pitch bend and modulation onto the grid: what each instrument class of a song does, by step.

A file bends channels; a song has instrument classes. A class follows one channel, the one that
plays most of its notes, for as long as that channel plays it; what other channels of the class do
is left out (two guitars cannot be bent apart in one class). A change is stated where it can be
heard: while the class sounds at its step, otherwise at the class's next note.

Source:
    MIDI 1.0 detailed specification, pitch bend and controller 1; RP-015, what controller 121
    (all controllers off) resets.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from pipeline.controls import ALL_CONTROLLERS_OFF, PITCH_BEND
from shards.song import BEND, CONTROL, control_changes
from shards.vocabulary import (
    BEND_VALUES,
    MODULATION_VALUES,
    PROGRAMS,
    bend_bins,
    modulation_bins,
)

MODULATION_WHEEL = 1
CHANNELS = 16


def grid_controls(
    played: np.ndarray,
    controls: np.ndarray,
    notes: np.ndarray,
    snap: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The bends and modulations of a song.

    Args:
        played: the recording's notes, by start.
        controls: the recording's controls, by tick.
        notes: the song's notes, canonical.
        snap: ticks -> steps.

    Returns:
        dtype CONTROL, canonical; values are those of the vocabulary's bins.
    """
    kind = controls["kind"]
    heard = (kind == PITCH_BEND) | (kind == MODULATION_WHEEL) | (kind == ALL_CONTROLLERS_OFF)
    moves = controls[heard]
    if not moves["value"].any() or not len(notes):
        return np.zeros(0, CONTROL)
    rows = follow_channels(
        played["start"].copy(),
        played["channel"].astype(np.int64),
        np.where(played["is_drum"], -1, played["program"].astype(np.int64)),
        moves["tick"].copy(),
        moves["channel"].astype(np.int64),
        moves["kind"].astype(np.int64),
        moves["value"].astype(np.int64),
    )
    events = np.empty(rows.shape[1], CONTROL)
    events["start"] = snap(rows[0])
    events["instrument"], events["kind"] = rows[1], rows[2]
    events["value"] = np.where(
        rows[2] == BEND,
        BEND_VALUES[bend_bins(rows[3])],
        MODULATION_VALUES[modulation_bins(np.clip(rows[3], 0, 127))],
    )
    audible = control_changes(_when_heard(events, notes))
    return audible[audible["start"] <= notes["start"][-1]]


@njit(cache=True)
def follow_channels(start, channel, program, tick, moved, kind, value):
    """What each class's channel does while it plays the class.

    Args:
        start, channel, program: int64, shape (notes,), by start; program -1 for a drum.
        tick, moved, kind, value: int64, shape (moves,), by tick; `moved` is the channel.

    Returns:
        int64, shape (4, events): tick, class, BEND or MODULATION, value; by tick.
    """
    count = np.zeros((PROGRAMS, CHANNELS), np.int64)
    for i in range(len(start)):
        if program[i] >= 0:
            count[program[i], channel[i]] += 1
    leader = np.empty(PROGRAMS, np.int64)
    for p in range(PROGRAMS):
        leader[p] = np.argmax(count[p])
    changes = 0
    playing = np.full(CHANNELS, -1, np.int64)
    for i in range(len(start)):
        if program[i] >= 0 and program[i] != playing[channel[i]]:
            playing[channel[i]] = program[i]
            changes += 1
    events = np.empty((4, 2 * (len(tick) + changes)), np.int64)
    state = np.zeros((2, CHANNELS), np.int64)
    playing[:] = -1
    k, m = 0, 0
    for i in range(len(start) + 1):
        while m < len(tick) and (i == len(start) or tick[m] <= start[i]):
            c = moved[m]
            for which in range(2):
                if kind[m] == ALL_CONTROLLERS_OFF:
                    state[which, c] = 0
                elif (kind[m] == PITCH_BEND) == (which == BEND):
                    state[which, c] = value[m]
                else:
                    continue
                if playing[c] >= 0 and leader[playing[c]] == c:
                    events[0, k], events[1, k] = tick[m], playing[c]
                    events[2, k], events[3, k] = which, state[which, c]
                    k += 1
            m += 1
        if i == len(start) or program[i] < 0 or program[i] == playing[channel[i]]:
            continue
        c = channel[i]
        playing[c] = program[i]
        if leader[program[i]] == c:
            for which in range(2):
                events[0, k], events[1, k] = start[i], program[i]
                events[2, k], events[3, k] = which, state[which, c]
                k += 1
    return events[:, :k]


def _when_heard(events: np.ndarray, notes: np.ndarray) -> np.ndarray:
    """Move what happens while its class is silent to the class's next note, or drop it.

    Times of one class are told from another's by the class in their high bits.
    """
    order = np.argsort(notes["instrument"], kind="stable")
    offset = notes["instrument"][order].astype(np.int64) << 40
    starts = notes["start"][order] + offset
    ends = np.maximum.accumulate(starts + notes["duration"][order])
    own = events["instrument"].astype(np.int64) << 40
    times = events["start"] + own
    before = np.searchsorted(starts, times, side="right") - 1
    sounding = (before >= 0) & (ends[np.maximum(before, 0)] > times)
    following = np.append(starts, 1 << 62)[before + 1]
    times = np.where(sounding, times, following) - own
    moved = events[times < 1 << 40]
    moved["start"] = times[times < 1 << 40]
    return moved
