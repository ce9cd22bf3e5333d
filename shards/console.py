"""What both command lines share: errors of one line, progress that tells the truth.

Exit status: 0 done, 1 it went wrong, 2 wrong usage, 130 stopped by Ctrl-C, as shells have it.
"""

import sys
from typing import Any

import click
from tqdm import tqdm

from shards.errors import LakhxlError

STOPPED = 130


def visible(text: object) -> str:
    """Text from outside that a terminal or a browser shows and never obeys.

    Control and formatting characters, among them escapes that move the cursor and those that
    turn the direction of writing, are shown by their code.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in str(text)
    )


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar on stderr; where that is no terminal but a log, a line every half minute."""
    is_terminal = sys.stderr.isatty()
    often = {} if is_terminal else {"mininterval": 30.0, "maxinterval": 30.0, "ascii": True}
    return tqdm(dynamic_ncols=is_terminal, **often, **options)


class Commands(click.Group):
    """A group whose commands print the user's errors as one line; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; LakhxlError and a refusal by the system end it with status 1."""
        try:
            return super().invoke(ctx)
        except LakhxlError as error:
            raise click.ClickException(visible(" ".join(str(error).split()))) from error
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone, as `| head` does
            ctx.exit(1)
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            raise click.ClickException(visible(f"{place}{error.strerror or error}")) from error
