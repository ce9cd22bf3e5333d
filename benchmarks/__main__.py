"""The commands, `python -m benchmarks ROOM NAME`. A module is imported when it is called."""

from importlib import import_module
from typing import Any

import click

from shards.console import Commands

ROOMS = {
    "speed": {
        "read-files": "the MIDI reader versus symusic and mido",
        "run-pipeline": "whole pipeline runs versus MidiTok's tokenizer",
        "finalize-dataset": "the end of a run over 180,000 songs, and its report",
        "browse-rows": "the page of `pipeline browse` over a million songs",
        "load-batches": "from memory maps to batches",
        "first-batch": "from a million songs on disk to the first batch of training",
        "train-step": "a training step versus two other libraries, on the CPU",
        "gpu": "training and generation on a GPU, and its share of the peak",
        "knn-step": "what a kNN memory adds to a training step",
        "generate-songs": "generation, and whether it stays flat over a long song",
    },
    "correctness": {
        "round-trip": "laws of the codec and of silence removal, over real songs",
        "read-damaged": "notes recovered from damaged files, by reader",
        "hostile-files": "mutated files, and files made to be slow",
        "hostile-archives": "archives whose headers lie",
        "hostile-runs": "mutated run folders: a good run or one line",
        "hostile-datasets": "datasets changed at random",
        "beat": "what repairs do to beats, and which meters are told apart",
        "duplicates": "recall and false merges of duplicate detection",
        "survive": "kills, and lethal files among good ones",
    },
    "ablations": {
        "compare": "any settings at equal steps or time, over seeds, on a CPU or a GPU",
        "copy-task": "whether the kNN memory retrieves what left the memory",
        "steering": "whether a model does what it is asked, and uses what it is given",
        "versus-x-transformers": "the loss at equal tokens versus x-transformers",
    },
}
"""Every command of every room, with its line in the help."""

PEERS = ("memorizing_transformers_pytorch", "mido", "miditok", "pretty_midi", "symusic",
         "x_transformers")  # fmt: skip


class Room(Commands):
    """A group that imports `benchmarks.ROOM.NAME` when NAME is called; its `command` runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the room's commands."""
        return list(ROOMS[self.name or ""])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return import_module(f"benchmarks.{self.name}.{cmd_name.replace('-', '_')}").command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(ROOMS[self.name or ""].items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a missing peer ends it with one line."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in PEERS:
                raise
            raise click.ClickException(
                f"{error.name} is not installed: pip install -r benchmarks/requirements-bench.txt"
            ) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Measure lakhxl: speed, correctness, and what its settings do.

    CORPUS is a folder of MIDI files; without it, the folder that LAKHXL_CORPUS names. DATASET is
    what `pipeline run` wrote.

    \b
    Example:
        python -m benchmarks speed read-files ~/midi/songs
        python -m benchmarks correctness duplicates recall ~/midi/songs
    """


for name, commands in ROOMS.items():
    example = f"\b\nExample:\n    python -m benchmarks {name} {next(iter(commands))} --help"
    title = import_module(f"benchmarks.{name}").__doc__
    cli.add_command(Room(name, help=f"{title}\n\n{example}"))

if __name__ == "__main__":
    cli(prog_name="python -m benchmarks")
