"""`trainer fit`: train a model, or resume a training. What it does is in training_run.py."""

from pathlib import Path

import click

from trainer import presets
from trainer.cli.options import PATH, device_option
from trainer.config import override


@click.command(name="fit")
@click.argument("dataset_path", metavar="[DATASET]", type=PATH, required=False)
@click.option(
    "--preset", type=click.Choice([*presets.PRESETS]), help="Settings to start from.  [tiny]"
)
@click.option("--steps", type=click.IntRange(min=1), help="Training steps, as --set steps=N.")
@click.option("--run", "run_path", type=PATH, help="Run folder to make.  [runs/DATASET-PRESET]")
@click.option("--resume", is_flag=True, help="Resume from the run's last checkpoint.")
@click.option(
    "--config",
    "file",
    type=PATH,
    metavar="FILE.toml",
    help="Settings to change, as `trainer settings --toml` prints them; --set overrides them.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one setting; `trainer settings` lists them.",
)
@click.option("--where", metavar="SQL", help="Only songs that match this condition over the index.")
@device_option
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="GPUs of this machine to divide the lanes among; with --device cpu, processes on its CPU.",
)
def fit_command(
    dataset_path: Path | None,
    preset: str | None,
    steps: int | None,
    run_path: Path | None,
    resume: bool,
    file: Path | None,
    assignments: tuple[str, ...],
    where: str | None,
    device: str | None,
    devices: int,
) -> None:
    """Train on DATASET, a dataset or a folder that holds exactly one.

    `trainer settings` lists every setting, with its default and the reason for it. Ctrl-C saves
    and exits with status 130; --resume then continues as if nothing had happened, and finds the
    run's dataset by itself where --run is given.

    \b
    Example:
        trainer fit shards/ --preset tiny --run runs/first --set lr=0.002
        trainer fit --run runs/first --resume
        trainer fit shards/ --config mine.toml --set seed=1
        trainer fit shards/ --where "instruments >= 3 and meter = '4/4'"
    """
    if where is not None:
        assignments = (*assignments, f"where={where}")
    if resume and (preset or file or assignments):
        raise click.UsageError("--resume keeps the run's own settings: only --steps may change")
    if dataset_path is None and not (resume and run_path):
        raise click.UsageError("name the DATASET to train on; or a --run to --resume")
    preset = preset or "tiny"
    if steps is not None:
        assignments = (*assignments, f"steps={steps}")
    config = None if resume else override(presets.preset(preset), [*assignments], file)
    from trainer.cli.training_run import train

    train(
        dataset_path,
        run_path,
        config,
        preset=preset,
        steps=steps,
        device=device,
        devices=devices,
    )
