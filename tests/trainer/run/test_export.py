import json
import re

import pytest
import torch
from click.testing import CliRunner

import trainer
from shards.errors import LakhxlError
from tests.trainer.cli.test_cli import QUICK
from trainer.cli import cli
from trainer.run import checkpoint
from trainer.run.folder import open_run


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(dataset_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = CliRunner().invoke(cli, ["fit", str(dataset_folder), "--run", str(folder), *QUICK])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    result = CliRunner().invoke(cli, ["export", str(run), str(folder), "--license", "mit"])
    assert result.exit_code == 0, result.output
    return folder


def test_what_is_exported_is_all_that_others_need(exported):
    assert files(exported) == {
        "README.md",
        "config.json",
        "vocabulary.json",
        "checkpoints/best.safetensors",
        "sample.mid",
    }
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert "| loss |" in card


def test_a_license_of_any_words_is_one_value_of_the_card(run, tmp_path):
    words = 'mine: ask "me" # first'
    result = CliRunner().invoke(
        cli, ["export", str(run), str(tmp_path / "model"), "--license", words, "--no-sample"]
    )
    assert result.exit_code == 0, result.output
    _, line, *_ = (tmp_path / "model" / "README.md").read_text().splitlines()
    assert json.loads(line.removeprefix("license: ")) == words


def test_no_path_of_this_machine_is_exported(exported, run, dataset_folder):
    for path in exported.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for place in (run.parent, dataset_folder, exported.parent):
                assert str(place).encode() not in content, path


def test_an_exported_model_has_the_runs_weights_and_writes_its_songs(exported, run):
    wanted, _ = checkpoint.load(open_run(run).best_checkpoint(), prefix="model.")
    found, _ = checkpoint.load(exported / "checkpoints" / "best.safetensors")
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    songs = [trainer.load(each).generate(bars=2, seed=3)[0] for each in (exported, run)]
    assert songs[0] == songs[1]


def test_weights_can_be_stored_in_half_the_bytes(run, tmp_path):
    words = ["export", str(run), str(tmp_path / "half"), "--dtype", "bfloat16", "--no-sample"]
    assert CliRunner().invoke(cli, words).exit_code == 0
    found, _ = checkpoint.load(tmp_path / "half" / "checkpoints" / "best.safetensors")
    assert {tensor.dtype for tensor in found.values()} == {torch.bfloat16}
    network = trainer.load(tmp_path / "half").network
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_the_python_of_the_card_writes_a_song(exported, tmp_path, monkeypatch):
    card = (exported / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(exported.parent)
    exec(compile(code.replace("bars=16", "bars=1"), "card", "exec"), {})
    assert (exported.parent / "song.mid").stat().st_size > 0


def test_an_exported_model_says_that_it_has_no_dataset(exported, run, dataset_folder):
    with pytest.raises(LakhxlError, match="exported without its dataset: name it as DATASET"):
        open_run(exported).find_dataset()
    result = CliRunner().invoke(cli, ["evaluate", str(exported)])
    assert result.exit_code == 1
    assert "name it as DATASET" in result.output


def test_a_folder_that_is_not_empty_is_not_written_to(exported, run, tmp_path):
    (tmp_path / "file").touch()
    for folder in (exported, tmp_path, tmp_path / "file"):
        result = CliRunner().invoke(cli, ["export", str(run), str(folder)])
        assert result.exit_code == 1
        assert "is not an empty folder: name another FOLDER" in result.output
    assert "path" not in json.loads((exported / "config.json").read_text())["dataset"]
