"""The part of the report that is made of the workers' counts: note by note, token by token.

Plain data of a `pipeline.report.build.note_counts.Tally`. Copies count like all other kept songs; see there.
"""

from typing import Any

import numpy as np

from pipeline.midi.percussion import DECISIONS
from pipeline.report.number_format import significant
from pipeline.report.build.note_counts import ERROR_BINS, GRIDS, Tally
from shards.gm import FAMILY_NAMES
from shards.vocabulary import Kind, Vocabulary

RAREST = 24
"""Tokens shown that occur, but hardly ever."""
NEVER_ANYWHERE = (Kind.PAD, Kind.UNUSED)
"""Kinds of token that no song has, by design."""


def measure_tally(tally: Tally) -> dict[str, Any]:
    """All that the tally says, named; lists are by bin, by pitch or by class.

    Returns:
        `songs`, `notes`; `tokens`, see `_tokens`; `instruments`: of each class its notes and the
        songs that it plays in; `heat`: notes by family and pitch; `velocities`: of programs and
        of drums, by bin; `durations`: notes by duration in steps; `sounding`: steps by notes
        that sound; `grids`, see `_grid`; `kits`: for each decision that was made whether a drum
        kit plays, its notes and the songs with any, the commonest first.
    """
    parts, vocabulary = tally.parts, tally.vocabulary
    notes, songs = parts["instrument_notes"].tolist(), parts["instrument_songs"].tolist()
    programs, drums = parts["velocities"].tolist()
    return {
        "songs": int(parts["songs"]),
        "notes": sum(notes),
        "tokens": _tokens(parts["tokens"], parts["token_songs"], vocabulary),
        "instruments": [
            {"name": name, "notes": of_class, "songs": played_in}
            for name, of_class, played_in in zip(
                vocabulary.instrument_names, notes, songs, strict=True
            )
        ],
        "heat": dict(zip(FAMILY_NAMES, parts["pitches"].tolist(), strict=True)),
        "velocities": {"programs": programs, "drums": drums},
        "durations": parts["durations"].tolist(),
        "sounding": parts["sounding"].tolist(),
        "grids": [_grid(tally, number) for number in range(len(GRIDS))],
        "kits": _kits(tally),
    }


def _tokens(times: np.ndarray, songs: np.ndarray, vocabulary: Vocabulary) -> dict[str, Any]:
    """How much of the vocabulary is in use.

    Returns:
        `total` tokens; `kinds`: of each kind of token its tokens in the vocabulary, those in
        use, and how often they occur; `never`: names of those that no song has; `rarest`: name,
        times and songs of the rarest that occur.
    """
    kind = vocabulary.kind(np.arange(len(vocabulary)))
    counted = ~np.isin(kind, NEVER_ANYWHERE)
    found = np.flatnonzero(counted & (times > 0))
    rarest = found[np.argsort(times[found], kind="stable")][:RAREST].tolist()
    return {
        "total": int(times.sum()),
        "kinds": [
            {
                "kind": one.name.lower(),
                "tokens": int((kind == one).sum()),
                "used": int((times[kind == one] > 0).sum()),
                "times": int(times[kind == one].sum()),
            }
            for one in Kind
            if one not in NEVER_ANYWHERE and (kind == one).any()
        ],
        "never": [vocabulary.names[n] for n in np.flatnonzero(counted & (times == 0)).tolist()],
        "rarest": [
            {"name": vocabulary.names[n], "times": int(times[n]), "songs": int(songs[n])}
            for n in rarest
        ],
    }


def _kits(tally: Tally) -> list[dict[str, Any]]:
    rows = zip(
        DECISIONS,
        tally.parts["kit_notes"].tolist(),
        tally.parts["kit_songs"].tolist(),
        strict=True,
    )
    made = [{"decision": d, "notes": notes, "songs": songs} for d, notes, songs in rows if notes]
    return sorted(made, key=lambda row: -row["notes"])


def _grid(tally: Tally, number: int) -> dict[str, Any]:
    """How far the onsets of the files lie from the steps of one grid.

    Returns:
        `steps` a beat; `onsets`; `exact`: those on a step; `errors`: onsets by whole
        milliseconds, the last bin open; `mean_ms`.
    """
    errors = tally.parts["grid_errors"][number]
    onsets = int(errors.sum())
    microseconds = int(tally.parts["grid_microseconds"][number])
    return {
        "steps": GRIDS[number],
        "onsets": onsets,
        "exact": int(tally.parts["grid_exact"][number]),
        "errors": errors.tolist(),
        "mean_ms": significant(microseconds / onsets / 1000) if onsets else None,
    }


def within(grid: dict[str, Any], milliseconds: int) -> int:
    """Onsets of a grid that are less than this far off; at most ERROR_BINS - 1."""
    assert milliseconds < ERROR_BINS
    return sum(grid["errors"][:milliseconds])
