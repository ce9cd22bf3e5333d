"""`trainer evaluate`: the loss of trained models on held-out songs."""

from pathlib import Path

import click

from shards.console import json_option, progress_bar
from shards.errors import SettingError
from shards.outputs import overwrite_option
from trainer.cli.options import PATH, device_option, held_out_options, result_files, write_results


@click.command(name="evaluate")
@held_out_options(min_songs=1)
@click.option(
    "--memory",
    "memories",
    type=click.IntRange(min=0, max=65_536),
    multiple=True,
    default=(0,),
    help="Also score with a memory of this many tokens; may be given several times.  [0]",
)
@click.option(
    "--dynamic",
    "dynamic_lr",
    type=float,
    metavar="LR",
    help="Also score with weights that go on learning from each block after it is scored, by "
    "gradient descent at this rate: try 0.01. Each song begins with the trained weights.",
)
@click.option("-o", "--out", type=PATH, help="Plot to write, .png.  [RUN/evaluation/SPLIT.png]")
@overwrite_option
@json_option
@device_option
def evaluate_command(
    paths: tuple[Path, ...],
    split: str,
    where: str | None,
    songs: int | None,
    memories: tuple[int, ...],
    dynamic_lr: float | None,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
    device: str | None,
) -> None:
    """Measure the loss of each RUN on held-out songs.

    The loss is broken down, and has 95 % confidence intervals. Every target counts once. Without a
    DATASET the run's own is taken; runs that were trained with --where are scored on songs that
    match the same condition. The numbers go to RUN/evaluation/SPLIT.json.

    --json: a list, for each RUN what is in that file.

    \b
    Example:
        trainer evaluate runs/lakh-tiny
        trainer evaluate runs/rope runs/txl shards/ --split valid --memory 0 --memory 64
    """
    from trainer.device import choose_device, keep_freed_memory
    from trainer.evaluation import evaluate, held_out, plot
    from trainer.evaluation.breakdown import Targets

    if dynamic_lr is not None and not 0 <= dynamic_lr <= 1:  # click's range takes nan
        raise SettingError(f"--dynamic is {dynamic_lr}; expected a learning rate from 0 to 1")
    chosen_device = choose_device(device)
    keep_freed_memory(chosen_device)
    runs, dataset = held_out.open_runs(paths)
    files, plot_file = result_files(runs, "evaluation", split, out, overwrite=overwrite)
    where = held_out.common_where(runs, where)
    numbers = held_out.choose_songs(dataset, split, songs, where)
    targets = Targets.from_songs(dataset, numbers)
    results = (
        evaluate.evaluate(
            run,
            dataset,
            numbers,
            targets,
            split=split,
            where=where,
            memories=[*memories],
            dynamic_lr=dynamic_lr,
            device=chosen_device,
            bar=progress_bar,
        )
        for run in runs
    )
    write_results(results, files, plot_file, table=evaluate.table, draw=plot.save, as_json=as_json)
