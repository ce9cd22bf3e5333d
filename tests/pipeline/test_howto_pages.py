"""How-to pages whose examples print what they show."""

import doctest
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli as pipeline_cli
from shards import open_dataset
from shards.settings_file import read_settings
from trainer.cli import cli as trainer_cli
from trainer.config import Config, ModelConfig, TrainConfig, for_dataset, override
from trainer.presets import preset
from trainer.run.folder import create_run

PAGES = Path(__file__).parents[2] / "docs/howto"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (PAGES / page).read_text(), re.M | re.S)


@pytest.fixture
def demo_folder(demo, dataset, tmp_path, monkeypatch):
    """The current folder holds demo/midi and demo/shards, as after the pages' commands."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(demo[0], "demo/midi")
    shutil.copytree(dataset.path, "demo/shards/lakh")


@pytest.mark.usefixtures("demo_folder")
def test_the_examples_in_python_print_what_the_page_shows():
    dataset = open_dataset("demo/shards")
    config = for_dataset(override(preset("tiny"), ["steps=320"]), dataset)
    create_run(Path("demo/runs/tiny"), config, dataset)
    code = "\n".join(blocks("python.md", "pycon"))
    examples = doctest.DocTestParser().get_doctest(code, {}, "python.md", "python.md", 0)
    printed = []
    result = doctest.DocTestRunner().run(examples, out=printed.append)
    assert result.attempted > 20
    assert result.failed == 0, "".join(printed)


@pytest.mark.usefixtures("demo_folder")
def test_the_commands_print_what_the_page_shows():
    def stdout(*words):
        return CliRunner().invoke(pipeline_cli, words).stdout

    (shown,) = blocks("command-line.md", "json")
    found = json.loads(stdout("verify", "demo/shards", "--json"))
    assert json.loads(shown) == {**found, "files": 10}  # here the slices are smaller
    assert stdout("show", "demo/shards", "twelve notes") in blocks("command-line.md", "text")


def test_the_settings_file_is_one(tmp_path):
    (tmp_path / "mine.toml").write_text(blocks("command-line.md", "toml")[0])
    read_settings(tmp_path / "mine.toml", {"model": ModelConfig, "train": TrainConfig})
    assert override(Config(), [], tmp_path / "mine.toml").model.layers == 10


@pytest.mark.parametrize(("program", "cli"), [("pipeline", pipeline_cli), ("trainer", trainer_cli)])
def test_the_shells_get_a_completion(program, cli):
    variable = f"_{program.upper()}_COMPLETE"
    assert f'eval "$({variable}=bash_source {program})"' in (PAGES / "command-line.md").read_text()
    result = CliRunner().invoke(cli, prog_name=program, env={variable: "bash_source"})
    assert f"complete -o nosort -F _{program}_completion {program}" in result.stdout
