"""The `trainer` command; one file per subcommand. They import torch when they run, not before.

fit.py        train a model; training_run.py does it
generate.py   write songs with it
play.py       the same on a page
evaluate.py   its loss on held-out songs
judge.py      its samples compared with held-out songs
plot.py       its learning curve, and those of several
export.py     the model as others need it
settings.py   every setting, with default, bounds and reason
options.py    options that several commands share
"""

import click

from shards.console import Commands
from trainer.cli.evaluate import evaluate_command
from trainer.cli.export import export_command
from trainer.cli.fit import fit_command
from trainer.cli.generate import generate_command
from trainer.cli.judge import judge_command
from trainer.cli.play import play_command
from trainer.cli.plot import compare_command, plot_command
from trainer.cli.settings import settings_command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Train a Transformer-XL on a dataset that `pipeline run` made, and let it write music.

    \b
    Example:
        trainer fit shards/ --preset tiny
        trainer generate runs/lakh-tiny -o song.mid
    """


for command in (
    fit_command,
    generate_command,
    play_command,
    evaluate_command,
    judge_command,
    plot_command,
    compare_command,
    export_command,
    settings_command,
):
    cli.add_command(command)
