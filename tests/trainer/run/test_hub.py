"""A model to the Hub and back, against a stand-in for the Hub's two functions."""

import shutil
import sys
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import pytest
from click.testing import CliRunner

import trainer
from shards.errors import LakhxlError
from tests.trainer.cli.test_cli import QUICK
from trainer.cli import cli
from trainer.run import hub


@pytest.fixture(scope="module")
def trained_run(dataset_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = CliRunner().invoke(cli, ["fit", str(dataset_folder), "--run", str(folder), *QUICK])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A folder that plays the Hub; what is uploaded to it can be downloaded."""
    folder = tmp_path / "repository"

    def upload_folder(*, repo_id, folder_path, allow_patterns):
        shutil.copytree(folder_path, folder)

    def snapshot_download(repo_id, *, revision, local_dir, allow_patterns):
        if repo_id != "me/little":
            raise huggingface_hub.errors.LocalEntryNotFoundError("no such model")
        files = [path for path in folder.rglob("*") if path.is_file()]
        for path in files:
            name = path.relative_to(folder)
            if str(name) in allow_patterns:
                (Path(local_dir) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, Path(local_dir) / name)

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(tmp_path / "cache"))
    return folder


def test_a_pushed_model_comes_back_and_nothing_else_is_fetched(trained_run, repository):
    model = trainer.load(trained_run)
    model.push_to_hub("me/little", license="cc0-1.0")
    assert "license: cc0-1.0" in (repository / "README.md").read_text()
    (repository / "evil.py").write_text("raise SystemExit")
    again = trainer.from_pretrained("me/little")
    assert not (again.run.path / "evil.py").exists()
    one, other = (each.generate(bars=1, seed=3)[0] for each in (model, again))
    assert one == other


def test_a_model_that_is_not_there_is_one_line(repository):
    with pytest.raises(LakhxlError, match=r"^you/none cannot be fetched \(no such model\)$"):
        trainer.from_pretrained("you/none")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(LakhxlError, match=r"pip install 'lakhxl\[hub\]'"):
        hub.download("me/little")
