"""Leave out notes that nobody hears: volume or expression is 0 for as long as they sound.

Source:
    MIDI 1.0 detailed specification, control changes 7 (channel volume), 11 (expression) and 121
    (reset all controllers: expression returns to 127, volume stays).
"""

import dataclasses

import numpy as np
from numba import njit

from pipeline.midi.controls import ALL_CONTROLLERS_OFF
from pipeline.midi.reader import Recording

VOLUME, EXPRESSION = 7, 11
PARTS = 256
NEVER = np.int64(2**62)


def without_silent_notes(recording: Recording) -> tuple[Recording, int]:
    """The recording without the notes that are silent from start to end, and their number.

    A change on the tick where a note starts counts for the note; one on the tick where it ends
    does not.
    """
    notes, controls = recording.notes, recording.controls
    if not any_at_zero(np.ascontiguousarray(controls)):
        return recording, 0
    kind = controls["kind"]
    levels = controls[(kind == VOLUME) | (kind == EXPRESSION) | (kind == ALL_CONTROLLERS_OFF)]
    columns = (levels[name].astype(np.int64) for name in ("tick", "part", "kind", "value"))
    heard = are_heard(notes["start"].copy(), notes["end"].copy(), notes["part"].copy(), *columns)
    return dataclasses.replace(recording, notes=notes[heard]), len(notes) - int(heard.sum())


@njit(cache=True)
def any_at_zero(controls):
    """Whether any volume or expression is ever 0."""
    found = False
    for i in range(len(controls)):
        kind = controls[i].kind
        found |= controls[i].value == 0 and kind in (VOLUME, EXPRESSION)
    return found


@njit(cache=True)
def are_heard(start, end, part, tick, of_part, kind, value):
    """Which notes have a tick at which volume and expression of their part are not 0.

    Args:
        start, end, part: of the notes, by start; a note without length counts at its start.
        tick, of_part, kind, value: of the changes, by tick.

    Returns:
        bool, shape (notes,).
    """
    volume, expression = np.ones(PARTS, np.int64), np.ones(PARTS, np.int64)
    next_heard = np.empty(len(tick), np.int64)  # first tick with sound, from each change on
    follows = np.full(PARTS, -1, np.int64)  # a part's change after the one looked at
    is_loud = np.empty(len(tick), np.bool_)
    for i in range(len(tick)):
        if kind[i] == VOLUME:
            volume[of_part[i]] = value[i]
        else:
            expression[of_part[i]] = value[i] if kind[i] == EXPRESSION else 127
        is_loud[i] = volume[of_part[i]] > 0 and expression[of_part[i]] > 0
    for i in range(len(tick) - 1, -1, -1):
        after = follows[of_part[i]]
        if is_loud[i] and (after < 0 or tick[after] > tick[i]):
            next_heard[i] = tick[i]
        else:
            next_heard[i] = NEVER if after < 0 else next_heard[after]
        follows[of_part[i]] = i
    heard = np.ones(len(start), np.bool_)
    latest = np.full(PARTS, -1, np.int64)  # the part's last change so far
    i = 0
    for note in range(len(start)):
        while i < len(tick) and tick[i] <= start[note]:
            latest[of_part[i]] = i
            i += 1
        change = latest[part[note]]
        if change >= 0 and not is_loud[change]:
            heard[note] = next_heard[change] < end[note]
    return heard
