"""`trainer plot`: the learning curves of runs."""

from pathlib import Path

import click

from shards.console import print_note
from shards.outputs import check_outputs, overwrite_option
from shards.text import visible
from trainer.cli.options import PATH


@click.command(name="plot")
@click.argument("paths", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="Picture to write, .png.")
@overwrite_option
def plot_command(paths: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Plot the learning curves of a RUN, or compare those of several in one picture.

    Training and validation loss of both heads, and the unigram baseline.

    \b
    Example:
        trainer plot runs/lakh-tiny -o curve.png
        trainer plot runs/rope runs/txl -o curves.png
    """
    from trainer.run.folder import open_run
    from trainer.training import plot
    from trainer.training.metrics_log import read_metrics

    check_outputs([out], (".png",), overwrite=overwrite)
    runs = [open_run(path) for path in paths]
    plot.save(runs, out)
    for run in runs:
        if dropped := read_metrics(run.metrics).dropped:
            print_note(f"{run.metrics}: {dropped} lines are no rows and were left out")
    click.echo(visible(out))
