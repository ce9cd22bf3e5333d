"""`trainer judge`: compare samples of trained runs with held-out songs, as music.

The loss measures how well a run predicts; this measures what it writes, and whether it repeats
songs that it was trained on. Held-out songs are cut to the number of bars of the samples, so both
are beginnings of songs of the same length.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from shards.codec import Codec
from shards.errors import LakhxlError, SettingError
from shards.reader import SongSource, decode_song
from shards.song import Song
from trainer.data.selection import select
from trainer.evaluation.evaluate import ProgressBar
from trainer.generation.generate import generate
from trainer.generation.prompt import Prompt
from trainer.judging.distances import MIN_HELD_OUT, Comparison, compare
from trainer.judging.memorization import Match, longest_matches
from trainer.judging.music_metrics import METRICS, BarredSong, compute_metrics, split_by_instrument
from trainer.judging.settings import JudgeConfig
from trainer.run.folder import Run, load_model

MATCH_TITLES = {
    "matched_notes": "longest match, notes",
    "matched_notes_one_instrument": "longest match, 1 instrument, notes",
}
"""The longest run of notes shared with a training song: of all instruments together, and of one
instrument, whatever the others play."""
TITLES = {name: metric.title for name, metric in METRICS.items()} | MATCH_TITLES


class MetricResult(TypedDict):
    """One metric of all samples and held-out songs, None where it is not defined."""

    samples: list[float | None]
    held_out: list[float | None]
    comparison: Comparison | None


class Judgement(TypedDict):
    """The result of one run, as in its JSON file."""

    run: str
    step: int  # of the run's checkpoint
    dataset: str
    split: str  # of the held-out songs
    songs: list[int]  # numbers of the held-out songs
    samples: int  # how many
    sampling: dict[str, Any]  # the settings of `JudgeConfig`
    training_songs: int  # how many were searched for matches
    metrics: dict[str, MetricResult]  # by the names of TITLES
    longest_match: dict[str, int]  # of any sample: its `seed`, and the fields of `Match`


def first_bars(dataset: SongSource, numbers: np.ndarray, bars: int) -> dict[int, Song]:
    """Cut songs to their first bars, by song number; songs without a note there are left out.

    Raises:
        LakhxlError: fewer than two songs have a note there.
    """
    beginnings = {}
    for number in numbers.tolist():
        decode_song(dataset, number)  # refuses a damaged one
        try:
            beginning = Prompt.from_song(dataset.song(number), dataset.codec, bars)
        except SettingError:  # no note
            continue
        beginnings[number] = dataset.codec.decode(beginning.song)
    if len(beginnings) < 2:
        raise LakhxlError(
            f"{dataset.path}: {len(beginnings)} of {len(numbers)} songs begin within {bars} bars; "
            "at least two are needed to compare with"
        )
    return beginnings


def generate_samples(
    run: Run, config: JudgeConfig, device: torch.device, bar: ProgressBar
) -> list[Song]:
    """Generate samples with the best checkpoint of a run."""
    goal, unit = config.goal
    description = f"sampling from {run.path.name}"
    with bar(total=goal * config.count, unit=unit, desc=description) as progress:
        songs = generate(
            load_model(run, device),
            run.vocabulary,
            config,
            block_size=run.config.train.block_size,
            progress=lambda written: progress.update(written - progress.n),
        )
    codec = Codec(run.vocabulary)
    return [codec.decode(song) for song in songs]


def judge(
    run: Run,
    dataset: SongSource,
    held_out: dict[int, Song],
    samples: list[Song],
    *,
    split: str,
    config: JudgeConfig,
    bar: ProgressBar,
) -> Judgement:
    """Compare samples of a run with held-out songs.

    Args:
        run: the run; matches are searched in the songs it was trained on.
        dataset: of the songs.
        held_out: held-out songs by number, cut to the length of the samples.
        samples: of the run.
        split, config: recorded in the result.
        bar: makes a progress bar.
    """
    songs = [*held_out.values(), *samples]
    training = select(dataset, "train", run.config.train.where)
    rows = [compute_metrics(BarredSong(song, run.vocabulary.bar_steps)) for song in songs]
    values = {name: np.array([row[name] for row in rows]) for name in METRICS}
    matches = _find_matches(songs, dataset, training, bar)
    for name, found in matches.items():
        values[name] = np.array([float(match.notes) for match in found])
    first = len(held_out)
    of_samples = matches["matched_notes"][first:]
    longest = max(range(len(samples)), key=lambda n: of_samples[n].notes)
    return {
        "run": str(run.path),
        "step": run.best_step(),
        "dataset": str(dataset.path),
        "split": split,
        "songs": [*held_out],
        "samples": config.count,
        "sampling": dataclasses.asdict(config),
        "training_songs": len(training),
        "metrics": {
            name: {
                "samples": _plain(both[first:]),
                "held_out": _plain(both[:first]),
                "comparison": compare(both[first:], both[:first]),
            }
            for name, both in values.items()
        },
        "longest_match": {
            "seed": config.seed + longest,
            **dataclasses.asdict(of_samples[longest]),
        },
    }


def _find_matches(
    songs: list[Song], dataset: SongSource, training: np.ndarray, bar: ProgressBar
) -> dict[str, list[Match]]:
    """For each song its longest matches with training songs, by the names of MATCH_TITLES."""
    with bar(total=2 * len(training), unit="song", desc="searching for matches") as progress:

        def decoded() -> Iterator[tuple[int, np.ndarray]]:
            for number in training.tolist():
                yield number, decode_song(dataset, number).notes
                progress.update()

        whole = longest_matches([song.notes for song in songs], decoded())
        by_song = [split_by_instrument(song.notes) for song in songs]
        parts = [part for song_parts in by_song for part in song_parts]
        training_parts = (
            (number, part) for number, notes in decoded() for part in split_by_instrument(notes)
        )
        found = iter(longest_matches(parts, training_parts))
        best = [max((next(found) for _ in part), key=lambda match: match.notes) for part in by_song]
    return {"matched_notes": whole, "matched_notes_one_instrument": best}


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def table(results: list[Judgement]) -> str:
    """All metrics as text: held-out songs, then each run's samples and their distance."""
    first = results[0]
    lines = [
        f"{first['dataset']}, {first['split']}: the first {first['sampling']['bars']} bars of "
        f"{len(first['songs']):,} held-out songs and of {first['samples']:,} samples per run",
        "median (quartiles)",
        "distance: Wasserstein, samples to held-out songs, in held-out standard deviations",
        "reference: the same between held-out songs, mean and 97.5th percentile; none with fewer "
        f"than {MIN_HELD_OUT} songs",
        "*: the distance exceeds that percentile",
        "",
    ]
    head = f"{'':<36}{'held out':>21}"
    for result in results:
        head += f"{Path(result['run']).name[-20:]:>22}{'distance':>10}{'reference':>14} "
    lines.append(head.rstrip())
    for name, title in TITLES.items():
        line = f"{title:<36}{_quartiles(first['metrics'][name]['held_out']):>21}"
        for result in results:
            metric = result["metrics"][name]
            line += f"{_quartiles(metric['samples']):>22}{_distance(metric['comparison'])}"
        lines.append(line.rstrip())
    return "\n".join([*lines, *(f"\n{_match_sentence(result)}" for result in results)])


def _quartiles(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, median, high = (f"{value:.3g}" for value in np.percentile(known, [25, 50, 75]))
    return f"{median} ({low}-{high})"


def _distance(comparison: Comparison | None) -> str:
    if comparison is None:
        return f"{'-':>10}{'':>15}"
    reference = comparison["reference_distance"]
    mark = "*" if comparison["exceeds_reference"] else " "
    cell = f"{reference['mean']:.2f}, {reference['high']:.2f}" if reference else "few songs"
    return f"{comparison['distance']['mean']:>10.2f}{cell:>14}{mark}"


def _match_sentence(result: Judgement) -> str:
    match, songs = result["longest_match"], f"{result['training_songs']:,} training songs"
    if not match["notes"]:
        return f"{result['run']}: no sample shares a note with any of {songs}"
    return (
        f"{result['run']}: the longest match with any of {songs} has {match['notes']:,} notes: "
        f"seed {match['seed']} from note {match['start']:,} is song {match['training_song']} from "
        f"note {match['training_start']:,}"
    )
