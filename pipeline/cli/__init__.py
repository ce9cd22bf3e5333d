"""The `pipeline` command."""

from pipeline.cli.commands import cli

__all__ = ["cli"]
