"""Options that several commands of the trainer have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from shards.layout import SPLITS

FOLDER = click.Path(path_type=Path)


def held_out_options(least: int) -> Callable[[Any], Any]:
    """Which runs, and which songs to hold them against; at least so many, where they are drawn."""
    options = (
        click.argument("paths", metavar="RUN... [DATASET]", nargs=-1, required=True, type=FOLDER),
        click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True),
        click.option(
            "--where",
            metavar="SQL",
            help="Only songs of the index for which this is true; true for all.  "
            "[that of the runs]",
        ),
        click.option(
            "--songs", type=click.IntRange(min=least), help="Only so many, drawn at random.  [all]"
        ),
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add
