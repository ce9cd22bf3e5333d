"""Whole runs of the pipeline versus MidiTok's REMI tokenizer alone, and one worker versus two."""

import contextlib
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.arguments import Measurement, corpus_argument
from benchmarks.corpus import midi_files

REMI_FILES = 100
"""REMI tokenizes about so many files, spread evenly."""
PR_SET_CHILD_SUBREAPER = 36
"""Linux, prctl(2): orphans of a child become children of this process, which can count them."""


def remi(files: list[Path]) -> float:
    """Files per second and core of REMI with one stream of tokens for all programs, once warm.

    It writes nothing. Files that it cannot read count as done.
    """
    warnings.simplefilter("ignore")
    from miditok import REMI, TokenizerConfig
    from symusic import Score

    options = ("use_programs", "one_token_stream_for_programs", "use_tempos", "use_time_signatures")
    tokenizer = REMI(TokenizerConfig(**dict.fromkeys(options, True)))
    begun = time.process_time()
    for path in files:
        try:
            tokenizer(Score(path))
        except Exception:  # noqa: BLE001 (whatever it says of a bad file, the file is done)
            continue
    return len(files) / (time.process_time() - begun)


@dataclass
class Run:
    """One run of the command.

    Attributes:
        seconds: of the clock.
        processor: seconds of processor time, of all its processes.
        memory: samples of the parent's resident memory in MiB.
    """

    seconds: float
    processor: float
    memory: list[float]

    @property
    def growth(self) -> str:
        """Memory at a tenth, half and the end of the time, and its maximum."""
        early, middle = (self.memory[int(share * len(self.memory))] for share in (0.1, 0.5))
        steps = f"{early:.0f}, {middle:.0f}, {self.memory[-1]:.0f}"
        return f"parent {steps} MiB after a tenth, half, all; maximum {max(self.memory):.0f}"


def whole_run(corpus: Path, workers: int, check: float, scratch: Path) -> Run:
    """Run the command as a user does, from the start of Python to the report."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        words = [sys.executable, "-m", "pipeline", "run", str(corpus), "--out", out]
        words += ["--workers", str(workers), "--round-trip-check", str(check)]
        begun, memory, before = time.perf_counter(), [], processor_time()
        run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                status = run.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                memory.append(resident(run.pid))
        assert status == 0
        seconds = time.perf_counter() - begun
        return Run(seconds, processor_time() - before, memory)


def processor_time() -> float:
    """Seconds of processor time of this process's children and theirs, once all have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident(process: int) -> float:
    """Resident memory of a process, MiB; Linux."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def repeat_corpus(files: list[Path], times: int, folder: Path) -> Path:
    """Link to the files several times over, under other names."""
    for number, path in enumerate(files * times):
        (folder / f"{number // 1000:03d}").mkdir(exist_ok=True)
        os.link(path, folder / f"{number // 1000:03d}" / f"{number:06d}.mid")
    return folder


def rate(seconds: float, files: int, peer: float | None) -> str:
    """Milliseconds a file, and how many times as fast as a peer of so many files per second."""
    times = "" if peer is None else f", {files / seconds / peer:.1f} times REMI"
    return f"{1000 * seconds / files:.2f} ms a file{times}"


@click.command(cls=Measurement)
@corpus_argument
@click.option("--rounds", default=3, show_default=True)
@click.option("--repeat", default=1, show_default=True, help="Read the corpus this many times.")
@click.option("--largest", type=int, help="Only files of at most so many bytes.")
@click.option("--round-trip-check", default=0.01, show_default=True, help="As of `pipeline run`.")
@click.option("--peer/--no-peer", default=True, help="Run MidiTok's tokenizer as well.")
@click.option("--workers", type=int, multiple=True, default=(2, 1), show_default=True)
def command(
    corpus: Path,
    rounds: int,
    repeat: int,
    largest: int | None,
    round_trip_check: float,
    peer: bool,
    workers: tuple[int, ...],
) -> None:
    """Time `pipeline run CORPUS`, and REMI on a hundred of the same files.

    By the clock, of each core that has a worker, and by the processor time of all processes, which
    other programs disturb less.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    files, scratch = midi_files(corpus), corpus.parent
    files = [path for path in files if largest is None or path.stat().st_size <= largest]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        if repeat > 1 or largest is not None:
            corpus = repeat_corpus(files, repeat, Path(folder))
        count = len(files) * repeat
        for _ in range(rounds):
            theirs = remi(files[:: max(len(files) // REMI_FILES, 1)]) if peer else None
            print(f"{count} files" + (f"; REMI {1000 / theirs:.2f} ms a file" if theirs else ""))
            for number in workers:
                run = whole_run(corpus, number, round_trip_check, scratch)
                print(f"  workers {number}: {run.seconds:.1f} s, {run.growth}")
                print(f"    clock      {rate(run.seconds * number, count, theirs)}")
                print(f"    processor  {rate(run.processor, count, theirs)}", flush=True)
