"""Songs for the tests: from tuples, and drawn by hypothesis."""

import numpy as np
from hypothesis import strategies as st

from shards.song import (
    BEND,
    COMMON_TIME,
    CONTROL,
    DEFAULT_TEMPO,
    METER,
    MODULATION,
    NOTE,
    TEMPO,
    Song,
    changes,
    control_changes,
    sort_notes,
)
from shards.vocabulary import Vocabulary, velocity_bin, velocity_of_bin


def make_song(
    notes, meters=(COMMON_TIME,), tempos=(DEFAULT_TEMPO,), steps_per_beat=24, controls=()
) -> Song:
    """A song from tuples: (start, duration, instrument, pitch, velocity), …"""
    return Song(
        np.array(list(notes), NOTE),
        np.array(list(meters), METER),
        np.array(list(tempos), TEMPO),
        steps_per_beat,
        np.array(list(controls), CONTROL),
    )


@st.composite
def canonical_songs(draw, vocabulary: Vocabulary, max_notes: int = 40) -> Song:
    """Any canonical song on the vocabulary's grid, with small steps and very long rests."""
    rests = st.one_of(st.integers(0, 3), st.integers(0, 5 * int(vocabulary.rests[-1])))
    starts = np.cumsum(draw(st.lists(rests, min_size=1, max_size=max_notes)))
    sounds = st.one_of(_melodic_sounds(vocabulary), _drum_sounds(vocabulary))
    rows = [(start, *draw(sounds), draw(st.integers(1, 127))) for start in starts.tolist()]
    notes = sort_notes(np.array(rows, NOTE))
    notes["velocity"] = velocity_of_bin(velocity_bin(notes["velocity"]))
    when = st.integers(0, int(starts[-1]))
    meters = tempos = []
    if vocabulary.meters:
        pairs = draw(st.lists(st.tuples(when, st.sampled_from(vocabulary.meters)), max_size=4))
        meters = sorted(((start, *meter) for start, meter in pairs), key=lambda row: row[0])
    if len(vocabulary.tempos):
        tempi = st.sampled_from(vocabulary.tempos.tolist())
        tempos = sorted(draw(st.lists(st.tuples(when, tempi), max_size=4)), key=lambda row: row[0])
    opening_tempo = (0, draw(tempi)) if len(vocabulary.tempos) else DEFAULT_TEMPO
    return Song(
        notes,
        changes(np.array(meters, METER), COMMON_TIME),
        changes(np.array(tempos, TEMPO), opening_tempo),
        vocabulary.settings.steps_per_beat,
        draw(_controls(vocabulary, notes)),
    )


def _melodic_sounds(vocabulary: Vocabulary) -> st.SearchStrategy[tuple[int, int, int]]:
    """Duration, program and pitch."""
    every = vocabulary.durations.tolist()
    durations = st.one_of(st.sampled_from(every[:2]), st.sampled_from(every))  # chords share one
    programs = st.one_of(st.sampled_from((0, 40)), st.integers(0, 127))
    return st.tuples(durations, programs, st.integers(0, 127))


def _drum_sounds(vocabulary: Vocabulary) -> st.SearchStrategy[tuple[int, int, int]]:
    """Duration, class and key."""
    keys = st.integers(vocabulary.low_key, vocabulary.high_key)
    classes = vocabulary.drum_classes.tolist()
    return keys.map(lambda key: (vocabulary.drum_duration, classes[key], key))


@st.composite
def _controls(draw, vocabulary: Vocabulary, notes: np.ndarray) -> np.ndarray:
    """Bends and modulations of the programs that play, where the vocabulary has such tokens."""
    values = {BEND: vocabulary.bends.tolist(), MODULATION: vocabulary.modulations.tolist()}
    streams = [(int(p), kind) for p in set(notes["instrument"]) if p < 128 for kind in values]
    streams = [stream for stream in streams if values[stream[1]]]
    if not streams:
        return np.zeros(0, CONTROL)
    when = st.integers(0, int(notes["start"][-1]))
    drawn = draw(st.lists(st.tuples(when, st.sampled_from(streams)), max_size=12))
    rows = [(step, *stream, draw(st.sampled_from(values[stream[1]]))) for step, stream in drawn]
    return control_changes(np.array(sorted(rows), CONTROL))
