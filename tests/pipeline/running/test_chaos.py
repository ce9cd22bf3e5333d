"""Misbehaving files and machines: no song is lost, bad files are named, errors are one line."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pipeline.config import IngestSettings
from pipeline.running.execute import execute
from pipeline.running.journal import read_journal
from pipeline.running.messages import RunContext
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from pipeline.running.quarantine import Failure, read_quarantine, save_quarantine
from pipeline.running.run_lock import RunError
from pipeline.running.worker_processes import POLL_SECONDS, PoolError
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.running import faults
from tests.pipeline.running.processes import descendants, living_processes, wait_until
from tests.pipeline.running.test_run import contents

ROOT = Path(__file__).parents[3]
QUICK = PoolSettings(workers=2, file_timeout=3.0, soft_timeout=0.2, memory_limit=600)


def rows(dataset) -> dict[str, tuple[str, str | None]]:
    ledger = dataset.ledger().to_pylist()
    return {row["path"]: (row["outcome"], row["detail"]) for row in ledger}


def run_with_faults(midi: Path, out: Path, pool_settings: PoolSettings = QUICK):
    run = prepare([midi], out, SETTINGS, restart=False)
    return execute(run, pool_settings, run_slice=faults.run_slice_with_faults)


FAULTS = {
    "hang": ("HANG", "timeout", "more than 3 s"),
    "spin": ("SPIN", "timeout", "more than 0.2 s of CPU time"),
    "segv": ("SEGV", "crash", "killed by SIGSEGV"),
    "exit": ("EXIT", "crash", "exit code 3"),
    "eat": ("EAT", "out_of_memory", "the worker's memory limit"),
    "bug": ("BUG", "crash", "RuntimeError: a bug (faults.py:"),
}


@pytest.fixture(scope="module")
def faulty(demo, tmp_path_factory):
    """The dataset of the demo's files with one file of each fault among them."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(demo[0], folder / "midi")
    for name, (data, _, _) in FAULTS.items():
        (folder / "midi" / f"{name}.mid").write_text(data)
    return run_with_faults(folder / "midi", folder / "lakh")


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_hurts_its_worker_is_in_the_ledger_with_what_it_did(faulty, name):
    _, outcome, detail = FAULTS[name]
    ledger_outcome, ledger_detail = rows(faulty)[f"{name}.mid"]
    assert ledger_outcome == outcome
    assert ledger_detail.startswith(detail)


def test_bad_files_cost_no_other_file(faulty, dataset):
    others = {path: row for path, row in rows(faulty).items() if path[:-4] not in FAULTS}
    assert others == rows(dataset)
    assert faulty.index["md5"].to_pylist() == dataset.index["md5"].to_pylist()


def test_a_file_that_fails_once_on_a_busy_machine_is_kept(demo, dataset, tmp_path):
    path = dataset.index["path"][0].as_py()
    (tmp_path / "midi").mkdir()
    mark = os.fsencode(tmp_path / "failed")
    music = (demo[0] / path).read_bytes()
    (tmp_path / "midi" / "a.mid").write_bytes(b"ONCE" + mark + b"\n" + music)
    again = run_with_faults(tmp_path / "midi", tmp_path / "lakh")
    assert (tmp_path / "failed").exists()  # it killed a worker
    assert rows(again) == {"a.mid": ("kept", None)}


def test_a_quarantine_record_outlives_the_run_but_not_its_limits(tmp_path):
    record = {3: Failure("timeout", "more than 3 s")}
    save_quarantine(tmp_path, 5, record, QUICK.limits)
    assert read_quarantine(tmp_path, 5, QUICK.limits) == record
    assert read_quarantine(tmp_path, 4, QUICK.limits) == {}
    assert read_quarantine(tmp_path, 5, PoolSettings(file_timeout=99.0).limits) == {}


def error_of_pool(demo, tmp_path, on_status=lambda status: None, **fault) -> str:
    """The error that a run with this fault ends with."""
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    pool = SlicePool(RunContext(run.partial, SETTINGS, QUICK), on_status, **fault)
    with pytest.raises(PoolError) as error:
        pool.run(run.slices, lambda: None)
    assert not (tmp_path / "lakh").exists()
    return str(error.value)


def test_a_full_disk_ends_the_run_with_one_clear_error(demo, tmp_path):
    error = error_of_pool(demo, tmp_path, run_slice=faults.run_slice_on_a_full_disk)
    assert "No space left on device" in error
    assert "make room and run the same command again" in error


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"set_up": faults.set_up_badly}, "cannot be set up: RuntimeError: no such"),
        ({"set_up": faults.set_up_and_die}, "died before its first file (exit code 9)"),
        ({"run_slice": faults.run_slice_and_die}, "died before its first file (exit code 7)"),
    ],
)
def test_workers_that_cannot_start_end_the_run_at_once(demo, tmp_path, fault, words):
    statuses = []  # one after each wait, of POLL_SECONDS at most
    assert words in error_of_pool(demo, tmp_path, statuses.append, **fault)
    assert len(statuses) * POLL_SECONDS < 5


@pytest.mark.parametrize("seed", range(3))
def test_workers_killed_again_and_again_busy_or_idle_cost_no_byte(demo, dataset, tmp_path, seed):
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    random, killed = Random(seed), []

    def kill_workers(status):
        workers = [child.pid for child in multiprocessing.active_children()]
        if len(killed) < 12 and random.random() < 0.4:
            for process in random.sample(workers, random.randint(0, len(workers))):
                os.kill(process, signal.SIGKILL)
                killed.append(process)

    made = execute(run, QUICK, kill_workers)
    assert killed
    assert contents(made.path) == contents(dataset.path)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_worker_killed_as_it_puts_the_dataset_together_is_replaced(demo, dataset, tmp_path, done):
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    killed = []

    def kill_workers(status):
        renamed = (tmp_path / "lakh").exists()
        if status.counts.files == run.files and not killed and renamed == done:
            killed.extend(child.pid for child in multiprocessing.active_children())
            for process in killed:
                os.kill(process, signal.SIGKILL)

    made = execute(run, QUICK, kill_workers)
    assert contents(made.path) == contents(dataset.path)


def test_a_file_alone_in_its_slice_when_somebody_kills_its_worker_is_tried_again(demo, tmp_path):
    path = next(path for path in sorted(demo[0].rglob("*.mid")) if path.stat().st_size > 4000)
    (tmp_path / "midi").mkdir()
    marks = [os.fsencode(tmp_path / f"killed {time}") for time in range(3)]
    music = b"".join(b"KILL" + mark + b"\n" for mark in marks) + path.read_bytes()
    (tmp_path / "midi" / "a.mid").write_bytes(music)
    again = run_with_faults(tmp_path / "midi", tmp_path / "lakh")
    assert len(list(tmp_path.glob("killed *"))) == 3
    assert rows(again) == {"a.mid": ("kept", None)}


def command(demo, out) -> list[str]:
    words = [sys.executable, "-m", "pipeline", "run", str(demo[0]), "--out", str(out)]
    return [*words, "--slice-files", "16", "--round-trip-check", "1", "--workers", "2"]


def killed(demo, out, seconds: float, *, whole_group: bool) -> None:
    """Start or resume a run, and kill it after so many seconds."""
    run = subprocess.Popen(
        command(demo, out),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
        run.wait()


def test_a_run_killed_ten_times_ends_in_the_same_bytes(demo, dataset, tmp_path):
    random = Random(4)
    for kill in range(10):
        killed(demo, tmp_path, random.uniform(0.5, 2.5), whole_group=kill % 2 == 0)
        if (tmp_path / "lakh").exists():  # it was done before it was killed
            assert contents(tmp_path / "lakh") == contents(dataset.path)
            shutil.rmtree(tmp_path / "lakh")
    subprocess.run(command(demo, tmp_path), cwd=ROOT, check=True, capture_output=True)
    assert contents(tmp_path / "lakh") == contents(dataset.path)


@pytest.mark.parametrize("left", ["dataset.json", "dataset.json and run.json"])
def test_a_run_killed_before_it_renames_its_folder_is_resumed(demo, dataset, tmp_path, left):
    partial = tmp_path / "lakh.partial"
    shutil.copytree(dataset.path, partial)
    if "run.json" in left:
        other = prepare([demo[0]], tmp_path / "other", SETTINGS, restart=False)
        shutil.copy(other.partial / "run.json", partial)
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    made = execute(run, PoolSettings(workers=1))
    assert contents(made.path) == contents(dataset.path)


def test_a_finished_dataset_under_its_unfinished_name_keeps_its_settings(demo, dataset, tmp_path):
    shutil.copytree(dataset.path, tmp_path / "lakh.partial")
    other = replace(SETTINGS, ingest=IngestSettings(slice_files=8))
    with pytest.raises(RunError, match=r"settings\.ingest\.slice_files was 16, is 8"):
        prepare([demo[0]], tmp_path / "lakh", other, restart=False)


HANGING_RUN = """
import sys
from pathlib import Path
from tests.pipeline.running.test_chaos import run_with_faults, PoolSettings
run_with_faults(Path(sys.argv[1]), Path(sys.argv[2]), PoolSettings(workers=2))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_no_worker_outlives_its_parent(tmp_path):
    (tmp_path / "midi").mkdir()
    for number in range(2 * SETTINGS.ingest.slice_files):
        (tmp_path / "midi" / f"{number:02}.mid").write_text("HANG")
    words = [sys.executable, "-c", HANGING_RUN, str(tmp_path / "midi"), str(tmp_path / "lakh")]
    run, started = subprocess.Popen(words, cwd=ROOT), set()

    def entries():
        return [read_journal(tmp_path / "lakh.partial", slice_) for slice_ in (0, 1)]

    try:
        hanging = "both workers hang in their first file"
        wait_until(lambda: all(entry.file_index == 0 for entry in entries()), hanging, run=run)
        workers, started = {entry.process for entry in entries()}, descendants(run.pid)
        assert len(workers) == 2
        assert workers < started  # the server that they are forked from is started too
        run.kill()
        run.wait()
        wait_until(lambda: not started & living_processes().keys(), "all are gone", seconds=10)
    finally:
        run.kill()
        for process in started & living_processes().keys():
            os.kill(process, signal.SIGKILL)


def may_mount() -> bool:
    """Whether this system lets us mount a small file system of our own."""
    if shutil.which("unshare") is None:
        return False
    words = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(words, capture_output=True).returncode == 0


SMALL_DISK = """
mount -t tmpfs -o size=400k none "$1" || exit 9
shift
"$@"; echo "full: $?"
mount -o remount,ro "$DISK"; "$@"; echo "unwritable: $?"
mount -o remount,rw,size=100m "$DISK"; "$@"; echo "roomy: $?"
cp -r "$DISK/lakh" "$COPY"
"""


@pytest.mark.skipif(not may_mount(), reason="the system does not let us mount a small disk")
def test_a_full_or_unwritable_disk_is_one_line_and_the_run_can_be_resumed(demo, dataset, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", str(disk), *command(demo, disk)]
    environment = {**os.environ, "DISK": str(disk), "COPY": str(tmp_path / "lakh")}
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert {"full: 1", "unwritable: 1", "roomy: 0"} <= set(run.stdout.splitlines())
    errors = [line for line in run.stderr.splitlines() if "Error" in line]
    assert len(errors) == 2
    assert "No space left on device" in errors[0]
    assert "Read-only file system" in errors[1]
    assert "Traceback" not in run.stderr
    assert contents(tmp_path / "lakh") == contents(dataset.path)
