"""What both command lines share: our errors become one line and exit status 1."""

import sys
from typing import Any

import click

from shards.errors import LakhxlError


class Commands(click.Group):
    """A group whose commands print the user's errors as one line; bugs keep their traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; LakhxlError and a refusal by the system end it with status 1."""
        try:
            return super().invoke(ctx)
        except LakhxlError as error:
            raise click.ClickException(" ".join(str(error).split())) from error
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone, as `| head` does
            ctx.exit(1)
        except OSError as error:
            place = f"{error.filename}: " if error.filename is not None else ""
            raise click.ClickException(f"{place}{error.strerror or error}") from error
