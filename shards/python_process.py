"""Start Python processes that never import anything from the current folder.

Python puts the current folder first on the path of `python -m` and of `python -c`, which is how
worker processes start. There, a folder `shards/` (where datasets lie by default) or a user's own
`pipeline.py` would be found before the installed packages.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = str(Path(__file__).parent.parent.absolute())
"""The folder that holds the packages shards, pipeline and trainer."""


def child_environment() -> dict[str, str]:
    """Variables for the environment of a Python process that is to import these packages only."""
    given = os.environ.get("PYTHONPATH")
    is_found = ROOT in sys.path and "site-packages" in ROOT
    paths = [*([] if is_found else [ROOT]), *([given] if given else [])]
    return {"PYTHONSAFEPATH": "1"} | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


@contextlib.contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes started inside the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
