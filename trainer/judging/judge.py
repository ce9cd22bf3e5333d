"""`trainer judge`: what samples of runs are like as music, beside held-out songs, and whether they
are copies of what the runs were trained on.

As many bars are looked at of a held-out song as samples have, its first ones, so that both begin
alike. The loss says how well a run foretells; this says what comes of it when it writes.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shards.codec import Codec
from shards.errors import LakhxlError, SettingError
from shards.settings import setting
from shards.song import Song
from shards.vocabulary import PROGRAMS
from trainer.data.selection import select
from trainer.evaluation.evaluate import Bar
from trainer.generation.generate import SampleConfig, generate
from trainer.generation.prompt import Prompt
from trainer.judging.distances import compare
from trainer.judging.memorization import Copy, longest_copies
from trainer.judging.music_metrics import MEASURES, Piece, measure
from trainer.run.folder import Run, load_model

COPIES = {
    "copied_notes": "longest copy of training, notes",
    "copied_in_part": "longest copy in one instrument's part",
}
TITLES = {name: measure.title for name, measure in MEASURES.items()} | COPIES


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(SampleConfig):
    """How samples are drawn, how many, and how long."""

    bars: int = setting(16, "Bars of each sample, and of each held-out song its first.", low=1)
    count: int = setting(32, "Samples; sample n is that of seed + n.", low=1)

    def __post_init__(self) -> None:
        """Refuse a length that held-out songs are not cut to."""
        super().__post_init__()
        if self.seconds is not None:
            raise SettingError("samples are judged by so many bars: name --bars, not --seconds")


def beginnings(dataset: Any, numbers: np.ndarray, bars: int) -> dict[int, Song]:
    """The first bars of songs, by number; songs without a note in them are left out.

    Raises:
        LakhxlError: fewer than two songs have a note there.
    """
    found = {}
    for number in numbers.tolist():
        try:
            beginning = Prompt.of(dataset.song(number), dataset.codec, bars)
        except SettingError:  # no note
            continue
        found[number] = dataset.codec.decode(beginning.song)
    if len(found) < 2:
        raise LakhxlError(
            f"{dataset.path}: {len(found)} of {len(numbers)} songs begin within {bars} bars; at "
            "least two are needed to compare with"
        )
    return found


def write_samples(run: Run, config: JudgeConfig, device: torch.device, bar: Bar) -> list[Song]:
    """Let a run's best checkpoint write."""
    goal, unit = config.goal
    with bar(total=goal * config.count, unit=unit, desc=f"writing by {run.path.name}") as progress:
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
    dataset: Any,
    held_out: dict[int, Song],
    samples: list[Song],
    *,
    split: str,
    config: JudgeConfig,
    bar: Bar,
) -> dict[str, Any]:
    """Hold samples of a run against held-out songs.

    Args:
        run: whose samples they are; copies are looked for in the songs it was trained on.
        dataset: of the songs.
        held_out: beginnings of songs, by number.
        samples: as long.
        split, config: named in the result.
        bar: makes a progress bar.

    Returns:
        Plain data: for each measure all values, and how far apart they lie; the copies.
    """
    songs = [*held_out.values(), *samples]
    training = select(dataset, "train", run.config.train.where)
    pieces = [Piece(song, run.vocabulary.bar_steps) for song in songs]
    rows = [measure(piece) for piece in pieces]
    values = {name: np.array([row[name] for row in rows]) for name in MEASURES}
    found = _copies(songs, dataset, training, bar)
    for name, copies in found.items():
        values[name] = np.array([float(copy.notes) for copy in copies])
    first = len(held_out)
    longest = max(range(len(samples)), key=lambda n: found["copied_notes"][first + n].notes)
    return {
        "run": str(run.path),
        "step": run.best_step(),
        "dataset": str(dataset.path),
        "split": split,
        "songs": [*held_out],
        "samples": config.count,
        "sampling": dataclasses.asdict(config),
        "training_songs": len(training),
        "measures": {
            name: _side_by_side(both[first:], both[:first]) for name, both in values.items()
        },
        "longest_copy": {
            "seed": config.seed + longest,
            **dataclasses.asdict(found["copied_notes"][first + longest]),
        },
    }


def _copies(
    songs: list[Song], dataset: Any, training: np.ndarray, bar: Bar
) -> dict[str, list[Copy]]:
    """For each song its longest copy, of the whole band and of one part, whatever others play."""
    with bar(total=2 * len(training), unit="song", desc="looking for copies") as progress:

        def decoded() -> Iterator[tuple[int, np.ndarray]]:
            for number in training.tolist():
                yield number, dataset.codec.decode(dataset.song(number)).notes
                progress.update()

        whole = longest_copies([song.notes for song in songs], decoded())
        by_song = [parts_of(song.notes) for song in songs]
        in_training = ((number, part) for number, notes in decoded() for part in parts_of(notes))
        found = iter(longest_copies([part for parts in by_song for part in parts], in_training))
        longest = [
            max((next(found) for _ in parts), key=lambda copy: copy.notes) for parts in by_song
        ]
    return {"copied_notes": whole, "copied_in_part": longest}


def parts_of(notes: np.ndarray) -> list[np.ndarray]:
    """The notes of each instrument, all drums together; each in the order they had."""
    players = np.minimum(notes["instrument"], PROGRAMS)
    return [notes[players == player] for player in np.unique(players)]


def _side_by_side(samples: np.ndarray, held_out: np.ndarray) -> dict[str, Any]:
    compared = compare(samples, held_out)
    return {
        "samples": _plain(samples),
        "held_out": _plain(held_out),
        "compared": compared and dataclasses.asdict(compared),
        "stands_out": compared is not None and compared.stands_out,
    }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.tolist()]


def table(results: list[dict[str, Any]]) -> str:
    """All measures of all runs, side by side, below held-out songs' own."""
    first = results[0]
    lines = [
        f"{first['dataset']}, {first['split']}: the first {first['sampling']['bars']} bars of "
        f"{len(first['songs']):,} songs; as many bars of {first['samples']:,} samples a run",
        "middle (quarters); far: mean move from held-out songs in their standard deviations, as",
        "far as held-out songs lie from each other, and at most; *: samples lie farther than that",
        "",
    ]
    head = f"{'':<36}{'held out':>21}"
    for result in results:
        head += f"{Path(result['run']).name[-20:]:>22}{'far':>7}{'usual, most':>14} "
    lines.append(head.rstrip())
    for name, title in TITLES.items():
        line = f"{title:<36}{_quartiles(first['measures'][name]['held_out']):>21}"
        for result in results:
            found = result["measures"][name]
            line += f"{_quartiles(found['samples']):>22}{_distance(found)}"
        lines.append(line.rstrip())
    for result in results:
        copy = result["longest_copy"]
        lines.append(
            f"\n{result['run']}: the longest copy is of {copy['notes']:,} notes, by seed "
            f"{copy['seed']} from note {copy['at']:,}, of song {copy['song']} from note "
            f"{copy['song_at']:,}, of {result['training_songs']:,} training songs"
            if copy["notes"]
            else f"\n{result['run']}: not a note of the training songs is copied"
        )
    return "\n".join(lines)


def _quartiles(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, middle, high = (f"{value:.3g}" for value in np.percentile(known, [25, 50, 75]))
    return f"{middle} ({low}-{high})"


def _distance(found: dict[str, Any]) -> str:
    compared = found["compared"]
    if compared is None:
        return f"{'-':>7}{'':>15}"
    usual = compared["usual_distance"]
    mark = "*" if found["stands_out"] else " "
    usually = f"{usual['mean']:.2f}, {usual['high']:.2f}"
    return f"{compared['distance']['mean']:>7.2f}{usually:>14}{mark}"
