"""Files that a command writes where its user says.

What cannot be written is refused before the work begins, and nothing is replaced unless --overwrite
is given. After the work every file is tried: one that fails keeps no other from being written.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from shards.errors import LakhxlError
from shards.writer import temporary_name

overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace output files that exist already."
)


def check_outputs(
    paths: Iterable[Path], suffixes: Sequence[str] = (), *, overwrite: bool = False
) -> None:
    """Refuse files that could not be written, or may not be replaced, before any work is done.

    Args:
        paths: the files; a link stands for its target.
        suffixes: how their names may end, in lower case; empty: in any way.
        overwrite: whether a file may be replaced.

    Raises:
        LakhxlError: a path is a folder or a device, has another suffix or exists already, or its
            folder is missing or cannot be written.
    """
    for path in paths:
        if path.is_dir():
            raise LakhxlError(f"{path} is a folder: name a file")
        if suffixes and path.suffix.lower() not in suffixes:
            raise LakhxlError(f"{path}: expected a name that ends in {', '.join(suffixes)}")
        if path.exists() and not path.is_file():
            raise LakhxlError(f"{path} is not a plain file: name another")
        if path.exists() and not overwrite:
            raise LakhxlError(
                f"{path} exists already: add --overwrite to replace it, or name another file"
            )
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise LakhxlError(f"{target.parent}: no such folder to write {path.name} to")
        _try_to_create(target, path)


def _try_to_create(target: Path, path: Path) -> None:
    """Make and remove an empty file beside `target`: no check of permissions is as sure."""
    probe = temporary_name(target)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LakhxlError(f"{path} cannot be written ({error.strerror})") from error


class Outputs:
    """Writes files one after another; leaving its `with` block raises the failures of all.

    Raises:
        LakhxlError: files could not be written; names each with its reason.
    """

    def __init__(self) -> None:
        self._failures: list[str] = []

    def write(self, path: Path, write: Callable[[Path], object]) -> bool:
        """Write one file with a function of its path; returns whether that succeeded."""
        try:
            write(path)
        except OSError as error:
            self._failures.append(f"{path} was not written: {error.strerror or error}")
        except LakhxlError as error:
            self._failures.append(f"{path} was not written: {error}")
        else:
            return True
        return False

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, kind: type | None, error: object, trace: object) -> None:
        if kind is None and self._failures:
            raise LakhxlError("; ".join(self._failures))
