"""`trainer plot` and `trainer compare`: the learning curves of one run, and of several."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shards.console import json_option, print_json, print_note
from shards.outputs import check_outputs, overwrite_option
from shards.text import counted, visible
from trainer.cli.options import PATH

if TYPE_CHECKING:
    from trainer.run.folder import Run


@click.command(name="plot")
@click.argument("paths", metavar="RUN", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, required=True, help="Picture to write, .png.")
@overwrite_option
def plot_command(paths: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Plot the learning curves of a RUN.

    Training and validation loss, as a whole and by head, and the unigram baseline. To draw several
    runs in one picture: `trainer compare`.

    \b
    Example:
        trainer plot runs/lakh-tiny -o curve.png
    """
    from trainer.run.folder import open_run
    from trainer.training import plot

    path, *others = paths
    if others:
        raise click.UsageError(
            f"plot draws one RUN, got {len(paths)}; `trainer compare RUN... -o FILE` draws several"
        )
    check_outputs([out], (".png",), overwrite=overwrite)
    run = open_run(path)
    plot.save([run], out)
    _note_dropped_lines([run])
    click.echo(visible(out))


@click.command(name="compare")
@click.argument("paths", metavar="RUN...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--out", type=PATH, help="Also draw their learning curves, to this .png.")
@overwrite_option
@json_option
def compare_command(
    paths: tuple[Path, ...], out: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Compare RUNs: the settings that differ, tokens, time and validation loss of each.

    -o draws their curves in one picture, each named by the settings that differ. Losses are those
    that training logged; `trainer evaluate` breaks them down, with confidence intervals.

    --json: a list, for each RUN run, settings (those that differ), dataset_fingerprint, step,
    tokens, seconds (in training steps), valid_loss (nats per token, of the last validation) and
    whole_split (or of its first batches).

    \b
    Example:
        trainer compare runs/rope runs/txl -o curves.png
    """
    from trainer.run.folder import open_run
    from trainer.training import compare, plot

    if out:
        check_outputs([out], (".png",), overwrite=overwrite)
    runs = [open_run(path) for path in paths]
    results = compare.compare(runs)
    if as_json:
        print_json(results)
    else:
        click.echo(compare.table(results))
    if text := compare.caveat(results):
        print_note(text)
    _note_dropped_lines(runs)
    if out:
        plot.save(runs, out)
        if not as_json:
            click.echo(f"\ncurves in {visible(out)}")


def _note_dropped_lines(runs: "list[Run]") -> None:
    from trainer.training.metrics_log import read_metrics

    for run in runs:
        if dropped := read_metrics(run.metrics).dropped:
            print_note(f"{run.metrics}: {counted(dropped, 'line')} left out: no rows")
