"""Run folders damaged at random: does every command end in a good run or in one line?"""

import json
import os
import random
import resource
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import torch
from click.testing import CliRunner
from tqdm import tqdm

from benchmarks.arguments import Measurement, dataset_argument
from trainer.cli import cli

VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice([0, -1, 1, 2, 3, 7, 10**9, 2**31, 2**62, 2**63, 10**30, 10**400]),
    lambda rng: rng.choice([0.5, -1.5, 1e300, 1e-300, float("inf"), float("nan")]),
    lambda rng: rng.choice(["", "x", "a" * 100_000, "\ud800", "\0", "../..", "none", "knn"]),
    lambda rng: rng.choice([None, True, False, [], {}, [1] * 10_000, {"a": {"b": {}}}]),
    lambda rng: json.loads("[" * 400 + "]" * 400),
)
"""What a value in a JSON file is replaced by."""
CPU_SECONDS, SECONDS, MEGABYTES = 10, 600, 1000
"""What a command may take at most: of CPU time; from its start, on a machine that may be busy; and
memory more than before."""


def damage_json(value: Any, rng: random.Random) -> Any:
    """Replace, delete, rename or repeat something in a JSON value, at any depth."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.05:
        return rng.choice(VALUES)(rng)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key, action = rng.choice(keys), rng.random()
    if action < 0.1:
        del value[key]
    elif action < 0.2 and isinstance(value, dict):
        value[rng.choice([*keys, "x"])] = value[key]
    else:
        value[key] = damage_json(value[key], rng)
    return value


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, insert or repeat bytes."""
    changed, at = bytearray(data), rng.randrange(len(data) or 1)
    kind = rng.randrange(4)
    if kind == 0 and changed:
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del changed[at : at + rng.choice([1, 64, len(data)])]
    elif kind == 2:
        changed[at:at] = rng.randbytes(rng.randrange(1, 64))
    else:
        changed[at : at + 16] = b"\xff" * 16  # NaN, in any float type
    return bytes(changed)


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


def replace_file(path: Path, rng: random.Random) -> None:
    """Put something in a file's place that is no plain file, or is too large, or nothing."""
    path.unlink()
    kind = rng.choice(["nothing", "pipe", "folder", "zeros", "itself", "terabyte", "empty"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind in ("zeros", "itself"):
        path.symlink_to("/dev/zero" if kind == "zeros" else path)
    elif kind in ("terabyte", "empty"):
        with path.open("wb") as file:
            file.truncate(2**40 if kind == "terabyte" else 0)


def damage(folder: Path, rng: random.Random) -> Path:
    """Damage one file of a run folder; returns which."""
    files = [folder / name for name in ("config.json", "vocabulary.json", "metrics.jsonl")]
    path = rng.choice([*files, *files[:1], *sorted((folder / "checkpoints").iterdir())])
    kind = rng.random()
    if kind < 0.1:
        replace_file(path, rng)
    elif kind < 0.4:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
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
        result = CliRunner().invoke(cli, arguments)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    assert grown < MEGABYTES, f"{grown:.0f} MB more than before"
    if result.exit_code == 0:
        return "good"
    if not isinstance(result.exception, SystemExit):
        raise AssertionError(f"a traceback: {result.exception!r}") from result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 1, result.output
    assert len(lines) == 1, result.output
    return lines[0]


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
