"""What a run survives: kills, and lethal files among good ones."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from benchmarks.arguments import Measurements, corpus_argument
from benchmarks.corpus import midi_files
from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from shards.reader import Dataset
from tests.pipeline.running import faults

FAULTS = {
    "HANG": "timeout",
    "SPIN": "timeout",
    "SEGV": "crash",
    "EXIT": "crash",
    "EAT": "out_of_memory",
}
"""Each lethal file of `tests.pipeline.running.faults`, and the outcome it should have."""

QUICK = PoolSettings(workers=2, file_timeout=3.0, soft_timeout=0.5, memory_limit=600)


@click.group(cls=Measurements)
@click.pass_context
def command(context: click.Context) -> None:
    """Damage runs, and count what is recovered."""
    context.obj = Path(context.with_resource(tempfile.TemporaryDirectory()))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run_command(midi: Path, out: Path) -> list[str]:
    """The command line of a run of many slices."""
    words = [sys.executable, "-m", "pipeline", "run", str(midi), "--out", str(out)]
    return [*words, "--slice-files", "16", "--workers", "2"]


def run(midi: Path, out: Path, settings: DataSettings, **options: Any) -> Dataset:
    """A whole run, as `pipeline run` does it."""
    return execute(prepare([midi], out, settings, restart=False), QUICK, **options)


def wait_for_workers(group: int) -> None:
    """Wait until the workers of a killed run are gone; one may just be renaming the dataset."""
    for _ in range(250):  # not for ever: some containers keep the dead
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.002)


@command.command()
@click.option("--times", default=50, show_default=True)
@click.pass_obj
def kills(work: Path, times: int) -> None:
    """Kill runs and resume them: are the bytes those of an undisturbed run?

    SIGKILL hits the parent and the whole process group in turn, at random moments between the
    start and the last rename.
    """
    compose_corpus(work / "midi", DemoSettings(songs=80))
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(run_command(work / "midi", work / "whole"), check=True, **quiet)
    expected = contents(work / "whole" / "lakh")
    shards = sum(name.startswith("tokens-") for name in expected)
    rng, same, in_time, slices = random.Random(0), 0, 0, Counter()
    for number in range(times):
        out = work / f"run{number}"
        run = subprocess.Popen(run_command(work / "midi", out), start_new_session=True, **quiet)
        wanted = rng.randrange(-1, shards + 1)  # slices published; -1: at any moment of the start
        while run.poll() is None and len(list(out.glob("lakh.partial/ledger-*"))) < wanted:
            time.sleep(0.002)
        try:
            run.wait(rng.uniform(0.0, 0.2 if wanted >= 0 else 1.0))
        except subprocess.TimeoutExpired:
            in_time += 1
            if number % 2:
                os.killpg(run.pid, signal.SIGKILL)
            else:
                run.kill()
            run.wait()
            wait_for_workers(run.pid)
        slices[len(list(out.glob("lakh.partial/ledger-*")))] += 1
        if not (out / "lakh").exists():
            again = subprocess.run(run_command(work / "midi", out), capture_output=True, text=True)
            assert again.returncode == 0, again.stderr
        same += contents(out / "lakh") == expected
        shutil.rmtree(out)
        print(f"run {number + 1}: {same} identical", file=sys.stderr, flush=True)
    print(f"{times} runs of {shards} slices, {in_time} killed before their end")
    print(f"slices published when killed: {dict(sorted(slices.items()))}")
    print(f"identical to the undisturbed run after resuming: {same} of {times}")


@command.command()
@corpus_argument
@click.option("--files", default=2000, show_default=True, help="Real files among which they lie.")
@click.pass_obj
def chaos(work: Path, corpus: Path, files: int) -> None:
    """Put lethal files among real ones: is every good one kept, and every bad one named?

    1 % each of files that hang, spin, die by a signal, exit or eat memory, among copies of the
    files of CORPUS.
    """
    paths = midi_files(corpus)
    (work / "midi").mkdir()
    for number in range(files):
        shutil.copy(paths[number % len(paths)], work / "midi" / f"{number:06d}.mid")
    settings = DataSettings(ingest=IngestSettings(slice_files=64))
    whole = run(work / "midi", work / "whole", settings)
    rng = random.Random(0)
    numbers = rng.sample(range(files), len(FAULTS) * files // 100)
    bad = {f"{number:06d}x.mid": list(FAULTS)[n % len(FAULTS)] for n, number in enumerate(numbers)}
    for name, fault in bad.items():
        (work / "midi" / name).write_text(fault)
    begun = time.perf_counter()
    hurt = run(work / "midi", work / "hurt", settings, run_slice=faults.run_slice_with_faults)
    seconds = time.perf_counter() - begun
    rows = {row["path"]: row for row in hurt.ledger().to_pylist()}
    right = sum(rows[name]["outcome"] == FAULTS[fault] for name, fault in bad.items())
    good = whole.ledger().to_pylist()
    columns = ("outcome", "rule", "md5")
    same = sum(all(row[c] == rows[row["path"]][c] for c in columns) for row in good)
    print(f"{files} files and {len(bad)} bad ones ({dict(Counter(bad.values()))}), {seconds:.0f} s")
    print(f"rows {len(rows)}; bad files with the right outcome {right} of {len(bad)}")
    print(f"good files with the outcome they have without the bad ones {same} of {len(good)}")
