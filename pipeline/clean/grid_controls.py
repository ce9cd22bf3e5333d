"""Pitch bend and modulation onto the grid, by instrument class.

A file bends parts, but a song has instrument classes. A class follows the part that plays most
of its notes, while that part plays it; the class's other parts are ignored (two guitars
of one class cannot be bent apart). A change is written where it can be heard: at its step if the
class sounds there, otherwise at the class's next note.

Source:
    MIDI 1.0 detailed specification, pitch bend and controller 1; RP-015, what controller 121
    (all controllers off) resets.
"""

import numpy as np
from numba import njit

from pipeline.midi.controls import ALL_CONTROLLERS_OFF, PITCH_BEND
from shards.song import BEND, CONTROL
from shards.vocabulary import (
    BEND_CENTS,
    MAX_BEND_CENTS,
    MODULATION_VALUES,
    PROGRAMS,
    modulation_bins,
)

MODULATION_WHEEL = 1
MODULATION_BY_VALUE = MODULATION_VALUES[modulation_bins(np.arange(128))]
PARTS = 256
EVENT = np.dtype([("tick", "<i8"), ("instrument", "u1"), ("kind", "u1"), ("value", "<i4")])
"""A change of a class's bend or modulation, timed as it was played."""


def grid_controls(
    played: np.ndarray,
    controls: np.ndarray,
    notes: np.ndarray,
    ticks_per_beat: int,
    steps_per_beat: int,
) -> np.ndarray:
    """Compute the bends and modulations of a song.

    Args:
        played: the recording's notes, by start.
        controls: the recording's controls, by tick.
        notes: the song's notes, canonical.
        ticks_per_beat, steps_per_beat: of the recording and of the song.

    Returns:
        dtype CONTROL, canonical; values are those of the vocabulary's bins.
    """
    if not len(notes) or not any_bend_or_modulation(controls):
        return np.zeros(0, CONTROL)
    played = np.ascontiguousarray(played)
    events = np.empty(max_events(played, controls), EVENT)
    events = events[: follow_parts(played, controls, events)]
    placed = np.empty(len(events), CONTROL)
    return placed[: place_on_grid(events, notes, ticks_per_beat, steps_per_beat, placed)]


@njit(cache=True)
def nearest_value(kind, value):
    """The value of the vocabulary's bin that a bend or modulation is nearest to; int64."""
    if kind == BEND:
        nearest = (value + BEND_CENTS // 2) // BEND_CENTS * BEND_CENTS
        return min(max(nearest, -MAX_BEND_CENTS), MAX_BEND_CENTS)
    return MODULATION_BY_VALUE[min(max(value, 0), 127)]


@njit(cache=True)
def _is_followed(kind):
    return kind in (PITCH_BEND, MODULATION_WHEEL, ALL_CONTROLLERS_OFF)


@njit(cache=True)
def any_bend_or_modulation(controls):
    """Whether any bend or modulation differs from 0."""
    found = False
    for i in range(len(controls)):
        found |= controls[i].value != 0 and _is_followed(controls[i].kind)
    return found


@njit(cache=True)
def max_events(played, controls):
    """Upper bound of the number of events that `follow_parts` writes."""
    playing = np.full(PARTS, -1, np.int64)
    changes = 0
    for i in range(len(played)):
        note = played[i]
        if not note.is_drum and note.program != playing[note.part]:
            playing[note.part] = note.program
            changes += 1
    return 2 * (len(controls) + changes)


@njit(cache=True)
def follow_parts(played, controls, events):
    """Collect what each class's part does while it plays the class.

    Args:
        played: dtype NOTE_DTYPE, by start.
        controls: dtype CONTROL_DTYPE, by tick.
        events: dtype EVENT, written, by tick.

    Returns:
        The number of events.
    """
    parts = 1
    for i in range(len(played)):
        parts = max(parts, int(played[i].part) + 1)
    note_counts = np.zeros((PROGRAMS, parts), np.int64)
    for i in range(len(played)):
        if not played[i].is_drum:
            note_counts[played[i].program, played[i].part] += 1
    leader = np.empty(PROGRAMS, np.int64)
    for p in range(PROGRAMS):
        leader[p] = np.argmax(note_counts[p])
    state = np.zeros((2, PARTS), np.int64)
    playing = np.full(PARTS, -1, np.int64)
    k, m = 0, 0
    for i in range(len(played) + 1):
        while m < len(controls) and (i == len(played) or controls[m].tick <= played[i].start):
            kind, c = controls[m].kind, controls[m].part
            for which in range(2 if _is_followed(kind) else 0):
                if kind == ALL_CONTROLLERS_OFF:
                    state[which, c] = 0
                elif (kind == PITCH_BEND) == (which == BEND):
                    state[which, c] = controls[m].value
                else:
                    continue
                if playing[c] >= 0 and leader[playing[c]] == c:
                    events[k].tick, events[k].instrument = controls[m].tick, playing[c]
                    events[k].kind, events[k].value = which, nearest_value(which, state[which, c])
                    k += 1
            m += 1
        if i == len(played) or played[i].is_drum or played[i].program == playing[played[i].part]:
            continue
        c = played[i].part
        playing[c] = played[i].program
        if leader[playing[c]] == c:
            for which in range(2):
                events[k].tick, events[k].instrument = played[i].start, playing[c]
                events[k].kind, events[k].value = which, nearest_value(which, state[which, c])
                k += 1
    return k


@njit(cache=True)
def place_on_grid(events, notes, ticks_per_beat, steps_per_beat, placed):
    """Put each event at its step if its class sounds there, otherwise at the class's next note.

    Of several events of one class and kind at one step the last counts. Events that change
    nothing are left out, and so are those after the last note's start.

    Args:
        events: dtype EVENT, by tick.
        notes: dtype NOTE, canonical, at least one.
        placed: dtype CONTROL, written, canonical; as long as `events`.

    Returns:
        The number of entries written to `placed`.
    """
    sounds_until = np.zeros(PROGRAMS, np.int64)
    is_pending = np.zeros((PROGRAMS, 2), np.bool_)
    pending = np.zeros((PROGRAMS, 2), np.int64)
    in_force = np.zeros((PROGRAMS, 2), np.int64)
    n, e, filled, group, at, of_event = 0, 0, 0, 0, np.int64(0), -1
    last = notes[len(notes) - 1].start
    while n < len(notes) or e < len(events):
        if e < len(events) and e != of_event:
            doubled = 2 * steps_per_beat * events[e].tick
            at, of_event = (doubled + ticks_per_beat) // (2 * ticks_per_beat), e
        if e < len(events) and (n == len(notes) or at < notes[n].start):
            step = at
            if step > last:
                break
        else:
            step = notes[n].start
        if filled > group and placed[group].start != step:
            filled = _close_step(placed, group, filled, in_force)
            group = filled
        if n < len(notes) and notes[n].start == step:
            p = notes[n].instrument
            if p < PROGRAMS:
                sounds_until[p] = max(sounds_until[p], step + notes[n].duration)
                for kind in range(2):
                    if is_pending[p, kind]:
                        filled = _enter(placed, group, filled, step, p, kind, pending[p, kind])
                        is_pending[p, kind] = False
            n += 1
            continue
        p, kind = np.int64(events[e].instrument), np.int64(events[e].kind)
        if sounds_until[p] > step:
            filled = _enter(placed, group, filled, step, p, kind, events[e].value)
        else:
            is_pending[p, kind], pending[p, kind] = True, events[e].value
        e += 1
    return _close_step(placed, group, filled, in_force)


@njit(cache=True)
def _enter(placed, group, filled, step, instrument, kind, value):
    """Insert a value at a step, in order of class and kind; returns the number of entries."""
    at = filled
    while at > group and (
        placed[at - 1].instrument > instrument
        or (placed[at - 1].instrument == instrument and placed[at - 1].kind >= kind)
    ):
        at -= 1
    taken = at < filled and placed[at].instrument == instrument and placed[at].kind == kind
    if not taken:
        for i in range(filled, at, -1):
            placed[i] = placed[i - 1]
        placed[at].start, placed[at].instrument, placed[at].kind = step, instrument, kind
    placed[at].value = value
    return filled if taken else filled + 1


@njit(cache=True)
def _close_step(placed, group, filled, in_force):
    """Keep those of one step's entries that change a value; returns the number of entries."""
    kept = group
    for i in range(group, filled):
        row = placed[i]
        if row.value != in_force[row.instrument, row.kind]:
            in_force[row.instrument, row.kind] = row.value
            placed[kept] = row
            kept += 1
    return kept
