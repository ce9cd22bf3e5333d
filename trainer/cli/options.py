"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from shards.layout import SPLITS

PATH = click.Path(path_type=Path)

device_option = click.option("--device", help="cuda, mps or cpu.  [the first available]")
sampling_device_option = click.option(
    "--device", help="cuda, mps or cpu.  [cpu: a GPU is no faster at one token at a time]"
)


def held_out_options(min_songs: int) -> Callable[[Any], Any]:
    """Arguments of evaluate and judge: RUN..., --split, --where, --songs (at least `min_songs`)."""
    options = (
        click.argument("paths", metavar="RUN... [DATASET]", nargs=-1, required=True, type=PATH),
        click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True),
        click.option(
            "--where",
            metavar="SQL",
            help="Only songs that match this condition over the index; true: all.  "
            "[the condition of the runs]",
        ),
        click.option(
            "--songs",
            type=click.IntRange(min=min_songs),
            help="Only this many songs, drawn at random.  [all]",
        ),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add
