"""The `pipeline` command.

group.py     the group of commands, and what they share
create.py    demo, fetch, run, encode, settings
inspect.py   verify, audit, report, what-if, compare, show, render, browse
"""

from pipeline.cli import create, inspect
from pipeline.cli.group import cli

__all__ = ["cli", "create", "inspect"]
