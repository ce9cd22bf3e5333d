"""Datasets from somebody else: whatever they hold, each command ends with one line."""

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from benchmarks.correctness.hostile_datasets import check_case, state_checksums
from pipeline.cli import cli
from pipeline.config import IngestSettings
from shards import ShardError, open_dataset
from shards.layout import INDEX, LEDGER, MANIFEST, REPORT
from shards.reader import decode_song
from tests.pipeline.conftest import SETTINGS
from trainer.cli import cli as trainer


def sliced(files):
    """The settings of the tests, with slices of so many files."""
    return dataclasses.replace(SETTINGS, ingest=IngestSettings(slice_files=files))


@pytest.fixture
def copy(dataset, tmp_path):
    """A copy of the dataset that a test may change."""
    return shutil.copytree(dataset.path, tmp_path / "lakh")


def error_of(group, *words):
    """The line on stderr with which a command ends; None where it works."""
    result = CliRunner().invoke(group, [str(word) for word in words])
    assert isinstance(result.exception, SystemExit | None), result.exception
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == (result.exit_code == 1)
    return errors[0] if errors else None


def put(column, value, file=INDEX):
    """Write another value into the first row of a column of a table."""

    def change(folder):
        with pa.memory_map(str(folder / file)) as source:
            table = pa.ipc.open_file(source).read_all()
        rows = table.to_pylist()
        rows[0][column] = value
        write_table(folder / file, pa.Table.from_pylist(rows, table.schema))

    return change


def write_table(path, table, **options):
    path.unlink()
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)


def set_values(kind, place, value):
    """Write another value into an array of the first shard."""

    def change(folder):
        path = folder / f"{kind}-00000.npy"
        values = np.load(path)
        values[place] = value
        np.save(path, values)

    return change


def manifest(change_it):
    """Change the contents of a manifest."""

    def change(folder):
        stated = json.loads((folder / MANIFEST).read_text())
        change_it(stated)
        (folder / MANIFEST).write_text(json.dumps(stated))

    return change


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


LIES = {
    "null": (put("start", None), "index.arrow is damaged (start is null at song 0)"),
    "negative": (put("start", -5), "song 0: its start is not"),
    "backwards": (put("stop", 0), "song 0: its stop is not behind its start"),
    "overlong": (put("stop", 2**62), "start"),
    "shard": (put("shard", -1), "its shard is negative"),
    "length": (put("tokens", 2**31 - 1), "its tokens are not stop - start"),
    "split": (put("split", "training"), "its split is none of train, valid, test"),
    "cluster": (put("cluster", -1), "its cluster is not in"),
    "large-cluster": (put("cluster", 2**31 - 1), "its cluster is not in"),
    "representative": (put("representative", None), "representative is null"),
    "unrepresented": (put("representative", False), "has no representative"),
    "program": (put("programs", [200]), "programs holds"),
    "program-null": (put("programs", [None]), "programs holds"),
    "silences": (put("silences", [(-1, 3)]), "silences holds"),
    "duplicate": (put("duplicate", "maybe"), "a duplicate is none of"),
    "no-manifest-key": (manifest(lambda m: m.pop("counts")), "it lacks 'counts'"),
    "list-for-object": (manifest(lambda m: m.update(files=[])), "files is a list"),
    "negative-count": (manifest(lambda m: m["counts"].update(songs=-1)), "counts.songs is -1"),
    "path-for-name": (manifest(lambda m: m["files"].update({"../x": ""})), "files names '../x'"),
    "setting": (manifest(lambda m: m["settings"].update(split=[])), "settings.split is a list"),
    "vocabulary": (manifest(lambda m: m.update(vocabulary_fingerprint="0")), "has fingerprint"),
    "deep": (write(MANIFEST, "[" * 100_000 + "]" * 100_000), "nested deeper"),
    "large": (write(MANIFEST, " " * (1 << 24) + "1"), "expected at most"),
    "surrogate": (manifest(lambda m: m.update({"\ud800": 1})), "unknown"),
}
SONG_LIES = {
    "token": (set_values("tokens", 50, 60_000), "tokens[50] is 60000"),
    "unused-token": (set_values("tokens", 50, 670), "tokens[50] is 670"),
    "instrument": (set_values("instruments", slice(10, 12), 254), "is 254"),
    "drum-as-program": (set_values("instruments", slice(None), 140), "is 140"),
    "program-as-drum": (set_values("instruments", slice(None), 40), "is 40"),
    "no-instrument": (set_values("instruments", slice(None), 255), "is 255"),
    "velocity": (set_values("velocities", slice(None), 32), "is 32"),
    "no-velocity": (set_values("velocities", slice(None), 255), "is 255"),
    "step": (set_values("steps", slice(None), 400), "steps[0] is 400"),
}


@pytest.mark.parametrize("name", [INDEX, LEDGER, REPORT, "report.html", "tokens-00000.npy"])
def test_a_sparse_terabyte_is_named_and_not_read(copy, name):
    os.truncate(copy / name, 2**40)
    for command in ("verify", "report", "audit"):
        before = time.process_time()
        result = CliRunner().invoke(cli, [command, str(copy)])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert time.process_time() - before < 10
        assert command != "verify" or "1,099,511,627,776 bytes" in result.output


@pytest.mark.parametrize("name", [*LIES, *SONG_LIES])
def test_a_lie_is_named_by_verify_and_never_trained_on(copy, tmp_path, name):
    lie, words = (LIES | SONG_LIES)[name]
    lie(copy)
    for restate in (False, True):
        if restate:
            for path in copy.iterdir():
                state_checksums(copy, path)
        result = CliRunner().invoke(cli, ["verify", str(copy)])
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert not restate or words in result.output
    for group, *command in (
        (trainer, "fit", copy, "--run", tmp_path / "run", "--set", "batch_size=2"),
        (cli, "show", copy, 0),
        (cli, "audit", copy),
    ):
        assert words in (error_of(group, *command) or "")
    assert not (tmp_path / "run").exists()
    assert (error_of(cli, "report", copy) is None) == (name in SONG_LIES)


def test_a_song_that_breaks_the_grammar_is_named(copy):
    set_values("tokens", 0, 2)(copy)
    broken = open_dataset(copy)
    with pytest.raises(ShardError, match=r"song 0 is damaged .*open with <sos>"):
        decode_song(broken, 0)
    for command in ("render", copy, 0, "-o", copy / "song.mid"), ("audit", copy):
        assert "song 0 is damaged" in (error_of(cli, *command) or "")


def test_a_missing_ledger_stops_only_those_who_read_it(copy):
    (copy / LEDGER).unlink()
    assert error_of(cli, "report", copy) is None
    assert error_of(cli, "audit", copy) is None
    for command in ("show", copy, 0), ("verify", copy):
        assert error_of(cli, *command)


@pytest.mark.parametrize("song", [None, 1, 2**31 - 1])
def test_a_ledger_that_does_not_belong_to_the_index_is_refused(copy, song):
    put("song", song, LEDGER)(copy)
    assert "does not name" in (error_of(cli, "show", copy, 0) or "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda report: report.pop("funnel"), "lacks 'funnel'"),
        (lambda report: report.update(funnel=[]), "funnel does not have the stages"),
        (lambda report: report["totals"].pop("train"), "totals lacks 'train'"),
        (lambda report: report["totals"]["train"].update(songs=None), "totals.train.songs is None"),
        (lambda report: report["funnel"][1].update(files=10**18), "more files"),
        (lambda report: report["silence"].update(hours=float("nan")), "silence.hours is nan"),
    ],
)
def test_a_report_that_lies_is_refused(copy, change, words):
    report = json.loads((copy / REPORT).read_text())
    change(report)
    (copy / REPORT).write_text(json.dumps(report))
    state_checksums(copy, copy / REPORT)
    for command in ("report", "what-if", "verify"):
        assert words in (error_of(cli, command, copy) or "")


@pytest.mark.parametrize("name", [MANIFEST, INDEX, LEDGER, "tokens-00000.npy"])
@pytest.mark.parametrize(
    "put_there",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.name),
    ],
    ids=["pipe", "folder", "device", "circle"],
)
def test_only_plain_files_are_opened(copy, name, put_there):
    (copy / name).unlink()
    put_there(copy / name)
    for command in ("verify", copy), ("show", copy, 0):
        assert error_of(cli, *command)


class Payload:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array.astype(np.uint32),
        lambda array: array.astype(">u2"),
        lambda array: array[:-1],
        lambda array: array[None],
        lambda array: np.asfortranarray(np.stack([array, array])),
        lambda array: np.array([Payload()] * len(array), object),
    ],
    ids=["type", "byte order", "length", "dimensions", "order", "objects"],
)
def test_an_array_whose_header_is_another_is_not_read(copy, change):
    path = copy / "tokens-00000.npy"
    array = change(np.load(path))
    np.save(path, array, allow_pickle=True)
    assert b"abort" in pickle.dumps(Payload())
    with pytest.raises(ShardError, match=r"tokens-00000\.npy holds"):
        open_dataset(copy).song(0)


def test_a_table_is_refused_that_is_compressed_or_has_a_long_header(copy):
    with pa.memory_map(str(copy / INDEX)) as source:
        table = pa.ipc.open_file(source).read_all()
    write_table(copy / INDEX, table, compression="zstd")
    with pytest.raises(ShardError, match="is compressed"):
        open_dataset(copy)
    write_table(copy / INDEX, table.replace_schema_metadata({"x": "y" * (1 << 20)}))
    with pytest.raises(ShardError, match="has a header of"):
        open_dataset(copy)
    write_table(copy / INDEX, table.drop_columns(["path"]))
    with pytest.raises(ShardError, match="has other columns"):
        open_dataset(copy)


def test_a_dataset_that_was_replaced_while_it_was_open_is_not_read_on(copy, dataset):
    opened = open_dataset(copy)
    first = opened[0]
    shutil.rmtree(copy)
    shutil.copytree(dataset.path, copy)
    assert first == opened[0] == dataset[0]  # the map stays
    for read in (lambda: opened[-1], opened.ledger):
        with pytest.raises(ShardError, match="was replaced while it was open"):
            read()


def test_a_dataset_may_have_more_files_than_a_process_may_open(demo, build):
    """The arrays of 40 shards, read by a process that may open 64 files."""
    many = build(demo[0], sliced(1))
    assert len(many.manifest["files"]) > 200
    code = """if True:
        import resource, sys
        from shards import open_dataset
        from shards.verify import verify
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        songs = list(open_dataset(sys.argv[1]))
        assert list(verify(sys.argv[1])) == []
        print(sum(map(len, songs)))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(many.path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == sum(map(len, many))


@pytest.mark.parametrize("seed", range(5))
def test_no_change_of_a_dataset_ends_in_a_traceback(few, tmp_path, seed):
    for case in range(40):
        assert check_case(few, tmp_path / "case", seed, case)[2] < 10


@pytest.fixture(scope="module")
def few(demo, build, tmp_path_factory):
    """A dataset of four songs, in two shards."""
    folder = tmp_path_factory.mktemp("few")
    for path in sorted(path for path in demo[0].rglob("*.mid") if path.stat().st_size > 4000)[:4]:
        shutil.copy(path, folder / path.name)
    return build(folder, sliced(2)).path


def test_a_dataset_is_a_sequence_of_songs(dataset):
    songs = list(dataset)
    assert len(songs) == len(dataset)
    assert dataset[0] == songs[0]
    assert dataset[-1] == songs[-1]
    assert dataset[1:9:3] == songs[1:9:3]
    for number in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match=f"song {number} of {len(dataset)}"):
            dataset[number]
    tokens = dataset.manifest["counts"]["tokens"]
    assert repr(dataset) == (
        f"<Dataset {str(dataset.path)!r}: {len(dataset):,} songs, {tokens:,} tokens>"
    )
