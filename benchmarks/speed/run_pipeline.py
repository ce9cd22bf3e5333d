"""Whole runs of the pipeline versus MidiTok's REMI tokenizer alone, and one worker versus two."""

import os
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

REMI_EVERY = 25
"""REMI tokenizes one file in this many."""


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
    """Seconds of one run of the command, and samples of the parent's resident memory in MiB."""

    seconds: float
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
        begun, memory = time.perf_counter(), []
        run = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                status = run.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                memory.append(resident(run.pid))
        assert status == 0
        return Run(time.perf_counter() - begun, memory)


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


@click.command(cls=Measurement)
@corpus_argument
@click.option("--rounds", default=3, show_default=True)
@click.option("--repeat", default=1, show_default=True, help="Read the corpus this many times.")
@click.option("--round-trip-check", default=0.01, show_default=True, help="As of `pipeline run`.")
@click.option("--peer/--no-peer", default=True, help="Run MidiTok's tokenizer as well.")
@click.option("--single/--no-single", default=True, help="Run with one worker as well.")
def command(
    corpus: Path, rounds: int, repeat: int, round_trip_check: float, peer: bool, single: bool
) -> None:
    """Time `pipeline run CORPUS` with two workers, and REMI on every 25th of the same files."""
    files, scratch = midi_files(corpus), corpus.parent
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        if repeat > 1:
            corpus = repeat_corpus(files, repeat, Path(folder))
        count = len(files) * repeat
        for _ in range(rounds):
            two = whole_run(corpus, 2, round_trip_check, scratch)
            speed = count / two.seconds / 2
            line = f"{count} files: 2 workers {two.seconds:.1f} s, {two.growth}; "
            line += f"{speed:.0f} files per second and core"
            if peer:
                theirs = remi(files[::REMI_EVERY])
                line += f", REMI {theirs:.1f}: {speed / theirs:.1f} times"
            if single:
                one = whole_run(corpus, 1, round_trip_check, scratch)
                line += f"; 1 worker {one.seconds:.1f} s, "
                line += f"efficiency {one.seconds / 2 / two.seconds:.2f}"
            print(line, flush=True)
