"""Training and evaluation on the songs that meet an SQL condition."""

import json
import shutil

import pyarrow as pa
import pytest
from click.testing import CliRunner

from shards import layout, open_dataset, writer
from shards.errors import LakhxlError
from tests.trainer.cli.test_cli import QUICK
from trainer.cli import cli
from trainer.data.selection import select

WHERE = "notes >= 3 and meter = '4/4'"


def with_columns(dataset_folder, folder, **columns):
    """A copy of the dataset on disk, with some index columns filled in."""
    shutil.copytree(dataset_folder, folder)
    index = open_dataset(folder).index
    for name, values in columns.items():
        column = layout.INDEX_SCHEMA.get_field_index(name)
        field = layout.INDEX_SCHEMA.field(name)
        index = index.set_column(column, field, pa.array(values, field.type))
    writer.write_table(folder / layout.INDEX, index.cast(layout.INDEX_SCHEMA))
    return folder


@pytest.fixture(scope="module")
def folder(dataset_folder, tmp_path_factory):
    """Six songs for training and two for validation; every second one meets the condition."""
    return with_columns(
        dataset_folder,
        tmp_path_factory.mktemp("data") / "little",
        notes=range(8),
        meter=["3/4", "4/4"] * 4,
    )


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """A run on the songs that meet the condition, and one on all."""
    runs = tmp_path_factory.mktemp("runs")
    for name, where in (("some", ["--where", WHERE]), ("all", [])):
        result = call("fit", folder, "--run", runs / name, *QUICK, "--set=batch_size=1", *where)
        assert result.exit_code == 0, result.output
    return runs / "some", runs / "all"


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_condition_selects_songs_of_a_split(folder):
    dataset = open_dataset(folder)
    assert select(dataset, "train").tolist() == [0, 1, 2, 3, 4, 5]
    assert select(dataset, "train", WHERE).tolist() == [3, 5]
    assert select(dataset, "valid", WHERE).tolist() == [7]
    assert select(dataset, "train", "notes < 2 -- and more").tolist() == [0, 1]


def test_a_song_with_an_unknown_value_does_not_meet_the_condition(folder):
    assert select(open_dataset(folder), "train", "pitch_low >= 0 or pitch_low < 0").tolist() == []


@pytest.mark.parametrize(
    "where",
    [
        "note > 3",
        "notes >",
        "",
        "true) union (select 1",
        "true); select (1",
        "exists (select * from read_text('/etc/hostname'))",
        "notes / 'x' > 1",
    ],
)
def test_an_invalid_condition_is_refused_in_one_line(folder, where):
    with pytest.raises(LakhxlError, match=r"^--where ") as refused:
        select(open_dataset(folder), "train", where)
    assert "\n" not in str(refused.value)


def test_resuming_is_refused_if_the_condition_selects_other_songs(folder, runs, tmp_path):
    resume = ("--run", runs[0], "--resume", "--steps=5")
    changed = with_columns(folder, tmp_path / "little", notes=[*range(5), 0, 6, 7])
    result = call("fit", changed, *resume)
    assert result.exit_code == 1
    assert "is not the dataset of" in result.stderr
    assert call("fit", changed, "--run", runs[1], "--resume", "--steps=5").exit_code == 0


def test_a_run_is_evaluated_on_songs_that_meet_its_own_condition(runs):
    for run, arguments, where, songs in (
        (runs[0], [], WHERE, 1),
        (runs[0], ["--where=true"], "true", 2),
        (runs[1], [], None, 2),
        (runs[1], ["--where", WHERE], WHERE, 1),
    ):
        result = call("evaluate", run, "--split=valid", "--device=cpu", "--overwrite", *arguments)
        assert result.exit_code == 0, result.output
        found = json.loads((run / "evaluation" / "valid.json").read_text())
        assert (found["where"], found["songs"]) == (where, songs)
        assert (f"valid where {where}: " if where else "valid: ") in result.stdout


def test_runs_with_different_conditions_are_compared_only_with_where(runs):
    result = call("evaluate", *runs, "--split=valid", "--device=cpu", "--overwrite")
    assert result.exit_code == 1
    assert "trained with different --where" in result.stderr
    result = call(
        "evaluate", *runs, "--split=valid", "--device=cpu", "--overwrite", "--where=notes = 9"
    )
    assert result.exit_code == 1
    assert "no songs in its valid split that fit --where 'notes = 9'" in result.stderr
