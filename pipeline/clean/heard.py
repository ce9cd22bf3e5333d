"""A recording as it is heard: without silent notes, with the pedal, on its own beat and meter."""

from dataclasses import dataclass

from pipeline.clean.beat import Beat, repair_beat
from pipeline.clean.meter import Meter, infer_meter
from pipeline.midi import Recording
from pipeline.midi.pedal import apply_pedal
from pipeline.midi.volume import without_silent_notes


@dataclass(frozen=True)
class Heard:
    """What is cleaned further, and what was done to the file's recording before.

    Attributes:
        recording: with at least one note.
        silent_notes: how many were left out because nobody hears them.
        pedal_notes: how many the sustain pedal holds beyond their end, lengthened or not.
        beat: what was done to the beat, and how the onsets lie on it.
        meter: whether the file states one, and whether the music is in three or in four.
    """

    recording: Recording
    silent_notes: int
    pedal_notes: int
    beat: Beat
    meter: Meter


def hear(
    recording: Recording,
    sustain: str,
    beat_repair: str,
    steps_per_beat: int,
    *,
    meter_inference: bool,
) -> Heard | None:
    """Turn a recording as read into one as heard; None if no note is left.

    Args:
        recording: as read.
        sustain: see `pipeline.midi.pedal.apply_pedal`.
        beat_repair, steps_per_beat: see `pipeline.clean.beat.repair_beat`.
        meter_inference: see `pipeline.clean.meter.infer_meter`.
    """
    recording, silent_notes = without_silent_notes(recording)
    recording, pedal_notes = apply_pedal(recording, sustain)
    if not len(recording.notes):
        return None
    recording, beat = repair_beat(recording, beat_repair, steps_per_beat)
    recording, meter = infer_meter(recording, meter_inference)
    return Heard(recording, silent_notes, pedal_notes, beat, meter)
