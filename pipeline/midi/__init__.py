"""Bytes -> Recording: the tolerant reader.

reader.py      header, archives, repairs: `read_midi`
compiled.py    the rest as one compiled call, which joins the next six
events.py      compiled: the bytes of a track to events
parts.py       compiled: which part a note belongs to; a part's program and tuning
notes.py       compiled: note events to sorted notes
controls.py    compiled: controllers, pitch bend, tempos and meters
percussion.py  compiled: which notes are drums
drum_names.py  compiled: which tracks have a name that says drums
volume.py      leaves out notes at volume or expression 0
pedal.py       lengthens notes held by the sustain pedal, as a run asks for it
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
