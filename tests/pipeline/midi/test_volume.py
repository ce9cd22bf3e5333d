"""Notes that nobody hears are left out, and no others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.midi import read_midi
from pipeline.midi.pedal import apply_pedal
from pipeline.midi.volume import EXPRESSION, VOLUME, without_silent_notes
from tests.pipeline.midi.test_midi import DOWN, UP, after, control, midi, note, off, on, track


def heard(*events):
    recording, _ = without_silent_notes(read_midi(midi(track(*events))))
    return recording.notes["pitch"].tolist()


def test_a_note_at_volume_or_expression_zero_is_left_out_and_counted():
    mute, unmute = control(VOLUME, 0), control(VOLUME, 90)
    assert heard(note(60), mute, note(61), unmute, note(62)) == [60, 62]
    assert heard(control(EXPRESSION, 0), note(60), control(121, 0), note(61)) == [61]
    _, silent = without_silent_notes(read_midi(midi(track(mute, note(60), note(61), unmute))))
    assert silent == 2


def test_a_note_that_swells_or_fades_is_heard():
    mute, unmute = control(VOLUME, 0), control(VOLUME, 90)
    assert heard(mute, on(60), after(5, unmute), after(5, off(60))) == [60]
    assert heard(on(60), after(5, mute), after(5, off(60))) == [60]


def test_another_channels_volume_silences_nothing():
    assert heard(control(VOLUME, 0, 1), note(60)) == [60]


LEVELS = st.sampled_from([0, 9])


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20), st.sampled_from([VOLUME, EXPRESSION]), st.sampled_from([0, 9])
        )
    ),
    st.integers(0, 20),
    st.integers(1, 9),
)
def test_a_note_is_heard_if_any_of_its_ticks_is(changes, start, duration):
    """Against a definition that walks through the ticks."""
    changes = sorted(changes, key=lambda change: change[0])
    parts, now = [], 0
    for tick, kind, value in changes:
        parts.append(after(tick - now, control(kind, value)))
        now = tick
    tempo = read_midi(midi(track(*parts), track(after(start, note(60, duration)))))
    level = {VOLUME: 1, EXPRESSION: 1}
    audible = []
    for tick in range(start + duration):
        level.update({kind: value for at, kind, value in changes if at == tick})
        audible.append(level[VOLUME] > 0 and level[EXPRESSION] > 0)
    assert len(without_silent_notes(tempo)[0].notes) == any(audible[start:])


def test_auto_lengthens_what_only_keyboards_play():
    def ends(mode, *events):
        recording, held = apply_pedal(read_midi(midi(track(*events))), mode)
        return recording.notes["end"].tolist(), held

    piano = DOWN, note(60, 100), after(300, UP)
    assert ends("auto", *piano) == ends("extend", *piano) == ([400], 1)
    assert ends("ignore", *piano) == ([100], 1)
    band = *piano, note(36, 10, channel=9)
    assert ends("auto", *band) == ([100, 410], 1)
    assert ends("extend", *band) == ([400, 410], 1)


def test_a_file_without_such_controls_is_unchanged():
    recording = read_midi(midi(track(note(60))))
    assert without_silent_notes(recording)[0] is recording
    assert apply_pedal(recording, "auto")[0] is recording
    assert np.array_equal(recording.notes["pitch"], [60])
