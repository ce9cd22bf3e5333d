"""Are the bounds of rules right, is `unaligned`, and which notes are lost? Asked of real files.

    python -m benchmarks.bounds nearest CORPUS   the ten songs nearest to the bound of each rule
    python -m benchmarks.bounds click CORPUS     `click` of songs as they are, and made worse
    python -m benchmarks.bounds lost CORPUS      notes lost as doubled or outside the map, by kind

For `click`, every fourth song with a click of 0.6 and 100 onsets: each onset moved by chance, as
people play; or its beats made unequal, or all of another length than the file says, as where
somebody played without hearing the sequencer.
"""

import operator
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.corpus import midi_files, recordings
from pipeline.clean.grid_fit import FEWEST_ONSETS, LEAST_CLICK, grid_fit
from pipeline.clean.quantize import Snap, quantize
from pipeline.clean.rules import RULES, Limits, Row
from pipeline.config import DataSettings, IntakeSettings
from pipeline.midi import Recording
from pipeline.running.slice_task import FileProcessor
from pipeline.sources.listing import SourceFile
from shards.vocabulary import NO_INSTRUMENT, Vocabulary

SHOWN, EVERY, LEAST = 10, 4, 0.6
FIGURES = ("notes", "seconds", "bars", "bpm", "onsets", "instruments", "parts", "drum_share",
           "busiest_second", "beat_alignment")  # fmt: skip
PAIRS = {"same tick": True, "another tick of the step": False}


def open_limits() -> Limits:
    """Bounds that turn nothing down."""
    wide = {rule.bound: rule.broken_by for rule in RULES}
    kinds = {name: type(getattr(Limits(), name)) for name in wide}
    low = {"min_notes": 1, "min_onsets": 1, "min_pitches": 1}
    return Limits(
        **{
            name: kinds[name](low.get(name, 0) if broken is operator.lt else 65_536)
            for name, broken in wide.items()
        }
    )


def nearest(corpus: Path) -> None:
    """Print the ten songs nearest to each bound, whichever side of it they lie on."""
    ingest = IntakeSettings(round_trip_check=0)
    processor = FileProcessor(DataSettings(ingest=ingest, limits=open_limits()))
    rows: list[Row] = []
    for path in midi_files(corpus):
        result = processor.process(SourceFile(str(path.relative_to(corpus)), str(path)))
        if result.index is not None:
            rows.append(result.index)
    for rule in RULES:
        bound, low = getattr(Limits(), rule.bound), rule.broken_by is operator.lt
        known = [(value, row) for row in rows if (value := rule.value(row)) is not None]
        known.sort(key=lambda pair: pair[0] if low else -pair[0])
        broken = sum(rule.broken_by(value, bound) for value, _ in known)
        print(f"\n{rule.code}: {rule.bound} {bound:g}, broken by {broken}")
        for value, row in known[:SHOWN]:
            said = " ".join(f"{name} {row[name]:.4g}" for name in FIGURES)
            print(f"  {value:<9.4g} {row['path']}: {said}")


def click_of(recording: Recording, moved: np.ndarray) -> float:
    """The click of the recording with these onsets, one a note, in ticks."""
    ticks = np.sort(np.maximum(np.rint(moved).astype(np.int64), 0))
    return grid_fit(ticks, recording.tempos, recording.ticks_per_beat, 12).click


def click(corpus: Path) -> None:
    """Print quantiles of click by what was done to songs, and the share under the bound."""
    random, found, corpus_clicks = np.random.default_rng(0), {}, []
    for recording in recordings(corpus):
        starts, beat = recording.notes["start"], recording.ticks_per_beat
        onsets, place = np.unique(starts, return_inverse=True)
        own = click_of(recording, starts)
        corpus_clicks.append((own, len(onsets)))
        if len(corpus_clicks) % EVERY or own < LEAST or len(onsets) < FEWEST_ONSETS:
            continue
        tempos = recording.tempos["microseconds"]
        tick_ms = (float(np.median(tempos)) if len(tempos) else 500_000) / 1e3 / beat
        made = {"as they are": onsets}
        for ms in (10, 20, 30):
            made[f"off by {ms} ms"] = onsets + random.normal(0, ms / tick_ms, len(onsets))
        knots = np.arange(0, onsets[-1] / beat + 8, 4)
        for share in (0.01, 0.05):
            drift = np.cumsum(random.normal(0, 4 * share * beat, len(knots)))
            late = np.interp(onsets / beat, knots, drift)
            made[f"tempo drifts by {100 * share:.0f} % a bar"] = onsets + late
        made["another tempo"] = onsets * random.choice([0.83, 0.91, 0.963, 1.037, 1.09, 1.17])
        for name, moved in made.items():
            found.setdefault(name, []).append(click_of(recording, moved[place]))
    print("| songs | number | 1 % | 5 % | median | 95 % | 99 % | under the bound |")
    print("|---|---|---|---|---|---|---|---|")
    for name, clicks in found.items():
        spread = " | ".join(f"{c:.3f}" for c in np.percentile(clicks, [1, 5, 50, 95, 99]))
        under = 100 * np.mean(np.array(clicks) < LEAST_CLICK)
        print(f"| {name} | {len(clicks)} | {spread} | {under:.1f} % |")
    own = np.array([one for one, onsets in corpus_clicks if onsets >= FEWEST_ONSETS])
    edges = np.array([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.01])
    counts = zip(edges.tolist(), np.histogram(own, edges)[0].tolist(), strict=False)
    print(f"\n{len(own)} songs by click:", *counts)


def lost(corpus: Path) -> None:
    """Print what notes that are lost to the vocabulary or to one another have been."""
    vocabulary, kinds, keys, by_file = Vocabulary(), Counter(), Counter(), []
    for recording in recordings(corpus):
        notes = recording.notes
        drum = vocabulary.drum_classes[notes["pitch"]]
        classes = np.where(notes["is_drum"], drum, notes["program"]).astype(np.int64)
        outside = classes == NO_INSTRUMENT
        keys.update(notes["pitch"][outside].tolist())
        kinds["notes"] += len(notes)
        notes, classes = notes[~outside], classes[~outside]
        steps = Snap(recording.ticks_per_beat, 12)(notes["start"])
        sound = (steps * 256 + classes) * 128 + notes["pitch"]
        order = np.lexsort((notes["start"], sound))
        twice = np.flatnonzero(np.diff(sound[order]) == 0)
        one, other = notes[order[twice]], notes[order[twice + 1]]
        equal = {name: one[name] == other[name] for name in ("start", "end", "velocity", "channel",
                                                              "track")}  # fmt: skip
        by_file.append(len(twice))
        kinds["doubled"] += len(twice)
        for name, together in PAIRS.items():
            on = equal["start"] == together
            kinds[f"doubled, {name}, another channel"] += int((on & ~equal["channel"]).sum())
            same = on & equal["channel"]
            kinds[f"doubled, {name}, same channel, another track"] += int(
                (same & ~equal["track"]).sum()
            )
            kinds[f"doubled, {name}, same track"] += int((same & equal["track"]).sum())
        exact = equal["start"] & equal["end"] & equal["velocity"]
        kinds["doubled, start, end and velocity equal"] += int(exact.sum())
        assert len(twice) == quantize(recording, vocabulary).counts["notes_merged"]
    kinds["outside the map"] = keys.total()
    for name, notes in kinds.items():
        print(f"| {name} | {notes:,} | {100 * notes / kinds['notes']:.2f} % |")
    top = sorted(by_file, reverse=True)[: len(by_file) // 10]
    print(f"a tenth of the files has {100 * sum(top) / sum(by_file):.0f} % of the doubled, "
          f"{100 * by_file.count(0) / len(by_file):.0f} % have none")  # fmt: skip
    print("keys outside:", ", ".join(f"{key} {n:,}" for key, n in keys.most_common(12)))


if __name__ == "__main__":
    {"nearest": nearest, "click": click, "lost": lost}[sys.argv[1]](Path(sys.argv[2]))
