"""Commands whose standard streams are closed, as by `2>&-`, do their work all the same."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def status(closed: tuple[int, ...], *words: object) -> int:
    """Run a command with these standard streams closed; returns its exit status."""

    def close() -> None:
        for number in closed:
            with contextlib.suppress(OSError):
                os.close(number)

    words = (sys.executable, "-m", *map(str, words))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(words, cwd=ROOT, preexec_fn=close, timeout=120, **quiet).returncode


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)])
def test_a_run_with_closed_streams_makes_its_dataset(tmp_path, closed):
    assert status(closed, "pipeline", "demo", tmp_path / "midi", "--songs", 3) == 0
    assert (
        status(closed, "pipeline", "run", tmp_path / "midi", "--out", tmp_path, "--workers", 1) == 0
    )
    for command in ("verify", "audit", "report", "what-if") if 0 in closed else ("verify",):
        assert status(closed, "pipeline", command, tmp_path / "lakh") == 0
    assert status(closed, "pipeline", "report", tmp_path / "missing") == 1


def test_the_trainer_with_closed_streams_says_by_its_status_how_it_ended(tmp_path):
    assert status((2,), "trainer", "settings") == 0
    assert status((0, 1, 2), "trainer", "fit", tmp_path / "missing") == 1
