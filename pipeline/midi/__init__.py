"""Bytes -> Recording: the tolerant reader.

reader.py      header, tracks, repairs: `read_midi`
events.py notes.py controls.py   compiled: a track's bytes; notes and controls, in order
percussion.py  which part is a drum kit
pedal.py       notes held by the sustain pedal, where a run asks for it
"""

from pipeline.midi.controls import CONTROL_DTYPE, METER_DTYPE, TEMPO_DTYPE
from pipeline.midi.notes import NOTE_DTYPE
from pipeline.midi.reader import Recording, UnreadableMidi, read_midi, warm_up

__all__ = [
    "CONTROL_DTYPE",
    "METER_DTYPE",
    "NOTE_DTYPE",
    "TEMPO_DTYPE",
    "Recording",
    "UnreadableMidi",
    "read_midi",
    "warm_up",
]
