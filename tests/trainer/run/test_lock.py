"""One training at a time writes a run folder, and the lock of a dead one is free."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from shards.errors import LakhxlError
from trainer.run.lock import LOCK, RunLock

HOLD = (
    "import sys, time, pathlib; from trainer.run.lock import RunLock\n"
    "lock = RunLock(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(100)"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def write_holder(folder, **content):
    (folder / LOCK).write_text(json.dumps(content))


def test_a_second_training_is_refused_and_told_who_holds_the_lock(tmp_path, holder):
    name = f"process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(LakhxlError, match=f"is being trained by {name}: wait until it ends"):
        RunLock(tmp_path)


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with RunLock(tmp_path) as lock:
        assert f"process {holder.pid} on {socket.gethostname()}" in lock.taken_over


def test_so_is_one_that_another_host_left_behind(tmp_path):
    write_holder(tmp_path, host="elsewhere", pid=os.getpid())
    with RunLock(tmp_path) as lock:
        assert "process" in lock.taken_over
        assert "on elsewhere: the kernel holds no lock" in lock.taken_over


def test_a_released_lock_leaves_no_file_and_no_word(tmp_path):
    for _ in range(2):
        with RunLock(tmp_path) as lock:
            assert lock.taken_over is None
            assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        assert not list(tmp_path.iterdir())


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    code = (
        "import os, sys, time, pathlib; from trainer.run.lock import RunLock\n"
        "os.register_at_fork(after_in_child=lambda: time.sleep(0.5))\n"  # before it closes the file
        "lock = RunLock(pathlib.Path(sys.argv[1]))\n"
        "if os.fork() == 0: time.sleep(100)\n"
        "os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], process_group=0) as process:
        process.wait()
        try:
            with RunLock(tmp_path) as lock:
                assert lock.taken_over
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_training_whose_lock_was_deleted_stops_before_it_writes(tmp_path):
    with RunLock(tmp_path) as lock:
        lock.check()
        (tmp_path / LOCK).unlink()
        with RunLock(tmp_path) as other:
            with pytest.raises(LakhxlError, match="was deleted: another training may write"):
                lock.check()
            lock.release()  # and does not delete the other's
            other.check()


def test_without_locks_of_the_file_system_only_the_dead_of_this_host_are_replaced(
    tmp_path, monkeypatch, holder
):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(LakhxlError, match=f"is being trained by process {holder.pid}"):
        RunLock(tmp_path)
    holder.kill()
    holder.wait()
    with RunLock(tmp_path) as lock:
        assert "no process of this host has that number" in lock.taken_over
    write_holder(tmp_path, host="elsewhere", pid=holder.pid)
    with pytest.raises(LakhxlError, match=f"on elsewhere.*delete {tmp_path / LOCK}"):
        RunLock(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 9999, b"[" * 9999, b'{"host": 1, "pid": "x"}'])
def test_a_lock_file_of_any_content_is_taken(tmp_path, content):
    (tmp_path / LOCK).write_bytes(content)
    with RunLock(tmp_path) as lock:
        assert lock.taken_over is None
