"""Machines and files that misbehave: nothing is lost, the culprit is named, one clear line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from pipeline.config import IngestSettings
from pipeline.running.entry import begin_slice
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.processes import POLL_SECONDS, PoolError
from pipeline.running.run import RunError, begin, carry_out
from pipeline.running.tasks import Condemned, keep_verdicts, read_verdicts
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.running import faults

ROOT = Path(__file__).parents[3]
QUICK = PoolSettings(workers=2, file_timeout=3.0, soft_timeout=0.2, memory_limit=600)


def rows(dataset) -> dict[str, tuple[str, str | None]]:
    ledger = dataset.ledger().to_pylist()
    return {row["path"]: (row["outcome"], row["detail"]) for row in ledger}


def run_with_faults(midi: Path, out: Path, how: PoolSettings = QUICK):
    began = begin([midi], out, SETTINGS, restart=False)
    return carry_out(began, SETTINGS, how, task=faults.run_slice_with_faults)


FAULTS = {
    "hang": ("HANG", "timeout", "more than 3 s"),
    "spin": ("SPIN", "timeout", "more than 0.2 s of processor time"),
    "segv": ("SEGV", "crash", "killed by SIGSEGV"),
    "exit": ("EXIT", "crash", "exit code 3"),
    "eat": ("EAT", "out_of_memory", "the worker's memory limit"),
    "bug": ("BUG", "crash", "RuntimeError: a bug (faults.py:"),
}


@pytest.fixture(scope="module")
def faulty(demo, tmp_path_factory):
    """The demo's files with one of each fault among them, and the dataset made of them."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(demo[0], folder / "midi")
    for name, (data, _, _) in FAULTS.items():
        (folder / "midi" / f"{name}.mid").write_text(data)
    return run_with_faults(folder / "midi", folder / "lakh")


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_hurts_its_worker_is_named_with_what_it_did(faulty, name):
    _, outcome, detail = FAULTS[name]
    found, said = rows(faulty)[f"{name}.mid"]
    assert found == outcome
    assert said.startswith(detail)


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
    assert (tmp_path / "failed").exists()  # a worker died of it
    assert rows(again) == {"a.mid": ("kept", None)}


def test_a_verdict_outlives_the_run_but_not_its_limits(tmp_path):
    verdict = {3: Condemned("timeout", "more than 3 s")}
    keep_verdicts(tmp_path, 5, verdict, QUICK.limits)
    assert read_verdicts(tmp_path, 5, QUICK.limits) == verdict
    assert read_verdicts(tmp_path, 4, QUICK.limits) == {}
    assert read_verdicts(tmp_path, 5, PoolSettings(file_timeout=99.0).limits) == {}


def pool_of(demo, tmp_path, watch=lambda status: None, **how) -> PoolError:
    """The error that a run ends with."""
    began = begin([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)

    def job(slice_, files):
        return faults.slice_task.SliceJob(slice_.number, files, began.partial, SETTINGS)

    pool = SlicePool(began.partial, QUICK, watch, job, how.pop("task", begin_slice), **how)
    with pytest.raises(PoolError) as error:
        pool.run(began.slices, lambda: None)
    assert not (tmp_path / "lakh").exists()
    return error.value


def test_a_full_disk_ends_the_run_with_one_clear_error(demo, tmp_path):
    error = pool_of(demo, tmp_path, task=faults.run_slice_on_a_full_disk)
    assert "No space left on device" in str(error)
    assert "make room and run the same command again" in str(error)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"prepared_by": faults.prepare_badly}, "cannot be made ready: RuntimeError: no such"),
        ({"prepared_by": faults.prepare_and_die}, "died before its first file (exit code 9)"),
        ({"task": faults.run_slice_and_die}, "died before its first file (exit code 7)"),
    ],
)
def test_workers_that_cannot_begin_end_the_run_at_once(demo, tmp_path, fault, words):
    looks = []  # one after each wait, of POLL_SECONDS at most
    assert words in str(pool_of(demo, tmp_path, looks.append, **fault))
    assert len(looks) * POLL_SECONDS < 5


def command(demo, out) -> list[str]:
    words = [sys.executable, "-m", "pipeline", "run", str(demo[0]), "--out", str(out)]
    return [*words, "--slice-files", "16", "--round-trip-check", "1", "--workers", "2"]


def killed(demo, out, seconds: float, *, whole_group: bool) -> None:
    """Begin a run, or go on with it, and kill it after so many seconds."""
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


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


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
def test_a_run_killed_as_it_names_its_folder_goes_on(demo, dataset, tmp_path, left):
    partial = tmp_path / "lakh.partial"
    shutil.copytree(dataset.path, partial)
    if "run.json" in left:
        began = begin([demo[0]], tmp_path / "other", SETTINGS, restart=False)
        shutil.copy(began.partial / "run.json", partial)
    began = begin([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    again = carry_out(began, SETTINGS, PoolSettings(workers=1))
    assert contents(again.path) == contents(dataset.path)


def test_a_finished_dataset_without_its_name_is_not_taken_for_another(demo, dataset, tmp_path):
    shutil.copytree(dataset.path, tmp_path / "lakh.partial")
    other = replace(SETTINGS, ingest=IngestSettings(slice_files=8))
    with pytest.raises(RunError, match=r"settings\.ingest\.slice_files was 16, is 8"):
        begin([demo[0]], tmp_path / "lakh", other, restart=False)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc for children")
def test_no_worker_outlives_its_parent(demo, tmp_path):
    run = subprocess.Popen(
        command(demo, tmp_path), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.glob("lakh.partial/journal-*")):
        time.sleep(0.02)
    workers = children(run.pid)
    assert len(workers) >= 2
    run.kill()
    run.wait()
    deadline = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def may_mount() -> bool:
    """Whether this system lets us have a file system of our own, as full as we like."""
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
def test_a_full_and_an_unwritable_disk_end_in_one_line_and_the_run_goes_on(demo, dataset, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", str(disk), *command(demo, disk)]
    environment = {**os.environ, "DISK": str(disk), "COPY": str(tmp_path / "lakh")}
    run = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    told = [line for line in run.stdout.splitlines() if ": " in line and line[-1].isdigit()]
    assert {"full: 1", "unwritable: 1", "roomy: 0"} <= set(told)
    errors = [line for line in run.stderr.splitlines() if "Error" in line]
    assert len(errors) == 2
    assert "No space left on device" in errors[0]
    assert "Read-only file system" in errors[1]
    assert "Traceback" not in run.stderr
    assert contents(tmp_path / "lakh") == contents(dataset.path)


def test_two_runs_do_not_work_in_one_folder(demo, tmp_path):
    first = begin([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    with pytest.raises(RunError, match="another run is at work"):
        begin([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    first.lock.release()
    assert begin([demo[0]], tmp_path / "lakh", SETTINGS, restart=False).files == first.files
