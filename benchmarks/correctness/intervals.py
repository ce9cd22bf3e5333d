"""How often a confidence interval of n songs holds the mean of all songs: ours, and a bootstrap's.

The songs of valid and test of a dataset are scored once. Then n of them are drawn with replacement,
a thousand times, and each draw's 95 % interval is compared with the mean of all the songs.
"""

from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset
from trainer.evaluation.breakdown import FAMILY_NAMES, KINDS, Targets
from trainer.evaluation.interval import MIN_SONGS, ratio_interval
from trainer.evaluation.token_loss import score_songs
from trainer.run.folder import load_model, open_run

DRAWS, RESAMPLES = 1000, 400
SIZES = (MIN_SONGS, 10, 15, 20, 30, 50)


@click.command(cls=Measurement)
@click.argument("run", type=click.Path(path_type=Path))
@dataset_argument
@click.option("--songs", default=90, show_default=True, help="Songs to score.")
def command(run: Path, dataset: Path, songs: int) -> None:
    """Share of intervals that hold the true mean loss, by number of songs."""
    data, opened = open_dataset(dataset), open_run(run)
    held = np.array(data.index["representative"]) & (np.array(data.index["split"]) != "train")
    numbers = np.random.default_rng(0).permutation(np.flatnonzero(held))[:songs]
    targets = Targets.from_songs(data, numbers)
    model, block_size = load_model(opened, torch.device("cpu")), opened.config.train.block_size
    losses = score_songs(model, data, numbers, lanes=len(numbers), block_size=block_size)
    click.echo(f"{len(numbers)} songs, {len(losses.total):,} targets; 95 % intervals, in percent\n")
    click.echo("| loss: interval / bootstrap | songs | " + " | ".join(map(str, SIZES)) + " |")
    click.echo("|---" * (2 + len(SIZES)) + "|")
    ones = np.ones(len(losses.total))
    rows = {
        "all": (ones > 0, ones),
        "bits per second": (ones > 0, (targets.seconds / np.diff(losses.starts))[losses.songs]),
    }
    rows |= {name: (targets.kinds == number, ones) for number, name in enumerate(KINDS)}
    rows |= {
        name: (targets.families == number, targets.notes)
        for number, name in enumerate(FAMILY_NAMES)
    }
    for name, (inside, weights) in rows.items():
        of_song = losses.songs[inside]
        sums = np.bincount(of_song, losses.total[inside], minlength=len(numbers))
        counts = np.bincount(of_song, weights[inside], minlength=len(numbers))
        sums, counts = sums[counts > 0], counts[counts > 0]
        if len(counts) >= len(numbers) // 3:
            cells = [
                " / ".join(f"{share:.1f}" for share in coverage(sums, counts, n)) for n in SIZES
            ]
            click.echo(f"| {name} | {len(counts)} | " + " | ".join(cells) + " |")


def coverage(sums: np.ndarray, counts: np.ndarray, n: int) -> tuple[float, float]:
    """Percent of draws of n songs whose interval, and whose bootstrap, holds the mean of all."""
    random, mean = np.random.default_rng(n), sums.sum() / counts.sum()
    held = np.zeros(2)
    for _ in range(DRAWS):
        drawn = random.integers(len(sums), size=n)
        low, high = ratio_interval(sums[drawn], counts[drawn]) or (0.0, 0.0)
        picks = random.multinomial(n, np.full(n, 1 / n), RESAMPLES)
        means = (picks @ sums[drawn]) / (picks @ counts[drawn])
        first, last = np.percentile(means, [2.5, 97.5])
        held += low <= mean <= high, first <= mean <= last
    ours, bootstrap = 100 * held / DRAWS
    return ours, bootstrap
