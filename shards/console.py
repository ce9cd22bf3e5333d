"""What both command lines share: one-line errors and progress bars.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted by Ctrl-C, as in shells.
"""

import io
import os
import sys
from typing import Any

import click
from tqdm import tqdm

from shards.errors import LakhxlError
from shards.memory import NOT_ENOUGH, lacks_memory, not_enough_memory
from shards.text import visible

STOPPED = 130
LONGEST = 10_000
"""Letters of an error; a longer one, which quotes others at length, loses its middle."""


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar on stderr; if that is not a terminal, a line every half minute."""
    is_terminal = sys.stderr.isatty()
    often = {} if is_terminal else {"mininterval": 30.0, "maxinterval": 30.0, "ascii": True}
    return tqdm(dynamic_ncols=is_terminal, **often, **options)


def open_closed_streams() -> None:
    """Open the standard streams that were closed, as by `2>&-`, on the null device.

    Without, the next files opened would take their numbers, and whatever a library or a child
    process prints would end up in those.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(null, number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if null > 2:
        os.close(null)


class Commands(click.Group):
    """A group whose commands print a user's error as one line; a bug keeps its traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Replace what the terminal's encoding lacks, in help and errors too; then run."""
        open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a LakhxlError, an OSError or a lack of memory ends it with status 1."""
        try:
            return self._invoke(ctx)
        except LakhxlError as error:
            text = visible(" ".join(str(error).split()), LONGEST)
            raise click.ClickException(text) from error
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone, such as `| head`
            ctx.exit(1)
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            raise click.ClickException(visible(f"{place}{error.strerror or error}")) from error

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not lacks_memory(error) or NOT_ENOUGH in str(error):
                raise
            raise click.ClickException(visible(not_enough_memory(error))) from error
