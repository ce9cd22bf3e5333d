"""What a run survives: bad files, kills, flipped bits. Each prints what it saw; see README.

    kills    runs killed by SIGKILL, the parent or the whole process group in turn, at random
             moments between the start and the last rename, then resumed: the same bytes?
    chaos    1 % each of files that hang, spin, die by a signal, exit or eat memory among copies
             of real songs: every good file kept, every bad one named?
    flips    one bit anywhere in any file of a dataset: does verify find it?
    begin    workers that cannot be made ready: how soon does the run say so?

Example:
    python -m benchmarks.survive kills --times 50
    LAKHXL_CORPUS=~/midi python -m benchmarks.survive chaos --files 2000
    python -m benchmarks.survive flips --times 200
    python -m benchmarks.survive begin --times 10
"""

import argparse
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

from benchmarks.corpus import midi_files
from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.running.entry import begin_slice
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.processes import PoolError
from pipeline.running.run import Began, begin, carry_out
from pipeline.running.tasks import SliceJob
from pipeline.sources.listing import Slice
from shards.errors import LakhxlError
from shards.verify import verify
from tests.pipeline.running import faults

FAULTS = {
    "HANG": "timeout",
    "SPIN": "timeout",
    "SEGV": "crash",
    "EXIT": "crash",
    "EAT": "out_of_memory",
}
QUICK = PoolSettings(workers=2, file_timeout=3.0, soft_timeout=0.5, memory_limit=600)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def command(midi: Path, out: Path) -> list[str]:
    """A run of many slices."""
    words = [sys.executable, "-m", "pipeline", "run", str(midi), "--out", str(out)]
    return [*words, "--slice-files", "16", "--workers", "2"]


def kills(work: Path, times: int) -> None:
    """Kill runs and resume them."""
    compose_corpus(work / "midi", DemoSettings(songs=80))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command(work / "midi", work / "whole"), check=True, **quiet)
    expected = contents(work / "whole" / "lakh")
    parts = sum(name.startswith("tokens-") for name in expected)
    rng, same, in_time, slices = random.Random(0), 0, 0, Counter()
    for number in range(times):
        out = work / f"run{number}"
        run = subprocess.Popen(command(work / "midi", out), start_new_session=True, **quiet)
        wanted = rng.randrange(-1, parts + 1)  # slices published; -1: at any moment of the start
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
        slices[len(list(out.glob("lakh.partial/ledger-*")))] += 1
        if not (out / "lakh").exists():
            again = subprocess.run(command(work / "midi", out), capture_output=True, text=True)
            assert again.returncode == 0, again.stderr
        same += contents(out / "lakh") == expected
        shutil.rmtree(out)
        print(f"run {number + 1}: {same} identical", file=sys.stderr, flush=True)
    print(f"{times} runs of {parts} slices, {in_time} killed before their end")
    print(f"slices published when killed: {dict(sorted(slices.items()))}")
    print(f"identical to the undisturbed run after resuming: {same} of {times}")


def chaos(work: Path, files: int) -> None:
    """Bad files among good ones."""
    corpus = midi_files(Path(os.environ["LAKHXL_CORPUS"]))
    (work / "midi").mkdir()
    for number in range(files):
        shutil.copy(corpus[number % len(corpus)], work / "midi" / f"{number:06d}.mid")
    settings = DataSettings(ingest=IngestSettings(slice_files=64))
    whole = run(work / "midi", work / "whole", settings)
    rng = random.Random(0)
    places = rng.sample(range(files), len(FAULTS) * files // 100)
    bad = {f"{place:06d}x.mid": list(FAULTS)[n % len(FAULTS)] for n, place in enumerate(places)}
    for name, fault in bad.items():
        (work / "midi" / name).write_text(fault)
    begun = time.perf_counter()
    hurt = run(work / "midi", work / "hurt", settings, task=faults.run_slice_with_faults)
    seconds = time.perf_counter() - begun
    rows = {row["path"]: row for row in hurt.ledger().to_pylist()}
    right = sum(rows[name]["outcome"] == FAULTS[fault] for name, fault in bad.items())
    good = [rows[row["path"]] for row in whole.ledger().to_pylist()]
    same = sum(
        (a["outcome"], a["rule"], a["md5"]) == (b["outcome"], b["rule"], b["md5"])
        for a, b in zip(whole.ledger().to_pylist(), good, strict=True)
    )
    print(f"{files} files and {len(bad)} bad ones ({dict(Counter(bad.values()))}), {seconds:.0f} s")
    print(f"rows {len(rows)}; bad files with the right outcome {right} of {len(bad)}")
    print(f"good files with the outcome they have without the bad ones {same} of {len(good)}")


def run(midi: Path, out: Path, settings: DataSettings, **how: object):
    """A whole run, as `pipeline run` does it."""
    return carry_out(begin([midi], out, settings, restart=False), settings, QUICK, **how)


def flips(work: Path, times: int) -> None:
    """Flip bits, one at a time, as likely in a small file as in a large one."""
    compose_corpus(work / "midi", DemoSettings(songs=20))
    folder = run(work / "midi", work / "lakh", DataSettings()).path
    rng, found, named = random.Random(0), 0, 0
    files = sorted(folder.iterdir())
    for number in range(times):
        path = files[number % len(files)]
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        try:
            faults = list(verify(folder))
        except LakhxlError as error:
            faults = [str(error)]
        found += bool(faults)
        named += any(path.name in fault for fault in faults)
        path.write_bytes(good)
    assert list(verify(folder)) == []
    print(f"{times} bits flipped in {len(files)} files: found {found}, file named {named}")


def cannot_begin(work: Path, times: int) -> None:
    """Workers that fail, or die, as they are made ready."""
    compose_corpus(work / "midi", DemoSettings(songs=20))
    settings, seconds = DataSettings(), []
    for number in range(times):
        began = begin([work / "midi"], work / f"run{number}", settings, restart=False)
        prepare = (faults.prepare_badly, faults.prepare_and_die)[number % 2]

        def job(slice_: Slice, files: list, began: Began = began) -> SliceJob:
            return SliceJob(slice_.number, files, began.partial, settings)

        pool = SlicePool(
            began.partial, QUICK, lambda status: None, job, begin_slice, prepared_by=prepare
        )
        begun = time.perf_counter()
        try:
            pool.run(began.slices, lambda: None)
        except PoolError:
            seconds.append(time.perf_counter() - begun)
    print(f"{len(seconds)} of {times} reported, the first after {seconds[0]:.2f} s (the server of")
    print(f"workers starts in there), the slowest of the others after {max(seconds[1:]):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("kills", "chaos", "flips", "begin"))
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.what == "chaos":
            chaos(Path(folder), options.files)
        else:
            tests = {"kills": kills, "flips": flips, "begin": cannot_begin}
            tests[options.what](Path(folder), options.times)


if __name__ == "__main__":
    main()
