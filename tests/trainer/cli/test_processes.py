"""`trainer fit` as a process: a terminal that goes away, and several processes that fail."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from trainer.cli import cli
from trainer.run.folder import open_run
from trainer.run.lock import LOCK, RunLock
from trainer.training.metrics_log import read_metrics

SETTINGS = ("layers=1", "d_model=16", "heads=2", "memory=8", "block_size=8", "batch_size=2",
            "sample_bars=0", "warmup_steps=0", "log_every=1")  # fmt: skip
QUICK = [f"--set={text}" for text in SETTINGS]
ROOT = Path(__file__).parents[3]


def command(*arguments):
    quick = QUICK if "--resume" not in arguments else []
    words = [sys.executable, "-m", "trainer", "fit", *arguments, "--device=cpu", *quick]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {"args": list(map(str, words)), "env": environment}


def own_terminal():
    """Make the terminal the process's own, whose closing it hears, under nohup too."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def run(dataset_folder, tmp_path):
    """A training of very many steps, started in a terminal; with the terminal's other end."""
    master, terminal = pty.openpty()
    words = command(dataset_folder, "--run", tmp_path / "run", "--steps=1000000")
    process = subprocess.Popen(
        **words,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(terminal)
    try:
        yield tmp_path / "run", process, master
    finally:
        process.kill()
        process.wait()


def test_a_training_whose_terminal_is_closed_saves_and_leaves_no_lock(run):
    folder, process, master = run
    metrics, end = folder / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and '"train"' in metrics.read_text()):
        assert process.poll() is None
        assert time.monotonic() < end
        if select.select([master], [], [], 0.1)[0]:
            os.read(master, 4096)
    os.close(master)
    assert process.wait(60) == 130
    last = open_run(folder).last_checkpoint()
    assert last is not None
    assert f"step-{read_metrics(metrics).rows[-1]['step']:08d}" == last.stem
    assert not (folder / LOCK).exists()


def test_several_processes_that_are_refused_say_so_in_one_line(dataset_folder, tmp_path):
    words = ["fit", dataset_folder, "--run", tmp_path / "run", "--steps=2", "--device=cpu", *QUICK]
    assert CliRunner().invoke(cli, list(map(str, words))).exit_code == 0
    words = command("--run", tmp_path / "run", "--resume", "--steps=4", "--devices=2")
    with RunLock(tmp_path / "run"):
        done = subprocess.run(**words, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "is being trained by process" in done.stderr
