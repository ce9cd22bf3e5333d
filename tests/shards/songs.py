"""Songs for the tests: hypothesis strategies, and a few written out by hand."""

import numpy as np
from hypothesis import strategies as st

from shards.song import COMMON_TIME, DEFAULT_TEMPO, METER, NOTE, TEMPO, Song, changes, sort_notes
from shards.vocabulary import Vocabulary, velocity_bin, velocity_of_bin


def make_song(notes, meters=(COMMON_TIME,), tempos=(DEFAULT_TEMPO,), steps_per_beat=12) -> Song:
    """A song from tuples: (start, duration, instrument, pitch, velocity), …"""
    return Song(
        np.array(list(notes), NOTE),
        np.array(list(meters), METER),
        np.array(list(tempos), TEMPO),
        steps_per_beat,
    )


@st.composite
def canonical_songs(draw, vocabulary: Vocabulary, most_notes: int = 40) -> Song:
    """Any canonical song on the vocabulary's grid, small steps and very long rests alike."""
    longest = vocabulary.max_duration
    rests = st.one_of(st.integers(0, 3), st.integers(0, 5 * longest))
    starts = np.cumsum(draw(st.lists(rests, min_size=1, max_size=most_notes)))
    rows = [
        (
            start,
            draw(st.integers(1, longest)),
            draw(st.integers(0, min(vocabulary.instruments, 255) - 1)),
            draw(st.integers(0, 127)),
            draw(st.integers(1, 127)),
        )
        for start in starts.tolist()
    ]
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
    )
