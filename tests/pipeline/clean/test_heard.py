"""What is heard of a file: silent notes, pedal and beat, one after the other."""

from pipeline.clean.heard import hear
from pipeline.midi import read_midi
from tests.pipeline.midi.test_midi import DOWN, UP, after, control, midi, note, track


def heard(*events):
    return hear(read_midi(midi(track(*events))), "auto", "all", 12, meter_inference=True)


def test_a_file_of_which_nothing_is_heard_is_none():
    assert heard(UP) is None
    assert heard(control(7, 0), note(60)) is None


def test_each_step_counts_what_it_did():
    mute, unmute = control(7, 0), control(7, 90)
    song = heard(mute, note(60), unmute, DOWN, note(62, 100), after(300, UP))
    assert song.recording.notes["pitch"].tolist() == [62]
    assert song.recording.notes["end"].tolist() == [480 + 400]
    assert (song.silent_notes, song.pedal_notes, song.beat.repair) == (1, 1, "none")
    assert song.beat.fit is song.beat.fit_before
