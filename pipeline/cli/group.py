"""The group that all commands belong to, and what they share."""

from pathlib import Path

import click

from pipeline.numba_cache import is_temporary
from shards.console import Commands, print_note
from shards.text import visible_lines

PATH = click.Path(path_type=Path)
"""Checked by our own code, whose errors say what to do, and not by click."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From scraped MIDI files to memory-mapped training data.

    \b
    Example:
        pipeline demo data
        pipeline run data --workers 2
        pipeline report shards/lakh
    """


def warn_if_uncached() -> None:
    """Say how to keep compiled code, where every command has to compile anew."""
    if is_temporary():
        print_note(
            "compiling for about half a minute, because neither the installation nor the home "
            "folder can be written: set NUMBA_CACHE_DIR to a folder that can, to do it only once"
        )


def report_summary(dataset: Path) -> str:
    """The stored report of a dataset as text for a terminal."""
    from pipeline.report.read_report import read_report
    from pipeline.report.terminal.summary import report_text

    return visible_lines(report_text(read_report(dataset)))
