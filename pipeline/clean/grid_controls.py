"""Pitch bend and modulation onto the grid: what each instrument class of a song does, by step.

A file bends channels; a song has instrument classes. A class follows one channel, the one that
plays most of its notes, for as long as that channel plays it; what other channels of the class do
is left out (two guitars cannot be bent apart in one class). A change is stated where it can be
heard: while the class sounds at its step, otherwise at the class's next note.

Source:
    MIDI 1.0 detailed specification, pitch bend and controller 1; RP-015, what controller 121
    (all controllers off) resets.
"""

import numpy as np
from numba import njit

from pipeline.midi.controls import ALL_CONTROLLERS_OFF, PITCH_BEND
from shards.song import BEND, CONTROL
from shards.vocabulary import (
    BEND_VALUES,
    MODULATION_VALUES,
    PROGRAMS,
    bend_bins,
    modulation_bins,
)

MODULATION_WHEEL = 1
CHANNELS = 16
EVENT = np.dtype([("tick", "<i8"), ("instrument", "u1"), ("kind", "u1"), ("value", "<i4")])
"""What a class's channel does, as it was played."""


def grid_controls(
    played: np.ndarray,
    controls: np.ndarray,
    notes: np.ndarray,
    ticks_per_beat: int,
    steps_per_beat: int,
) -> np.ndarray:
    """The bends and modulations of a song.

    Args:
        played: the recording's notes, by start.
        controls: the recording's controls, by tick.
        notes: the song's notes, canonical.
        ticks_per_beat, steps_per_beat: of the recording and of the song.

    Returns:
        dtype CONTROL, canonical; values are those of the vocabulary's bins.
    """
    if not len(notes) or not moves_any(controls):
        return np.zeros(0, CONTROL)
    played = np.ascontiguousarray(played)
    events = np.empty(most_events(played, controls), EVENT)
    events = events[: follow_channels(played, controls, events)]
    values = events["value"]
    events["value"] = np.where(
        events["kind"] == BEND,
        BEND_VALUES[bend_bins(values)],
        MODULATION_VALUES[modulation_bins(np.clip(values, 0, 127))],
    )
    heard = np.empty(len(events), CONTROL)
    return heard[: when_heard(events, notes, ticks_per_beat, steps_per_beat, heard)]


@njit(cache=True)
def _is_heard(kind):
    return kind in (PITCH_BEND, MODULATION_WHEEL, ALL_CONTROLLERS_OFF)


@njit(cache=True)
def moves_any(controls):
    """Whether any bend or modulation is not 0."""
    found = False
    for i in range(len(controls)):
        found |= controls[i].value != 0 and _is_heard(controls[i].kind)
    return found


@njit(cache=True)
def most_events(played, controls):
    """At least as many as `follow_channels` can give."""
    playing = np.full(CHANNELS, -1, np.int64)
    changes = 0
    for i in range(len(played)):
        note = played[i]
        if not note.is_drum and note.program != playing[note.channel]:
            playing[note.channel] = note.program
            changes += 1
    return 2 * (len(controls) + changes)


@njit(cache=True)
def follow_channels(played, controls, events):
    """What each class's channel does while it plays the class.

    Args:
        played: dtype NOTE_DTYPE, by start.
        controls: dtype CONTROL_DTYPE, by tick.
        events: dtype EVENT, written, by tick.

    Returns:
        How many there are.
    """
    count = np.zeros((PROGRAMS, CHANNELS), np.int64)
    for i in range(len(played)):
        if not played[i].is_drum:
            count[played[i].program, played[i].channel] += 1
    leader = np.empty(PROGRAMS, np.int64)
    for p in range(PROGRAMS):
        leader[p] = np.argmax(count[p])
    state = np.zeros((2, CHANNELS), np.int64)
    playing = np.full(CHANNELS, -1, np.int64)
    k, m = 0, 0
    for i in range(len(played) + 1):
        while m < len(controls) and (i == len(played) or controls[m].tick <= played[i].start):
            kind, c = controls[m].kind, controls[m].channel
            for which in range(2 if _is_heard(kind) else 0):
                if kind == ALL_CONTROLLERS_OFF:
                    state[which, c] = 0
                elif (kind == PITCH_BEND) == (which == BEND):
                    state[which, c] = controls[m].value
                else:
                    continue
                if playing[c] >= 0 and leader[playing[c]] == c:
                    events[k].tick, events[k].instrument = controls[m].tick, playing[c]
                    events[k].kind, events[k].value = which, state[which, c]
                    k += 1
            m += 1
        if i == len(played) or played[i].is_drum or played[i].program == playing[played[i].channel]:
            continue
        c = played[i].channel
        playing[c] = played[i].program
        if leader[playing[c]] == c:
            for which in range(2):
                events[k].tick, events[k].instrument = played[i].start, playing[c]
                events[k].kind, events[k].value = which, state[which, c]
                k += 1
    return k


@njit(cache=True)
def when_heard(events, notes, ticks_per_beat, steps_per_beat, heard):
    """Put events on the grid, where their class sounds: at once, or else at its next note.

    Of several of one class and kind at one step the last holds; what changes nothing is left
    out, as is what would come after the last note's start.

    Args:
        events: dtype EVENT, by tick.
        notes: dtype NOTE, canonical, at least one.
        heard: dtype CONTROL, written, canonical; as long as `events`.

    Returns:
        How many there are.
    """
    until = np.zeros(PROGRAMS, np.int64)  # where each class's sound stops
    waiting = np.zeros((PROGRAMS, 2), np.bool_)
    held = np.zeros((PROGRAMS, 2), np.int64)  # what waits
    stated = np.zeros((PROGRAMS, 2), np.int64)  # what is in force
    n, e, filled, group = 0, 0, 0, 0
    last = notes[len(notes) - 1].start
    while n < len(notes) or e < len(events):
        tick = events[e].tick if e < len(events) else 0
        at = (2 * steps_per_beat * tick + ticks_per_beat) // (2 * ticks_per_beat)
        if e < len(events) and (n == len(notes) or at < notes[n].start):
            step = at
            if step > last:
                break
        else:
            step = notes[n].start
        if filled > group and heard[group].start != step:
            filled = _close_step(heard, group, filled, stated)
            group = filled
        if n < len(notes) and notes[n].start == step:
            p = notes[n].instrument
            if p < PROGRAMS:
                until[p] = max(until[p], step + notes[n].duration)
                for kind in range(2):
                    if waiting[p, kind]:
                        filled = _state(heard, group, filled, step, p, kind, held[p, kind])
                        waiting[p, kind] = False
            n += 1
            continue
        p, kind = np.int64(events[e].instrument), np.int64(events[e].kind)
        if until[p] > step:
            filled = _state(heard, group, filled, step, p, kind, events[e].value)
        else:
            waiting[p, kind], held[p, kind] = True, events[e].value
        e += 1
    return _close_step(heard, group, filled, stated)


@njit(cache=True)
def _state(heard, group, filled, step, instrument, kind, value):
    """Enter a value at a step, in order of class and kind; returns how many are entered."""
    at = filled
    while at > group and (
        heard[at - 1].instrument > instrument
        or (heard[at - 1].instrument == instrument and heard[at - 1].kind >= kind)
    ):
        at -= 1
    taken = at < filled and heard[at].instrument == instrument and heard[at].kind == kind
    if not taken:
        for i in range(filled, at, -1):
            heard[i] = heard[i - 1]
        heard[at].start, heard[at].instrument, heard[at].kind = step, instrument, kind
    heard[at].value = value
    return filled if taken else filled + 1


@njit(cache=True)
def _close_step(heard, group, filled, stated):
    """Of one step's entries keep those that change something; returns where the next one goes."""
    kept = group
    for i in range(group, filled):
        row = heard[i]
        if row.value != stated[row.instrument, row.kind]:
            stated[row.instrument, row.kind] = row.value
            heard[kept] = row
            kept += 1
    return kept
