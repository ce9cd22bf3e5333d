"""The `trainer` command."""

from trainer.cli.commands import cli

__all__ = ["cli"]
