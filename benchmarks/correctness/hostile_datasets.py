"""Datasets changed at random: what do the commands say, and verify?"""

import json
import os
import random
import resource
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import torch
from tqdm import tqdm

from benchmarks.arguments import Measurement
from benchmarks.correctness.damage import VALUES, damage_json, error_of, mutated, put_instead
from pipeline.cli import cli
from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from shards import LakhxlError, open_dataset
from shards.layout import ARRAYS, INDEX, LEDGER, MANIFEST, REPORT, VOCABULARY
from shards.verify import MAX_FILE_BYTES
from shards.vocabulary import VELOCITY_BINS
from shards.writer import checksum, json_text, manifest_checksum
from trainer.data.batches import Blocks, one_epoch
from trainer.data.sampler import ContiguousBatchSampler
from trainer.training.unigram_baseline import unigram_baseline

MOST_SECONDS = 10
MOST_MEBIBYTES = 300
"""A case may take this much processor time, which other programs do not lengthen; and all cases
may add this much memory."""
COMMANDS = (
    ("report",),
    ("what-if",),
    ("audit",),
    ("show", "0"),
)


def change_bytes(folder: Path, rng: random.Random) -> Path:
    """Flip, cut, insert or delete bytes of any file."""
    path = rng.choice(sorted(folder.iterdir()))
    return replace(path, mutated(path.read_bytes(), rng))


def change_json(folder: Path, rng: random.Random) -> Path:
    """Replace, delete, rename or repeat something in a JSON file."""
    path = folder / rng.choice([MANIFEST, VOCABULARY, REPORT])
    return replace(path, json.dumps(damage_json(json.loads(path.read_text()), rng)).encode())


def change_table(folder: Path, rng: random.Random) -> Path:
    """Give one column of a table another value in some rows, another type, or drop it."""
    path = folder / rng.choice([INDEX, INDEX, LEDGER])
    table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    name = rng.choice(table.column_names)
    column, kind = table[name].to_pylist(), table.schema.field(name).type
    rows = range(len(column)) if rng.random() < 0.3 else [rng.randrange(len(column))]
    value = rng.choice([*VALUES, *column])
    if pa.types.is_map(kind) and value == [None]:
        value = None  # pyarrow ends the process as it makes such a map; reading one is an error
    for row in rows:
        column[row] = value
    options = {}
    try:
        changed = table.set_column(table.column_names.index(name), name, [pa.array(column, kind)])
    except (pa.ArrowException, OverflowError, TypeError, ValueError):  # not a value of this type
        changed = table.drop_columns([name])
        if rng.random() < 0.5:
            changed = table.replace_schema_metadata({"x": "y" * rng.choice([1, 1 << 21])})
        elif rng.random() < 0.5:
            changed, options = table, {"options": pa.ipc.IpcWriteOptions(compression="zstd")}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, changed.schema, **options) as writer:
        writer.write_table(changed)
    return replace(path, sink.getvalue().to_pybytes())


def change_array(folder: Path, rng: random.Random) -> Path:
    """Change values, type, order or length of one array of a shard."""
    path = rng.choice(sorted(folder.glob(f"{rng.choice(ARRAYS)}-*.npy")))
    array = np.load(path)
    at = rng.randrange(len(array))
    limit = np.iinfo(array.dtype).max + 1
    if (what := rng.random()) < 0.7:
        array[at : at + rng.choice([1, 2, 100])] = rng.choice(
            [0, VELOCITY_BINS, limit - 1, rng.randrange(limit)]
        )
    elif what < 0.8:
        array = array.astype(rng.choice(["<u4", ">u2", "<i2", "<f4", "S2", "<u2"]))
    else:
        array = [
            array[:at],
            np.append(array, array[:1]),
            array[None],
            np.zeros((4, 4), array.dtype, "F"),
        ][rng.randrange(4)]
    target = path.with_suffix(".new")
    with target.open("wb") as file:
        np.save(file, array)
    target.replace(path)
    return path


def change_files(folder: Path, rng: random.Random) -> Path:
    """Put something else where a file was."""
    path = rng.choice(sorted(folder.iterdir()))
    put_instead(path, rng)
    return path


CHANGES = (change_bytes, change_json, change_table, change_array, change_files)


def replace(path: Path, content: bytes) -> Path:
    """Write a file anew: the one before is a hard link to that of the sound dataset."""
    path.unlink()
    path.write_bytes(content)
    return path


def change(sound: Path, folder: Path, rng: random.Random) -> str:
    """Copy a dataset by links and change it; half of the time with matching checksums."""
    folder.mkdir()
    for path in sound.iterdir():
        os.link(path, folder / path.name)
    kind = rng.choice(CHANGES)
    changed = kind(folder, rng)
    if rng.random() < 0.5 and changed.is_file() and not changed.is_symlink():
        state_checksums(folder, changed)
    return kind.__name__


def state_checksums(folder: Path, changed: Path) -> None:
    """Write a manifest with the checksums of what is there, where it can be read in short time."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if changed.stat().st_size > MAX_FILE_BYTES:
            return
        if changed.name != MANIFEST:
            manifest["files"][changed.name] = checksum(changed)
        manifest["checksum"] = manifest_checksum(manifest)
        content = json_text(manifest).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return
    replace(folder / MANIFEST, content)


def train(folder: Path) -> None:
    """Read every song into batches, as a training does."""
    dataset = open_dataset(folder)
    numbers = np.arange(len(dataset))
    unigram_baseline(dataset, numbers, numbers)
    lengths = dataset.index["tokens"].to_numpy() - 1
    sampler = ContiguousBatchSampler(lengths, 2, block_size=256, mode="join", tail="drain", seed=0)
    vocabulary = dataset.vocabulary
    for batch in one_epoch(sampler, Blocks(dataset, numbers, 256), torch.device("cpu")):
        assert batch.tokens.max() < len(vocabulary)
        assert batch.instruments.max() <= vocabulary.instruments
        assert batch.steps.max() < vocabulary.max_bar_steps
        for targets, ids in (
            (batch.targets, len(vocabulary)),
            (batch.instrument_targets, vocabulary.instruments),
            (batch.velocity_targets, VELOCITY_BINS),
        ):
            assert targets is not None
            assert targets.max() < ids


def outcome(folder: Path) -> str:
    """Run every command on a dataset: `intact`, or what verify says.

    Raises:
        AssertionError: one stumbles over what verify does not find, or ends in a traceback.
    """
    rendered = ("render", "1", "-o", str(folder.with_name("song.mid")), "--overwrite")
    status = {
        name: error_of(cli, [name, str(folder), *words])
        for name, *words in (("verify",), *COMMANDS, rendered)
    }
    try:
        train(folder)
    except LakhxlError as error:
        status["train"] = str(error)
    stumbled = [name for name, error in status.items() if error]
    assert not stumbled or "verify" in stumbled, f"{stumbled} found what verify did not"
    return "found" if stumbled else "harmless"


def small_dataset(folder: Path) -> Path:
    """A dataset of a few songs of the demo."""
    compose_corpus(folder / "midi", DemoSettings(songs=8))
    settings = DataSettings(ingest=IngestSettings(slice_files=16))
    prepared = prepare([folder / "midi"], folder / "sound", settings, restart=False)
    return execute(prepared, PoolSettings(workers=1)).path


def check_case(sound: Path, folder: Path, seed: int, case: int) -> tuple[str, str, float]:
    """Change a copy of a dataset and run every command; depends on (seed, case) only.

    Returns:
        The kind of change, the outcome, and the seconds of processor time it took.
    """
    shutil.rmtree(folder, ignore_errors=True)
    kind = change(sound, folder, random.Random(f"{seed} {case}"))
    begin = time.process_time()
    try:
        found = outcome(folder)
    except Exception as error:
        raise AssertionError(f"seed {seed}, case {case}, {kind}: {error}") from error
    return kind, found, time.process_time() - begin


@click.command(cls=Measurement)
@click.option("--cases", default=1_000, show_default=True, help="Datasets to change.")
@click.option("--seed", default=0, show_default=True)
def command(cases: int, seed: int) -> None:
    """Change a small dataset at random and run every command on it.

    Bytes, JSON values, table cells, arrays and files are changed, half of them with checksums to
    match. A traceback, a case of more than 10 s of processor time, or a command that stumbles over
    what verify does not find, ends it.
    """
    outcomes, slowest = Counter(), 0.0
    with tempfile.TemporaryDirectory() as scratch:
        sound = small_dataset(Path(scratch))
        assert outcome(sound) == "harmless"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for case in tqdm(range(cases), unit="dataset", disable=None):
            kind, found, seconds = check_case(sound, Path(scratch) / "case", seed, case)
            assert seconds < MOST_SECONDS, f"seed {seed}, case {case}, {kind}: {seconds:.0f} s"
            outcomes[kind, found] += 1
            slowest = max(slowest, seconds)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert added < MOST_MEBIBYTES, f"{added:.0f} MiB more memory"
    print(f"{cases:,} changed datasets, seed {seed}: no traceback; slowest {slowest:.1f} s, "
          f"{added:.0f} MiB more memory")  # fmt: skip
    for (kind, found), count in sorted(outcomes.items()):
        print(f"  {kind:<14}{found:<10}{count:>7,}")
