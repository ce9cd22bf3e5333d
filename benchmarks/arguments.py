"""Commands that measure, their common arguments, and the example at the end of their help."""

from pathlib import Path

import click

EXAMPLES = {
    "corpus": "~/midi/songs",
    "dataset": "shards/lakh",
    "folder": "/tmp/large",
    "image": "losses.png",
    "knn": "on",
    "name": "ours",
    "results": "results.jsonl",
    "run": "runs/lakh-tiny",
    "settings": "memory=64 seed=1",
    "titles": "songs.csv",
}
"""A value for every argument."""

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

corpus_argument = click.argument("corpus", type=_FOLDER, envvar="LAKHXL_CORPUS")
dataset_argument = click.argument("dataset", type=_FOLDER)


class Measurement(click.Command):
    """A command whose help ends with an example."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command with a value for each of its arguments."""
        arguments = (one.name for one in self.params if isinstance(one, click.Argument))
        values = (EXAMPLES[name] for name in arguments if name)
        with formatter.section("Example"):
            formatter.write(f"    {' '.join([ctx.command_path, *values])}\n")


class Measurements(click.Group):
    """Several measurements of one subject."""

    command_class = Measurement
