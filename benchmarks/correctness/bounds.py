"""Whether the bounds of the rules fit real songs: the nearest songs, alignment, and lost notes."""

import operator
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.corpus import midi_files, recordings
from pipeline.clean.grid_fit import MIN_ALIGNMENT, MIN_ONSETS, grid_fit
from pipeline.clean.quantize import Snap, quantize
from pipeline.clean.rules import RULES, Limits, Row
from pipeline.config import DataSettings, IngestSettings
from pipeline.midi import Recording
from pipeline.process_file import FileProcessor
from pipeline.sources.listing import SourceFile
from shards.vocabulary import NO_INSTRUMENT, Vocabulary

SHOWN = 10
COLUMNS = ("notes", "seconds", "bars", "bpm", "onsets", "instruments", "parts", "drum_share",
           "busiest_second", "beat_alignment")  # fmt: skip
EVERY, WELL_ALIGNED = 4, 0.6
"""One song in EVERY, of those with this alignment, is made worse."""


command = Measurements(help=__doc__)


def open_limits() -> Limits:
    """Limits that reject nothing."""
    defaults, low = Limits(), {"min_notes": 1, "min_onsets": 1, "min_pitches": 1}
    values = {
        rule.bound: low.get(rule.bound, 0) if rule.broken_by is operator.lt else 65_536
        for rule in RULES
    }
    return Limits(**{name: type(getattr(defaults, name))(n) for name, n in values.items()})


@command.command()
@corpus_argument
def nearest(corpus: Path) -> None:
    """Print the ten songs nearest to the bound of each rule, on either side of it."""
    ingest = IngestSettings(round_trip_check=0)
    processor = FileProcessor(DataSettings(ingest=ingest, limits=open_limits()))
    rows: list[Row] = []
    for path in midi_files(corpus):
        result = processor.process(SourceFile(str(path.relative_to(corpus)), str(path)))
        if result.index is not None:
            rows.append(result.index)
    for rule in RULES:
        bound, low = getattr(Limits(), rule.bound), rule.broken_by is operator.lt
        values = [(value, row) for row in rows if (value := rule.value(row)) is not None]
        values.sort(key=lambda pair: pair[0] if low else -pair[0])
        broken = sum(rule.broken_by(value, bound) for value, _ in values)
        print(f"\n{rule.code}: {rule.bound} {bound:g}, broken by {broken}")
        for value, row in values[:SHOWN]:
            columns = " ".join(f"{name} {row[name]:.4g}" for name in COLUMNS)
            print(f"  {value:<9.4g} {row['path']}: {columns}")


def alignment(recording: Recording, onsets: np.ndarray) -> float:
    """The beat alignment of the recording with these onsets, in ticks, one per note."""
    ticks = np.sort(np.maximum(np.rint(onsets).astype(np.int64), 0))
    return grid_fit(ticks, recording.tempos, recording.ticks_per_beat, 12).beat_alignment


def worsened(recording: Recording, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The recording's distinct onsets as they are, and moved in several ways."""
    onsets, beat = np.unique(recording.notes["start"]), recording.ticks_per_beat
    tempos = recording.tempos["microseconds"]
    tick_ms = (float(np.median(tempos)) if len(tempos) else 500_000) / 1e3 / beat
    moved = {"as they are": onsets}
    for ms in (10, 20, 30):
        moved[f"off by {ms} ms"] = onsets + random.normal(0, ms / tick_ms, len(onsets))
    knots = np.arange(0, onsets[-1] / beat + 8, 4)
    for share in (0.01, 0.05):
        drift = np.cumsum(random.normal(0, 4 * share * beat, len(knots)))
        late = np.interp(onsets / beat, knots, drift)
        moved[f"tempo drifts by {100 * share:.0f} % per bar"] = onsets + late
    moved["another tempo"] = onsets * random.choice([0.83, 0.91, 0.963, 1.037, 1.09, 1.17])
    return moved


@command.command("alignment")
@corpus_argument
def alignment_command(corpus: Path) -> None:
    """Print quantiles of the beat alignment of songs as they are, and made worse.

    Of every fourth song with an alignment of 0.6 and 100 onsets: each onset moved at random, as
    people play; or its beats made unequal, or all of another length than the file says, as where
    somebody played without hearing the sequencer.
    """
    random, by_change, songs = np.random.default_rng(0), {}, []
    for recording in recordings(corpus):
        starts = recording.notes["start"]
        onsets, number = np.unique(starts, return_inverse=True)
        own = alignment(recording, starts)
        songs.append((own, len(onsets)))
        if len(songs) % EVERY or own < WELL_ALIGNED or len(onsets) < MIN_ONSETS:
            continue
        for name, moved in worsened(recording, random).items():
            by_change.setdefault(name, []).append(alignment(recording, moved[number]))
    print("| songs | number | 1 % | 5 % | median | 95 % | 99 % | under the bound |")
    print("|---|---|---|---|---|---|---|---|")
    for name, values in by_change.items():
        spread = " | ".join(f"{q:.3f}" for q in np.percentile(values, [1, 5, 50, 95, 99]))
        under = 100 * np.mean(np.array(values) < MIN_ALIGNMENT)
        print(f"| {name} | {len(values)} | {spread} | {under:.1f} % |")
    own = np.array([value for value, onsets in songs if onsets >= MIN_ONSETS])
    edges = np.array([0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.01])
    counts = zip(edges.tolist(), np.histogram(own, edges)[0].tolist(), strict=False)
    print(f"\n{len(own)} songs by alignment:", *counts)


@command.command()
@corpus_argument
def lost(corpus: Path) -> None:
    """Print which notes are merged with others, and which lie outside the percussion map."""
    vocabulary, kinds, keys, by_file = Vocabulary(), Counter(), Counter(), []
    for recording in recordings(corpus):
        notes = recording.notes
        drum = vocabulary.drum_classes[notes["pitch"]]
        classes = np.where(notes["is_drum"], drum, notes["program"]).astype(np.int64)
        outside = classes == NO_INSTRUMENT
        keys.update(notes["pitch"][outside].tolist())
        kinds["notes"] += len(notes)
        notes, classes = notes[~outside], classes[~outside]
        steps = Snap(recording.ticks_per_beat, vocabulary.settings.steps_per_beat)(notes["start"])
        sound = (steps * 256 + classes) * 128 + notes["pitch"]
        order = np.lexsort((notes["start"], sound))
        merged = np.flatnonzero(np.diff(sound[order]) == 0)
        kinds.update(merged_kinds(notes[order[merged]], notes[order[merged + 1]]))
        by_file.append(len(merged))
        assert len(merged) == quantize(recording, vocabulary).counts["notes_merged"]
    kinds["outside the map"] = keys.total()
    for name, notes in kinds.items():
        print(f"| {name} | {notes:,} | {100 * notes / kinds['notes']:.2f} % |")
    top = sorted(by_file, reverse=True)[: len(by_file) // 10]
    print(f"a tenth of the files has {100 * sum(top) / sum(by_file):.0f} % of the merged notes, "
          f"{100 * by_file.count(0) / len(by_file):.0f} % have none")  # fmt: skip
    print("keys outside:", ", ".join(f"{key} {n:,}" for key, n in keys.most_common(12)))


def merged_kinds(one: np.ndarray, other: np.ndarray) -> Counter[str]:
    """How many pairs of merged notes there are of each kind."""
    equal = {name: one[name] == other[name]
             for name in ("start", "end", "velocity", "channel", "track")}  # fmt: skip
    exact = equal["start"] & equal["end"] & equal["velocity"]
    kinds = {"merged": len(one)}
    for name, same in (("same tick", True), ("another tick of the step", False)):
        here = equal["start"] == same
        on_channel = here & equal["channel"]
        kinds |= {
            f"merged, {name}, another channel": int((here & ~equal["channel"]).sum()),
            f"merged, {name}, same channel, another track": int(
                (on_channel & ~equal["track"]).sum()
            ),
            f"merged, {name}, same track": int((on_channel & equal["track"]).sum()),
        }
    return Counter(kinds | {"merged, start, end and velocity equal": int(exact.sum())})
