"""One run at a time works on a dataset, whatever the others are at and however they end."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.running.prepare import prepare
from pipeline.running.run_lock import RunError, RunLock
from pipeline.sources.listing import SourceError
from tests.pipeline.conftest import SETTINGS

ROOT = Path(__file__).parents[3]


def test_a_second_run_is_refused_before_it_looks_for_its_files(tmp_path):
    (tmp_path / "empty").mkdir()
    first = RunLock(tmp_path / "lakh")
    with pytest.raises(RunError, match=f"another run is working there .process {os.getpid()} on "):
        prepare([tmp_path / "empty"], tmp_path / "lakh", SETTINGS, restart=False)
    first.release()
    with pytest.raises(SourceError):
        prepare([tmp_path / "empty"], tmp_path / "lakh", SETTINGS, restart=False)


@pytest.mark.parametrize("restart", [False, True])
def test_a_prepared_run_keeps_others_out_even_if_it_starts_over(demo, tmp_path, restart):
    prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False).lock.release()
    first = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=restart)
    for again in (False, True):
        with pytest.raises(RunError, match="another run is working there"):
            prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=again)
    first.lock.release()
    assert prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False).files == first.files


def test_a_refused_or_released_run_leaves_nothing_behind(tmp_path):
    with pytest.raises(SourceError):
        prepare([tmp_path / "missing"], tmp_path / "out" / "lakh", SETTINGS, restart=False)
    RunLock(tmp_path / "other" / "lakh").release()
    assert list(tmp_path.iterdir()) == []


HOLDER = (
    "from pipeline.running.run_lock import *; lock = RunLock(Path({!r})); print('held'); input()"
)


def test_the_lock_of_a_killed_run_blocks_nobody(tmp_path):
    words = [sys.executable, "-u", "-c", HOLDER.format(str(tmp_path / "lakh"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, text=True, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid} on "):
            RunLock(tmp_path / "lakh")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / ".lakh.lock").exists()  # nobody was there to remove it
    RunLock(tmp_path / "lakh").release()


COUNTER = """
from pipeline.running.run_lock import *
folder = Path({!r})
done = 0
while done < 100:
    try:
        lock = RunLock(folder / "lakh")
    except RunError:
        continue
    count = int((folder / "count").read_text())
    (folder / "count").write_text(str(count + 1))
    lock.release()
    done += 1
"""


def test_no_two_of_three_processes_ever_hold_the_lock_at_once(tmp_path):
    (tmp_path / "count").write_text("0")
    words = [sys.executable, "-c", COUNTER.format(str(tmp_path))]
    for process in [subprocess.Popen(words, cwd=ROOT) for _ in range(3)]:
        assert process.wait(60) == 0
    assert (tmp_path / "count").read_text() == "300"


def test_a_file_system_without_locks_is_a_note_and_no_error(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "has no locks (No locks available)" in RunLock(tmp_path / "lakh").note
