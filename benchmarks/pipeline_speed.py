"""Whole runs of the pipeline beside MidiTok's REMI tokenizer alone, and one worker beside two.

Each run is the command as a user gives it: start of Python, reading, report and all. REMI gets
the same files, every 25th of them, is started and warm, and writes nothing. Files that it cannot
read count as done.

Example:
    LAKHXL_CORPUS=~/midi python -m benchmarks.pipeline_speed --rounds 3
    LAKHXL_CORPUS=~/midi python -m benchmarks.pipeline_speed --copies 8 --rounds 1
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import midi_files


def remi(files: list[Path]) -> float:
    """Files a second and core of REMI with one stream of tokens for all programs."""
    warnings.simplefilter("ignore")
    from miditok import REMI, TokenizerConfig
    from symusic import Score

    tokenizer = REMI(
        TokenizerConfig(
            use_programs=True,
            one_token_stream_for_programs=True,
            use_tempos=True,
            use_time_signatures=True,
        )
    )
    begun = time.process_time()
    for path in files:
        try:
            tokenizer(Score(path))
        except Exception:  # noqa: BLE001 (whatever it says of a bad file, the file is done)
            continue
    return len(files) / (time.process_time() - begun)


@dataclass
class Run:
    """One run of the command: seconds, and the parent's resident memory, MiB, as it went on."""

    seconds: float
    memory: list[float]

    @property
    def growth(self) -> str:
        """Memory at a tenth, half and the end of the time, and the most."""
        early, middle = (self.memory[int(share * len(self.memory))] for share in (0.1, 0.5))
        told = f"{early:.0f}, {middle:.0f}, {self.memory[-1]:.0f}"
        return f"parent {told} MiB after a tenth, half, all, at most {max(self.memory):.0f}"


def whole_run(corpus: Path, workers: int, check: str, scratch: Path) -> Run:
    """The command, start of Python and report and all."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        words = [sys.executable, "-m", "pipeline", "run", str(corpus), "--out", out]
        words += ["--workers", str(workers), "--round-trip-check", check]
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


def copied(corpus: Path, copies: int, folder: Path) -> Path:
    """The corpus several times over, by links to its files under other names."""
    for number, path in enumerate(midi_files(corpus) * copies):
        (folder / f"{number // 1000:03d}").mkdir(exist_ok=True)
        os.link(path, folder / f"{number // 1000:03d}" / f"{number:06d}.mid")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--round-trip-check", default="0.01")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-single", action="store_true", help="not with one worker")
    options = parser.parse_args()
    corpus = Path(os.environ["LAKHXL_CORPUS"])
    files = midi_files(corpus)
    with tempfile.TemporaryDirectory(dir=corpus.parent) as folder:
        if options.copies > 1:
            corpus = copied(corpus, options.copies, Path(folder))
        count = len(files) * options.copies
        for _ in range(options.rounds):
            two = whole_run(corpus, 2, options.round_trip_check, corpus.parent)
            line = f"{count} files: 2 workers {two.seconds:.1f} s, {two.growth}; "
            line += f"{count / two.seconds / 2:.0f} files a second and core"
            if not options.no_peer:
                peer = remi(files[::25])
                line += f", REMI {peer:.1f}: {count / two.seconds / 2 / peer:.1f} times"
            if not options.no_single:
                one = whole_run(corpus, 1, options.round_trip_check, corpus.parent)
                line += f"; 1 worker {one.seconds:.1f} s, "
                line += f"efficiency {one.seconds / 2 / two.seconds:.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
