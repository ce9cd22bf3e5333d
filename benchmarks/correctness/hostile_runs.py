"""Run folders damaged at random: does every command end in a good run or in one line?"""

import json
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import torch
from click.testing import CliRunner
from tqdm import tqdm

from benchmarks.arguments import Measurement, dataset_argument
from benchmarks.correctness.damage import damage_json, error_of, mutated, put_instead
from trainer.cli import cli

CPU_SECONDS, SECONDS, MEGABYTES = 10, 600, 1000
"""What a command may take at most: of CPU time; from its start, on a machine that may be busy; and
memory more than before."""


def damage_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Change the header, a JSON object after its length, or the state inside it."""
    size = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    if rng.random() < 0.5:
        state = json.loads(header["__metadata__"]["state"])
        header["__metadata__"]["state"] = json.dumps(damage_json(state, rng))
    else:
        header = damage_json(header, rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def damage(folder: Path, rng: random.Random) -> Path:
    """Damage one file of a run folder; returns which."""
    files = [folder / name for name in ("config.json", "vocabulary.json", "metrics.jsonl")]
    path = rng.choice([*files, *files[:1], *sorted((folder / "checkpoints").iterdir())])
    kind = rng.random()
    if kind < 0.1:
        put_instead(path, rng)
    elif kind < 0.4:
        path.write_bytes(mutated(path.read_bytes(), rng))
    elif path.suffix == ".safetensors":
        path.write_bytes(damage_safetensors(path.read_bytes(), rng))
    elif path.suffix == ".json":
        path.write_text(json.dumps(damage_json(json.loads(path.read_text()), rng)))
    else:
        lines = path.read_text().splitlines()
        at = rng.randrange(len(lines))
        lines[at] = json.dumps(damage_json(json.loads(lines[at]), rng))
        path.write_text("\n".join(lines) + "\n")
    return path


def commands(folder: Path, dataset: Path) -> list[list[str]]:
    """The commands that read a run folder."""
    run = str(folder)
    return [
        ["generate", run, "-o", f"{folder}.mid", "--bars", "1", "--tokens", "9"],
        ["compare", run, "-o", f"{folder}.png"],
        ["fit", str(dataset), "--run", run, "--resume", "--steps", "6", "--device", "cpu"],
        ["evaluate", run, str(dataset), "--device", "cpu", "--split", "valid"],
    ]


@contextmanager
def limited() -> Iterator[None]:
    """Raise an AssertionError in the block when it has taken too long."""

    def late(number: int, frame: FrameType | None) -> None:
        raise AssertionError("a hang")

    timers = {signal.SIGPROF: signal.ITIMER_PROF, signal.SIGALRM: signal.ITIMER_REAL}
    before = {number: signal.signal(number, late) for number in timers}
    for timer, seconds in zip(timers.values(), (CPU_SECONDS, SECONDS), strict=True):
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, timer in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def outcome(arguments: list[str]) -> str:
    """Run a command: good, or its one line.

    Raises:
        AssertionError: it ended with anything else, took too long or too much memory.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with limited(), torch.compiler.set_stance("force_eager"):  # compiling may well take minutes
        error = error_of(cli, arguments)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    assert grown < MEGABYTES, f"{grown:.0f} MB more than before"
    return error or "good"


def try_case(sound: Path, dataset: Path, work: Path, number: int) -> tuple[str, str, str]:
    """Damage a copy of a sound run folder by the case's number, and run one command on it.

    Returns:
        The name of the file that was damaged, the command, and its outcome.
    """
    rng, folder = random.Random(number), work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    for out in work.glob("run.*"):  # none is replaced unasked
        out.unlink()
    shutil.copytree(sound, folder)
    path = damage(folder, rng)
    ways = commands(folder, dataset)
    arguments = ways[number % len(ways)]
    try:
        return path.name, arguments[0], outcome(arguments)
    except AssertionError as error:
        raise AssertionError(f"case {number}, {path.name}, {arguments[0]}: {error}") from error


SMALL = ("layers=1", "d_model=16", "heads=2", "memory=8", "block_size=128", "batch_size=2",
         "sample_bars=0", "warmup_steps=0", "evaluate_batches=2", "log_every=1")  # fmt: skip


def make_run(dataset: Path, folder: Path) -> None:
    """Train a tiny model for four steps."""
    chosen = [f"--set={text}" for text in SMALL]
    arguments = ["fit", str(dataset), "--run", str(folder), "--steps=4", "--device=cpu", *chosen]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@click.command(cls=Measurement, help=__doc__)
@dataset_argument
@click.option("--cases", default=2_000, show_default=True, help="Run folders to damage.")
@click.option("--first", default=0, show_default=True, help="Number of the first case.")
def command(dataset: Path, cases: int, first: int) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine look like a hang
    failed, slowest = [], 0.0
    with tempfile.TemporaryDirectory() as work:
        sound = Path(work) / "sound"
        make_run(dataset, sound)
        for number in tqdm(range(first, first + cases), unit="run", disable=None):
            start = time.process_time()
            try:
                _, name, found = try_case(sound, dataset, Path(work), number)
                outcomes[name, "good" if found == "good" else "one line"] += 1
            except AssertionError as error:
                failed.append(str(error))
                click.echo(error)
            slowest = max(slowest, time.process_time() - start)
    for (name, found), count in sorted(outcomes.items()):
        click.echo(f"{name:10} {found:10} {count:6,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    click.echo(f"slowest {slowest:.1f} s of processor time, peak {peak:,.0f} MB")
    click.echo(f"{len(failed)} of {cases:,} failed")
    if failed:
        raise SystemExit(1)
