"""What one setting does to the validation loss of a small model, and the memory's plot."""

import json
from pathlib import Path

import click
from matplotlib.figure import Figure

from benchmarks.ablations.training import make_trainer, scores, train
from benchmarks.arguments import Measurements, dataset_argument
from shards import open_dataset
from trainer.model.loss import POSITION_NAMES
from trainer.plot_style import save_png, style_axes

SETTINGS = (
    "layers=4 d_model=128 heads=2 memory=32 qk_norm=false instrument_head=plain batch_size=64 "
    "block_size=32 optimizer=muon lr=0.002 warmup_steps=20 steps=100"
)
BATCHES = 40
COLOURS = {0: "#b23a48", 32: "#1a6f7a", 64: "#e0a526"}
"""By tokens in the memory."""

results_argument = click.argument("results", type=click.Path(dir_okay=False, path_type=Path))


command = Measurements(help=__doc__)


@command.command()
@dataset_argument
@results_argument
@click.argument("name")
@click.argument("settings", nargs=-1)
@click.option("--seconds", type=float, help="Train for this processor time, not for 100 steps.")
def run(
    dataset: Path, results: Path, name: str, settings: tuple[str, ...], seconds: float | None
) -> None:
    """Train a model on DATASET and append the line NAME to RESULTS.

    4 layers of width 128, 64 lanes x 32 tokens, M = 32, Muon at 2e-3, 100 steps, then the first 40
    batches of validation. SETTINGS change that, written as in `trainer fit --set`. With --seconds,
    ten steps are timed first, to compare settings at equal processor time.
    """
    data, wanted = open_dataset(dataset), [*SETTINGS.split(), *settings]
    if seconds:
        ten = train(make_trainer(data, [*wanted, "steps=10"]))
        wanted.append(f"steps={round(10 * seconds / ten)}")
    trainer = make_trainer(data, wanted)
    cpu = train(trainer)
    line = json.dumps({"name": name, "settings": settings, "cpu": cpu, **scores(trainer, BATCHES)})
    with results.open("a") as file:
        file.write(line + "\n")
    print(line)


@command.command()
@results_argument
@click.argument("image", type=click.Path(dir_okay=False, path_type=Path))
def draw(results: Path, image: Path) -> None:
    """Plot the losses of the lines m0-sN, m32-sN and m64-sN of RESULTS: memory M, seed N."""
    rows = {line["name"]: line for line in map(json.loads, results.read_text().splitlines())}
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    overall, by_position = figure.subplots(1, 2, width_ratios=[1, 1.6])
    for memory, colour in COLOURS.items():
        runs = [row for name, row in rows.items() if name.startswith(f"m{memory}-s")]
        losses = [row["loss"] for row in runs]
        overall.plot([memory] * len(runs), losses, "o", color=colour)
        overall.plot([memory - 5, memory + 5], [sum(losses) / len(runs)] * 2, color=colour)
        positions = [[row["by_position"][name] for row in runs] for name in POSITION_NAMES]
        means = [sum(losses) / len(runs) for losses in positions if None not in losses]
        by_position.plot(range(len(means)), means, "o-", color=colour, ms=4, label=f"M = {memory}")
        names = POSITION_NAMES[: len(means)]
        by_position.set_xticks(range(len(means)), names, rotation=40)
    overall.set_xticks([*COLOURS])
    overall.set_xlabel("M, tokens in the memory (T = 32)")
    style_axes(overall, "Validation loss, nats per token")
    style_axes(by_position, "By position in the song")
    by_position.legend(frameon=False)
    save_png(figure, image)
