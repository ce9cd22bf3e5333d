"""Leave out notes that nobody hears: volume or expression is 0 for as long as they sound.

Source:
    MIDI 1.0 detailed specification, control changes 7 (channel volume), 11 (expression) and 121
    (reset all controllers: expression returns to 127, volume stays).
"""

import dataclasses

import numpy as np

from pipeline.midi.controls import ALL_CONTROLLERS_OFF
from pipeline.midi.reader import Recording

VOLUME, EXPRESSION = 7, 11
FOREVER = np.iinfo(np.int64).max


def without_silent_notes(recording: Recording) -> Recording:
    """The recording without the notes that are silent from start to end, and their number.

    A change on the tick where a note starts counts for the note; one on the tick where it ends
    does not.
    """
    notes, controls = recording.notes, recording.controls
    is_level = np.isin(controls["kind"], (VOLUME, EXPRESSION))
    if not (controls["value"][is_level] == 0).any():
        return recording
    levels = controls[is_level | (controls["kind"] == ALL_CONTROLLERS_OFF)]
    is_silent = np.zeros(len(notes), bool)
    for part in np.unique(levels["part"][levels["value"] == 0]).tolist():
        own = np.flatnonzero(notes["part"] == part)
        from_tick, until = _silences(levels[levels["part"] == part])
        start = notes["start"][own]
        silence = np.searchsorted(from_tick, start, side="right") - 1
        is_silent[own] = (silence >= 0) & (notes["end"][own] <= until[silence])
        is_silent[own] &= start < until[silence]
    kept = dataclasses.replace(recording, notes=notes[~is_silent])
    return dataclasses.replace(kept, silent_notes=int(is_silent.sum()))


def _silences(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of each stretch of silence of one part, in ticks; at least one row."""
    volume, expression, silent = 1, 1, False
    spans = [[-1, -1]]
    for tick, kind, value in levels[["tick", "kind", "value"]].tolist():
        if kind == VOLUME:
            volume = value
        else:
            expression = value if kind == EXPRESSION else 127
        if silent and volume and expression:
            spans[-1][1] = tick
        elif not silent and not (volume and expression):
            heard = spans[-1][1] < tick
            spans.append([tick if heard else spans.pop()[0], FOREVER])
        silent = not (volume and expression)
    starts, ends = np.array(spans, np.int64).T
    return starts, ends
