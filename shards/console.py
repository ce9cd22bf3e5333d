"""What both command lines share: one-line errors, progress bars, -q, --json and --version.

Exit status: 0 success, 1 failure, 2 wrong usage, 130 stopped by Ctrl-C, as in shells, by SIGTERM or
by SIGHUP: all of them let a command clean up.
"""

import contextlib
import importlib.metadata
import io
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click
from tqdm import tqdm

from shards.errors import LakhxlError
from shards.memory import NOT_ENOUGH, lacks_memory, not_enough_memory
from shards.text import visible

STOPPED = 130
LONGEST = 10_000
"""Letters of an error; a longer one, which quotes others at length, loses its middle."""
QUIET = "shards.console.quiet"
"""Key of the click context's `meta`: whether -q was given."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def page_options(*, port: int) -> Callable[[Any], Any]:
    """Give a command that serves a page --port and --open."""
    help = "The port to serve on; 0 picks a free one."
    kind = click.IntRange(0, 65535)
    of_port = click.option("--port", type=kind, default=port, show_default=True, help=help)
    help = "Open the page in a browser."
    of_open = click.option("--open/--no-open", "open_page", default=True, help=help)
    return lambda command: of_port(of_open(command))


def is_quiet() -> bool:
    """Whether the command that runs was given -q."""
    context = click.get_current_context(silent=True)
    return context is not None and context.meta.get(QUIET, False)


class _Bar(tqdm):
    """A bar that may be interrupted while it is made: tqdm's own then prints a traceback."""

    def close(self) -> None:
        if hasattr(self, "pos"):
            super().close()


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar on stderr; if that is not a terminal, a line every half minute; none with -q."""
    is_terminal = sys.stderr.isatty()
    often = {} if is_terminal else {"mininterval": 30.0, "maxinterval": 30.0, "ascii": True}
    if is_quiet():
        options["disable"] = True
    return _Bar(dynamic_ncols=is_terminal, **often, **options)


def print_note(text: str) -> None:
    """Print what is worth knowing but no result, on stderr above the bars; nothing with -q."""
    if not is_quiet():
        tqdm.write(text, file=sys.stderr)


def print_json(data: Any) -> None:
    """Print one JSON document in ASCII, whatever the terminal; NaN and infinity become null."""
    click.echo(json.dumps(_finite(data), indent=1, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


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


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, unless they are ignored."""
    numbers: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        numbers = [
            number
            for number in (signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) == signal.SIG_DFL
        ]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


class Commands(click.Group):
    """A group whose commands print a user's error as one line; a bug keeps its traceback.

    The group has --version, and each command -q.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        help = "Print the version and exit."
        self.params.append(_eager_flag("--version", callback=_print_version, help=help))

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and -q to it."""
        help = "Print no progress and no notes, only results and errors."
        cmd.params.append(_eager_flag("-q", "--quiet", callback=_set_quiet, help=help))
        super().add_command(cmd, name)

    def main(self, *args: Any, **options: Any) -> Any:
        """Replace what the terminal's encoding lacks, in help and errors too; then run."""
        open_closed_streams()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        with _signals_interrupt():
            try:
                return super().main(*args, **options)
            except OSError as error:  # help is printed before a command is invoked
                sys.exit(f"Error: {visible(error.strerror or error)}")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a LakhxlError, an OSError or a lack of memory ends it with status 1."""
        try:
            return self._invoke(ctx)
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):  # the terminal may be gone
                click.echo("stopped", err=True)
            ctx.exit(STOPPED)
        except LakhxlError as error:
            lines = (line.strip() for line in str(error).splitlines())
            text = visible(" ".join(lines), LONGEST)  # two spaces of a name stay two
            raise click.ClickException(text) from error
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone, such as `| head`
            ctx.exit(1)
        except OSError as error:
            text = visible(f"{_place(error)}{error.strerror or error}")
            raise click.ClickException(text) from error

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if not lacks_memory(error) or NOT_ENOUGH in str(error):
                raise
            raise click.ClickException(visible(not_enough_memory(error))) from error


def _place(error: OSError) -> str:
    """Where an error of the system happened, and a colon; empty if it does not say."""
    if error.filename is not None:
        return f"{error.filename}: "
    try:
        os.getcwd()  # noqa: PTH109 - only whether there is one
    except FileNotFoundError:
        return "the current folder was removed, change to another: "
    return ""


def _eager_flag(*names: str, **options: Any) -> click.Option:
    return click.Option(names, is_flag=True, is_eager=True, expose_value=False, **options)


def _set_quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[QUIET] = value


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        try:
            version = importlib.metadata.version("lakhxl")
        except importlib.metadata.PackageNotFoundError:
            version = "of a folder that is not installed"
        click.echo(f"lakhxl {version}")
        ctx.exit()
