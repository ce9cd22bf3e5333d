"""The note counts, named, as a part of report.json. Duplicates are counted like all other songs."""

import numpy as np

from pipeline.midi.percussion import DECISIONS
from pipeline.report.compute.note_counts import GRIDS, NoteCounts
from pipeline.report.number_format import significant
from pipeline.report.schema import DrumDecision, GridError, NoteCountsReport, TokenUse
from shards.gm import FAMILY_NAMES
from shards.vocabulary import Kind, Vocabulary

RAREST = 24
"""Tokens shown that occur, but least often."""
NEVER_ANYWHERE = (Kind.PAD, Kind.UNUSED)
"""Kinds of token that no song has, by design."""


def note_counts_report(counts: NoteCounts) -> NoteCountsReport:
    """Name everything that was counted."""
    arrays, vocabulary = counts.arrays, counts.vocabulary
    notes, songs = arrays["instrument_notes"].tolist(), arrays["instrument_songs"].tolist()
    programs, drums = arrays["velocities"].tolist()
    return {
        "songs": int(arrays["songs"]),
        "notes": sum(notes),
        "tokens": _tokens(arrays["tokens"], arrays["token_songs"], vocabulary),
        "instruments": [
            {"name": name, "notes": notes, "songs": songs}
            for name, notes, songs in zip(vocabulary.instrument_names, notes, songs, strict=True)
        ],
        "pitches": dict(zip(FAMILY_NAMES, arrays["pitches"].tolist(), strict=True)),
        "velocities": {"programs": programs, "drums": drums},
        "durations": arrays["durations"].tolist(),
        "sounding": arrays["sounding"].tolist(),
        "grids": [_grid(counts, number) for number in range(len(GRIDS))],
        "drum_decisions": _drum_decisions(counts),
    }


def _tokens(occurrences: np.ndarray, songs: np.ndarray, vocabulary: Vocabulary) -> TokenUse:
    kind = vocabulary.kind(np.arange(len(vocabulary)))
    can_occur = ~np.isin(kind, NEVER_ANYWHERE)
    used = np.flatnonzero(can_occur & (occurrences > 0))
    never_used = np.flatnonzero(can_occur & (occurrences == 0))
    rarest = used[np.argsort(occurrences[used], kind="stable")][:RAREST]
    names = vocabulary.names
    return {
        "total": int(occurrences.sum()),
        "kinds": [
            {
                "kind": one.name.lower(),
                "tokens": int((kind == one).sum()),
                "used": int((occurrences[kind == one] > 0).sum()),
                "occurrences": int(occurrences[kind == one].sum()),
            }
            for one in Kind
            if one not in NEVER_ANYWHERE and (kind == one).any()
        ],
        "never_used": [names[token] for token in never_used.tolist()],
        "rarest": [
            {
                "name": names[token],
                "occurrences": int(occurrences[token]),
                "songs": int(songs[token]),
            }
            for token in rarest.tolist()
        ],
    }


def _drum_decisions(counts: NoteCounts) -> list[DrumDecision]:
    notes, songs = (counts.arrays[f"decision_{of}"].tolist() for of in ("notes", "songs"))
    made: list[DrumDecision] = [
        {"decision": decision, "notes": notes, "songs": songs}
        for decision, notes, songs in zip(DECISIONS, notes, songs, strict=True)
        if notes
    ]
    return sorted(made, key=lambda row: -row["notes"])


def _grid(counts: NoteCounts, number: int) -> GridError:
    errors = counts.arrays["grid_errors"][number]
    onsets = int(errors.sum())
    microseconds = int(counts.arrays["grid_microseconds"][number])
    return {
        "steps_per_beat": GRIDS[number],
        "onsets": onsets,
        "exact": int(counts.arrays["grid_exact"][number]),
        "errors": errors.tolist(),
        "mean_ms": significant(microseconds / onsets / 1000) if onsets else None,
    }
