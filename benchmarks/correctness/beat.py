"""What is done to the beats and meters of real songs, and what it does to their onset errors."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.corpus import recordings
from pipeline.clean.beat import BEAT_REPAIRS, seconds_at
from pipeline.clean.heard import Heard, hear
from pipeline.clean.meter import MIN_TRIPLE
from pipeline.clean.quantize import quantize
from pipeline.config import DataSettings
from pipeline.midi import Recording
from shards.vocabulary import Vocabulary

command = Measurements(help=__doc__)


def heard(recording: Recording, beat_repair: str) -> Heard | None:
    """The recording as a run hears it, with this repair."""
    settings = DataSettings()
    steps = settings.codec.steps_per_beat
    return hear(recording, settings.ingest.sustain, beat_repair, steps, meter_inference=True)


def sixteenths_error(recording: Recording) -> float:
    """Median distance to the nearest sixteenth, as a share of the greatest; 0.5 at random."""
    starts = recording.notes["start"] * (4 / recording.ticks_per_beat)
    return float(np.median(np.abs(starts - np.rint(starts)))) * 2


def drift(recording: Recording, beats: int = 16) -> float:
    """Most seconds that so many beats gain or lose because tempos become tempo tokens."""
    ends = np.arange(0, int(recording.notes["start"][-1]), recording.ticks_per_beat)
    song = quantize(recording, Vocabulary()).song
    stated = seconds_at(ends, recording)
    moved = song.seconds(np.arange(len(ends)) * song.steps_per_beat) - stated
    return float(np.abs(moved[beats:] - moved[:-beats]).max(initial=0))


@command.command()
@corpus_argument
def repairs(corpus: Path) -> None:
    """Print the onset errors before and after each repair; medians over its songs.

    The grid is that of a run. Players are no more exact than its steps, so sixteenths tell more of
    free playing: the error is a share of the greatest one, 0.5 at random. Drift is what 16 beats of
    a repaired song gain or lose because its tempos become tempo tokens, in seconds; for a song at
    one tempo it is up to 2.2 % of their length.
    """
    rows, unaligned = defaultdict(list), np.zeros(2, int)
    for recording in recordings(corpus):
        before, after = heard(recording, "none"), heard(recording, "all")
        if before is None or after is None:
            continue
        beat = after.beat
        unaligned += beat.fit_before.unaligned, beat.fit.unaligned
        errors = [beat.fit_before.error_ms, beat.fit.error_ms]
        on_sixteenths = [sixteenths_error(song.recording) for song in (before, after)]
        moved = drift(after.recording) if beat.repair in ("constant_tempo", "tracked") else 0.0
        rows[beat.repair].append((*errors, *on_sixteenths, moved))
    print(f"unaligned songs: {unaligned[0]} before, {unaligned[1]} after")
    print("| repair | songs | onset error, ms | after | error in sixteenths | after | drift, s |")
    print("|---|---|---|---|---|---|---|")
    for repair in BEAT_REPAIRS:
        if rows[repair]:
            middle = " | ".join(f"{value:.2f}" for value in np.median(rows[repair], axis=0))
            print(f"| {repair} | {len(rows[repair])} | {middle} |")


@command.command()
@corpus_argument
def meters(corpus: Path) -> None:
    """Print which stated meters look like 3/4, and which songs that state none are put into it."""
    triples, highest = defaultdict(list), {}
    bounds = (0.1, 0.15, MIN_TRIPLE, 0.35, 0.5)
    for recording in recordings(corpus):
        song = heard(recording, "all")
        if song is not None:
            triples[_kind(song)].append(song.meter.triple)
    print("| stated | songs | measured |", " | ".join(f"> {bound:g}" for bound in bounds), "|")
    print("|---" * (3 + len(bounds)) + "|")
    for kind, values in triples.items():
        known = np.sort(np.array(values)[~np.isnan(values)])
        shares = " | ".join(f"{100 * np.mean(known >= bound):.2f} %" for bound in bounds)
        print(f"| {kind} | {len(values)} | {len(known)} | {shares} |")
        highest[kind] = known[-12:].round(2).tolist()
    for kind, values in highest.items():
        print(f"{kind}: {values} are the highest")


def _kind(song: Heard) -> str:
    """What bars the meters of the file have in common."""
    meters = song.recording.meters
    if not song.meter.stated:
        return "none"
    if meters["tick"][0] > song.recording.notes["start"][0]:
        return "after the first onset"
    quarters = 4 * meters["numerator"] / meters["denominator"]
    if (quarters % 3 == 0).all():
        return "3/4, 6/8, ..."
    return "2/4, 4/4, ..." if np.isin(quarters, (1, 2, 4, 8)).all() else "others"
