"""Processes of the tests: wait for them without hanging, and find all that a run has started."""

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = 60, run: Popen | None = None
) -> None:
    """Wait until the condition is true; fail if that takes too long, or if `run` ends first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if run is not None and run.poll() is not None and not condition():
            pytest.fail(f"the run ended with status {run.returncode} before {what}")
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} s, still waiting until {what}")
        time.sleep(0.02)


def living_processes() -> dict[int, int]:
    """Id of every process that is no zombie -> id of its parent."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    return parents


def descendants(process: int) -> set[int]:
    """The children of a process, their children, and so on."""
    parents, found = living_processes(), {process}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {process}
