"""A song as the page draws and follows it: plain lists of numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shards.bars import Bars
from shards.song import Song
from shards.vocabulary import Vocabulary

MOST_NOTES, MOST_BARS = 200_000, 20_000
"""Drawn of one song. Kept songs have fewer; rejected ones may have any number."""


def music(
    song: Song, vocabulary: Vocabulary, silences: Sequence[tuple[int, int]] = ()
) -> dict[str, Any]:
    """What a piano roll needs.

    Args:
        song: canonical, at least one note.
        vocabulary: names the instruments and knows how long a bar is.
        silences: (bar, bars removed) where silence was removed just before that bar, from 0.

    Returns:
        `notes`: rows of start, duration, instrument class, pitch, velocity; `names`: of the
        classes that play; `bars`: the first step of each; `meters`: (step, meter); `clock`:
        (step, seconds), between which time is even, to the end; `cuts`: (step, bars removed).
    """
    notes = song.notes[:MOST_NOTES]
    bars = Bars(song.meters, vocabulary.bar_steps)
    last = int(bars.locate(np.array([song.end - 1]))[0][0])
    starts, seconds, _ = song.tempo_map()
    clock = [*zip(starts.tolist(), seconds.tolist(), strict=True)]
    places, removed = np.array([*silences], np.int64).reshape(-1, 2).T
    return {
        "notes": notes.tolist(),
        "names": {
            number: vocabulary.instrument_names[number]
            for number in np.unique(notes["instrument"]).tolist()
        },
        "bars": bars.first_steps(np.arange(min(last + 1, MOST_BARS))).tolist(),
        "meters": [(step, f"{beats}/{unit}") for step, beats, unit in song.meters.tolist()],
        "clock": [*clock, (song.end, float(song.seconds(song.end)))],
        "cuts": [*zip(bars.first_steps(places).tolist(), removed.tolist(), strict=True)],
    }
