"""What settings do to the validation loss: variants, seeds and one budget, on a CPU or a GPU.

A gain is claimed with three seeds or more, where the mean difference from the first variant, seed
by seed, is more than twice its standard deviation. A short run says nothing of what many epochs do.

Bits per note compare token streams, whose losses per token say nothing of each other: make a
dataset of each from one corpus, with one percussion map, run each where its format is read, with
the same --seconds, and put the lines of RESULTS together.
"""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from benchmarks.ablations.training import make_trainer, scores, train
from benchmarks.arguments import Measurements, dataset_argument
from shards import open_dataset
from shards.errors import SettingError
from trainer.device import choose_device, device_name
from trainer.model.loss import POSITION_NAMES
from trainer.plot_style import save_png, style_axes

TIMED_STEPS = 10
MIN_SEEDS = 3

command = Measurements(help=__doc__)
results_argument = click.argument("results", type=click.Path(dir_okay=False, path_type=Path))


@command.command()
@dataset_argument
@results_argument
@click.option(
    "--variant",
    "variants",
    type=(str, str),
    multiple=True,
    required=True,
    help='A name and settings as in `trainer fit --set`: --variant m64 "memory=64 lr=0.001". '
    "The first is what the others are compared with.",
)
@click.option("--seeds", default=3, show_default=True, help="Runs of each variant.")
@click.option("--steps", type=int, help="Train for so many steps.")
@click.option("--seconds", type=float, help="Train for so much processor or GPU time instead.")
@click.option("--preset", default="tiny", show_default=True)
@click.option("--batches", type=int, help="Batches of validation.  [the whole split]")
@click.option("--device", default="cpu", show_default=True)
def run(
    dataset: Path,
    results: Path,
    variants: tuple[tuple[str, str], ...],
    seeds: int,
    steps: int | None,
    seconds: float | None,
    preset: str,
    batches: int | None,
    device: str,
) -> None:
    """Train every variant with every seed; append a line of each to RESULTS.

    What RESULTS has already is not trained again. With --seconds a few steps are timed first, and
    the learning rate falls until the last of as many steps as fit in.
    """
    if (steps is None) == (seconds is None):
        raise click.UsageError("name one budget: --steps or --seconds")
    data, where = open_dataset(dataset), choose_device(device)
    done = {(row["variant"], row["settings"], row["seed"]) for row in _rows(results)}
    for seed in range(seeds):
        for name, settings in variants:
            if (name, settings, seed) in done:
                continue
            wanted = [*settings.split(), f"seed={seed}"]

            def make(steps: int, wanted: list[str] = wanted) -> Any:
                return make_trainer(data, [*wanted, f"steps={steps}"], preset=preset, device=where)

            count = steps or 0
            if seconds is not None:
                timed = make(2 * TIMED_STEPS)
                train(timed, TIMED_STEPS)  # compiles, and fills caches
                count = max(round(TIMED_STEPS * seconds / train(timed, TIMED_STEPS)), 1)
            trainer = make(count)
            took = train(trainer)
            row = {
                "variant": name,
                "settings": settings,
                "seed": seed,
                "preset": preset,
                "device": device_name(where),
                "seconds": took,
                "ms_per_step": 1000 * took / count,
                **scores(trainer, batches),
            }
            with results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            click.echo(json.dumps(row))


@command.command()
@results_argument
def table(results: Path) -> None:
    """Print the variants of RESULTS: means over seeds, their spread, and what can be claimed."""
    runs = by_variant(_rows(results))
    first = next(iter(runs.values()))
    titles = ("variant", "seeds", "steps", "ms per step", "bits per note", "loss", "spread",
              "difference", "claim")  # fmt: skip
    click.echo(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, rows in runs.items():
        losses = [row["loss"] for row in rows.values()]
        cells = [
            name,
            str(len(rows)),
            f"{statistics.fmean(row['steps'] for row in rows.values()):,.0f}",
            f"{statistics.fmean(row['ms_per_step'] for row in rows.values()):,.1f}",
            f"{statistics.fmean(row['bits_per_note'] for row in rows.values()):.3f}",
            f"{statistics.fmean(losses):.3f}",
            f"{max(losses) - min(losses):.3f}",
            *difference(first, rows),
        ]
        click.echo(f"| {' | '.join(cells)} |")


Runs = dict[int, dict[str, Any]]
"""Seed -> its row."""


def difference(first: Runs, rows: Runs) -> tuple[str, str]:
    """The mean difference from the first variant over common seeds, and what can be claimed."""
    if rows is first:
        return "", ""
    found = [rows[seed]["loss"] - first[seed]["loss"] for seed in rows if seed in first]
    if not found:
        return "", "no common seed"
    mean = statistics.fmean(found)
    base = statistics.fmean(row["loss"] for row in first.values())
    text = f"{mean:+.3f} ({mean / base:+.1%})"
    if len(found) < MIN_SEEDS:
        return text, "too few seeds"
    if abs(mean) <= 2 * statistics.stdev(found):
        return text, "none"
    return text, "lower" if mean < 0 else "higher"


def by_variant(rows: Iterable[dict[str, Any]]) -> dict[str, Runs]:
    """The rows of each variant by seed, in the order of the file."""
    runs: dict[str, Runs] = {}
    for row in rows:
        runs.setdefault(row["variant"], {})[row["seed"]] = row
    return runs


@command.command()
@results_argument
@click.argument("image", type=click.Path(dir_okay=False, path_type=Path))
def draw(results: Path, image: Path) -> None:
    """Plot the losses of RESULTS, a point per seed, and their means by position in the song."""
    runs = by_variant(_rows(results))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    overall, by_position = figure.subplots(1, 2, width_ratios=[1, 1.6])
    for number, (name, rows) in enumerate(runs.items()):
        losses = [row["loss"] for row in rows.values()]
        (points,) = overall.plot([number] * len(losses), losses, "o")
        mean = statistics.fmean(losses)
        overall.plot([number - 0.3, number + 0.3], [mean, mean], color=points.get_color())
        columns = [[row["by_position"][name] for row in rows.values()] for name in POSITION_NAMES]
        means = [statistics.fmean(column) for column in columns if None not in column]
        by_position.plot(range(len(means)), means, "o-", ms=4, label=name)
        by_position.set_xticks(range(len(means)), POSITION_NAMES[: len(means)], rotation=40)
    overall.set_xticks(range(len(runs)), [*runs], rotation=30)
    style_axes(overall, "Validation loss, nats per token")
    style_axes(by_position, "By position in the song")
    by_position.legend(frameon=False)
    save_png(figure, image)


def _rows(results: Path) -> list[dict[str, Any]]:
    if not results.exists():
        return []
    try:
        return [json.loads(line) for line in results.read_text().splitlines()]
    except ValueError as error:
        raise SettingError(f"{results}: not the results of a comparison ({error})") from None
