"""The group that all commands belong to, and what they share."""

from pathlib import Path

import click

from shards.console import Commands


class Folder(click.Path):
    """A path that is checked by our own code, whose errors say what to do, and not by click."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """From scraped MIDI files to memory-mapped training data.

    \b
    Example:
        pipeline demo data
        pipeline run data --workers 2
        pipeline report shards/lakh
    """


def report_summary(dataset: Path) -> str:
    """The stored report of a dataset as text for a terminal."""
    from pipeline.report.schema import read_report
    from pipeline.report.terminal.summary import report_text

    return report_text(read_report(dataset))
