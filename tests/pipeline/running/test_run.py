"""Whole runs: the same bytes with any number of workers, and every file in the ledger."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.process_file import FileProcessor, encode_file
from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare, slice_length
from pipeline.running.run_lock import RunError
from pipeline.sources.listing import SourceFile, list_files
from shards.verify import verify
from tests.pipeline.conftest import SETTINGS
from tests.pipeline.running.processes import wait_until

ROOT = Path(__file__).parents[3]
MAX_SIZE = SETTINGS.ingest.max_file_size


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_one_worker_and_three_write_the_same_bytes(demo, dataset, build):
    alone = build(demo[0], workers=1)
    assert contents(alone.path) == contents(dataset.path)
    assert contents(build(demo[0], workers=3).path) == contents(dataset.path)


def test_every_file_is_one_ledger_row_and_every_kept_one_a_song(demo, dataset):
    ledger = dataset.ledger().to_pylist()
    assert [row["path"] for row in ledger] == [
        file.name for file in list_files([demo[0]], MAX_SIZE)
    ]
    kept = [row["path"] for row in ledger if row["outcome"] == "kept"]
    assert dataset.index["path"].to_pylist() == kept
    assert all((row["rule"] is None) == (row["outcome"] == "kept") for row in ledger)


def test_every_stored_song_is_what_its_file_encodes_to_by_itself(demo, dataset):
    for number, path in enumerate(dataset.index["path"].to_pylist()):
        assert encode_file(demo[0] / path, dataset.vocabulary) == dataset.song(number)


def test_a_finished_dataset_is_whole(dataset):
    assert list(verify(dataset.path)) == []


def test_stored_arrays_cannot_be_written_to(dataset):
    with pytest.raises(ValueError, match="read-only"):
        dataset.song(0).tokens[0] = 1


def test_no_cluster_crosses_a_split_and_each_has_a_representative(dataset):
    rows = dataset.index.select(["cluster", "split", "representative"]).to_pylist()
    for cluster in {row["cluster"] for row in rows}:
        members = [row for row in rows if row["cluster"] == cluster]
        assert len({row["split"] for row in members}) == 1
        assert any(row["representative"] for row in members)
    clusters = len({row["cluster"] for row in rows})
    assert dataset.manifest["counts"]["clusters"] == clusters < len(rows)


def test_ctrl_c_ends_the_run_and_says_how_to_resume_it(demo, tmp_path):
    command = [sys.executable, "-m", "pipeline", "run", str(demo[0]), "--out", str(tmp_path)]
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # under `nohup make test &`, the tests ignore SIGINT and their children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    plan = tmp_path / "lakh.partial" / "run.json"
    wait_until(plan.exists, "the plan is written", run=run)  # workers start a second later
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command resumes" in stderr
    assert "Traceback" not in stderr


def test_a_worker_that_nobody_goes_on_to_start_says_nothing():
    """Ctrl-C may come after a process was forked and before it is told what to do."""
    code = """if True:
        import os
        from multiprocessing.forkserver import _forkserver
        from pipeline.running.worker import start_server
        start_server()
        status, data = _forkserver.connect_to_new_process([])
        os.close(data)
        os.read(status, 8)  # its pid
        print(len(os.read(status, 8)))  # waits until it has ended
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_the_server_that_workers_are_forked_from_never_gets_ctrl_c():
    code = """if True:
        from multiprocessing.forkserver import _forkserver
        from pathlib import Path
        from pipeline.running.worker import start_server
        start_server()
        print(Path(f"/proc/{_forkserver._forkserver_pid}/status").read_text())
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    blocked = next(line for line in done.stdout.splitlines() if line.startswith("SigBlk"))
    assert int(blocked.split()[1], 16) & 1 << signal.SIGINT - 1


def test_other_settings_are_refused_by_name_until_restarted(demo, tmp_path):
    prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    other = DataSettings(ingest=IngestSettings(slice_files=8, round_trip_check=1.0))
    with pytest.raises(RunError, match=r"settings\.ingest\.slice_files was 16, is 8"):
        prepare([demo[0]], tmp_path / "lakh", other, restart=False)
    assert prepare([demo[0]], tmp_path / "lakh", other, restart=True).files > 40


def test_a_restart_removes_no_folder_that_is_not_a_dataset(demo, tmp_path):
    (tmp_path / "lakh").mkdir()
    (tmp_path / "lakh" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunError, match="is not a dataset"):
        prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=True)
    with pytest.raises(RunError, match="exists already"):
        prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)


def test_files_that_must_not_be_opened_are_ledger_rows(tmp_path):
    secret = tmp_path / "secret.mid"
    secret.write_bytes(b"MThd")
    folder = tmp_path / "midi"
    folder.mkdir()
    (folder / "link.mid").symlink_to(secret)
    os.mkfifo(folder / "pipe.MID")
    (folder / "huge.kar").write_bytes(b"x" * 100)
    processor = FileProcessor(DataSettings(ingest=IngestSettings(max_file_size=99)))
    rows = [processor.process(file).ledger for file in list_files([folder], MAX_SIZE)]
    assert [(row["path"], row["outcome"], row["rule"]) for row in rows] == [
        ("huge.kar", "refused", "too_large"),
        ("link.mid", "refused", "link"),
        ("pipe.MID", "refused", "not_a_file"),
    ]


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_a_link(path: Path) -> None:
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


def become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def shrink(path: Path) -> None:
    os.truncate(path, 10)


CHANGES = {
    Path.unlink: ("refused", "cannot_open"),
    become_a_folder: ("refused", "not_a_file"),
    become_a_link: ("refused", "link"),
    become_a_pipe: ("refused", "not_a_file"),
    shrink: ("unreadable", "not_midi"),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changes_under_the_run_is_its_own_row_and_no_other(demo, tmp_path, change):
    songs = [path for path in sorted(demo[0].rglob("*.mid")) if path.stat().st_size > 4000]
    for name, song in zip("abc", songs, strict=False):
        shutil.copy(song, tmp_path / f"{name}.mid")
    run = prepare([tmp_path], tmp_path / "out" / "lakh", SETTINGS, restart=False)
    change(tmp_path / "b.mid")
    made = execute(run, PoolSettings(workers=1))
    rows = {row["path"]: (row["outcome"], row["rule"]) for row in made.ledger().to_pylist()}
    assert rows == {"a.mid": ("kept", None), "b.mid": CHANGES[change], "c.mid": ("kept", None)}


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_an_archive_cut_short_under_the_run_gives_the_songs_before_the_cut(demo, tmp_path, suffix):
    kinds = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}
    archive = tmp_path / f"a.{suffix}"
    shutil.make_archive(str(tmp_path / "a"), kinds[suffix], demo[0])
    run = prepare([archive], tmp_path / "out" / "lakh", SETTINGS, restart=False)
    os.truncate(archive, archive.stat().st_size // 2)
    made = execute(run, PoolSettings(workers=2))
    rows = made.ledger().to_pylist()
    cut = [row["rule"] in ("cannot_read", "damaged_member") for row in rows]
    assert 0.2 < sum(cut) / len(cut) < 0.8
    assert [row["path"] for row in rows] == [file.name for file in _files(run)]


def _files(run) -> Iterator[SourceFile]:
    for slice_ in run.slices:
        yield from slice_.files()


def test_a_name_that_is_not_utf_8_is_read_and_escaped(tmp_path, demo):
    good = demo[0] / next(
        file.name for file in list_files([demo[0]], MAX_SIZE) if ".mid" in file.name
    )
    odd = os.fsencode(tmp_path) + b"/\xff.mid"
    Path(os.fsdecode(odd)).write_bytes(good.read_bytes())
    assert list(list_files([tmp_path], MAX_SIZE)) == [SourceFile("\\xff.mid", os.fsdecode(odd))]


def test_files_are_listed_by_name(tmp_path):
    for name in ("b.mid", "a/z.KAR", "a.mid", "B.rmi", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in list_files([tmp_path], MAX_SIZE)] == [
        "B.rmi",
        "a.mid",
        "a/z.KAR",
        "b.mid",
    ]


def test_a_corpus_without_a_kept_file_still_has_its_ledger(tmp_path, build):
    (tmp_path / "empty.mid").write_bytes(b"")
    nothing = build(tmp_path)
    assert len(nothing) == 0
    assert nothing.ledger()["outcome"].to_pylist() == ["unreadable"]
    assert list(verify(nothing.path)) == []


def test_more_songs_add_to_a_corpus_without_changing_any(demo, dataset, build, tmp_path):
    shutil.copytree(demo[0], tmp_path / "midi")
    compose_corpus(tmp_path / "midi" / "more", DemoSettings(songs=5, seed=98))
    larger = build(tmp_path / "midi")
    rows = {row["path"]: row for row in larger.index.to_pylist()}
    for row in dataset.index.to_pylist():
        assert rows[row["path"]]["tokens"] == row["tokens"]
        assert rows[row["path"]]["split"] == row["split"]


@given(st.integers(0, 10**7), st.integers(1, 5000))
def test_slices_are_as_long_as_asked_for_or_as_give_many_slices(files, most):
    length = slice_length(files, most)
    assert 1 <= length <= most
    assert length == most or length == 256 or files // length >= 128
