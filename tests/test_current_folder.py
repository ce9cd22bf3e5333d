"""The commands in a folder of somebody else: nothing in it is imported, whatever it is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import numba_cache
from pipeline.demo import DemoSettings, compose_corpus
from shards.python_process import ROOT, child_environment

OURS = ("pipeline", "trainer", "shards", "benchmarks")
OTHERS = ("mido", "numpy", "torch", "click", "pathlib", "queue")
QUICK = ["--steps=2", "--set=batch_size=2", "--set=evaluate_batches=1", "--set=sample_bars=0"]
QUICK += ["--set=evaluate_whole_at_end=false"]
TINY = ["--set=layers=1", "--set=d_model=16", "--set=heads=2", "--set=memory=8"]


def called(folder: Path, package: str, *arguments: object, **variables: str) -> str:
    """What a command prints, run as by its console script: without the current folder's path."""
    return finished(folder, package, *arguments, **variables).stdout


def finished(
    folder: Path, package: str, *arguments: object, **variables: str
) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from {package}.cli import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *map(str, arguments)],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a corpus, a `shards/`, and modules that end every process importing them."""
    folder = tmp_path_factory.mktemp("a stranger's folder")
    for name in (*OURS, *OTHERS):
        (folder / f"{name}.py").write_text(f"import os; os._exit({len(name)})  # imported {name}")
    (folder / "shards").mkdir()
    compose_corpus(folder / "my midi", DemoSettings(songs=24))
    called(folder, "pipeline", "run", "my midi", "--name", "demo", "--workers=2")
    return folder


def test_the_workers_import_nothing_from_the_current_folder(folder):
    assert "is intact" in called(folder, "pipeline", "verify", "shards")


@pytest.fixture(scope="module")
def said(folder):
    """What a training by two processes prints."""
    ranks = ["--devices=2", "--device=cpu"]
    return called(folder, "trainer", "fit", "shards", "--run=a run", *ranks, *QUICK, *TINY)


@pytest.mark.usefixtures("said")
def test_nor_do_training_ranks_and_the_prompt_and_the_compiler_is_not_needed(folder):
    prompt = ["--prompt", next((folder / "my midi").rglob("001*.mid")), "--prompt-bars=4"]
    words = ["generate", "a run", "-o", "s.mid", "--bars=1", *prompt]
    imports = finished(folder, "trainer", *words, PYTHONPROFILEIMPORTTIME="1").stderr
    assert (folder / "s.mid").stat().st_size
    assert "torch.nn" in imports
    assert "torch._dynamo" not in imports  # which takes as long as all of torch


def test_python_m_skips_a_folder_called_shards(folder, tmp_path):
    (tmp_path / "shards").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "verify", str(folder / "shards")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert "is intact" in done.stdout, done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_that_lacks_letters_shows_others(folder, encoding):
    shown = called(folder, "pipeline", "report", "shards", PYTHONIOENCODING=encoding)
    assert "?" in shown or encoding == "ascii"  # click takes ASCII for a mistake: it writes UTF-8
    called(folder, "pipeline", "settings", PYTHONIOENCODING=encoding)
    called(folder, "trainer", "fit", "--help", PYTHONIOENCODING=encoding)


def test_hints_can_be_pasted_whatever_the_folder_is_called(said):
    assert "trainer generate 'a run' -o song.mid" in said
    assert "tensorboard --logdir 'a run'/tensorboard" in said


def test_a_child_finds_these_packages_and_the_users_own_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    assert child_environment() == {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join([ROOT, "/theirs"]),
    }


@pytest.fixture
def _no_place(monkeypatch, tmp_path):
    """Neither the installation nor the home folder can be written: a file is in the way."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(numba_cache.VARIABLE, "")  # so that it is put back afterwards
    monkeypatch.delenv(numba_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(numba_cache, "__file__", str(tmp_path / "file" / "module.py"))


@pytest.mark.usefixtures("_no_place")
def test_a_read_only_installation_compiles_into_a_folder_of_its_own():
    numba_cache.provide_cache()
    assert numba_cache.is_temporary()
    assert Path(os.environ[numba_cache.VARIABLE]).stat().st_mode & 0o077 == 0


def test_an_installation_that_can_be_written_keeps_numbas_own_cache(monkeypatch):
    monkeypatch.setenv(numba_cache.VARIABLE, "")  # so that it is put back afterwards
    monkeypatch.delenv(numba_cache.VARIABLE)
    numba_cache.provide_cache()
    assert numba_cache.VARIABLE not in os.environ
