"""Training and evaluation on the songs that a condition in SQL is true of."""

import json
import shutil

import pyarrow as pa
import pytest
from click.testing import CliRunner

from shards import layout, open_dataset, writer
from shards.errors import LakhxlError
from tests.trainer.cli.test_cli import QUICK
from trainer.cli.commands import cli
from trainer.data.selection import select

WHERE = "notes >= 3 and meter = '4/4'"


def with_columns(dataset_folder, folder, **columns):
    """A copy of the dataset on disk, with some columns of its index filled in."""
    shutil.copytree(dataset_folder, folder)
    index = open_dataset(folder).index
    for name, values in columns.items():
        place = layout.INDEX_SCHEMA.get_field_index(name)
        field = layout.INDEX_SCHEMA.field(name)
        index = index.set_column(place, field, pa.array(values, field.type))
    writer.write_table(folder / layout.INDEX, index.cast(layout.INDEX_SCHEMA))
    return folder


@pytest.fixture(scope="module")
def folder(dataset_folder, tmp_path_factory):
    """Six songs to train on and two to validate with; the condition is true of every second."""
    return with_columns(
        dataset_folder,
        tmp_path_factory.mktemp("data") / "little",
        notes=range(8),
        meter=["3/4", "4/4"] * 4,
    )


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """A run on the songs that fit the condition, and one on all."""
    runs = tmp_path_factory.mktemp("runs")
    for name, where in (("some", ["--where", WHERE]), ("all", [])):
        result = call("fit", folder, "--run", runs / name, *QUICK, "--set=batch_size=1", *where)
        assert result.exit_code == 0, result.output
    return runs / "some", runs / "all"


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_a_condition_picks_songs_of_a_split(folder):
    dataset = open_dataset(folder)
    assert select(dataset, "train").tolist() == [0, 1, 2, 3, 4, 5]
    assert select(dataset, "train", WHERE).tolist() == [3, 5]
    assert select(dataset, "valid", WHERE).tolist() == [7]
    assert select(dataset, "train", "notes < 2 -- and more").tolist() == [0, 1]


def test_what_is_unknown_of_a_song_is_not_true_of_it(folder):
    assert select(open_dataset(folder), "train", "bars >= 0 or bars < 0").tolist() == []


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
def test_what_is_no_condition_is_refused_in_one_line(folder, where):
    with pytest.raises(LakhxlError, match=r"^--where ") as refused:
        select(open_dataset(folder), "train", where)
    assert "\n" not in str(refused.value)


def test_resuming_is_refused_where_the_condition_picks_other_songs(folder, runs, tmp_path):
    resume = ("--run", runs[0], "--resume", "--steps=5")
    changed = with_columns(folder, tmp_path / "little", notes=[*range(5), 0, 6, 7])
    result = call("fit", changed, *resume)
    assert result.exit_code == 1
    assert "is not the dataset of" in result.stderr
    assert call("fit", changed, "--run", runs[1], "--resume", "--steps=5").exit_code == 0


def test_a_run_is_scored_on_songs_of_the_kind_it_was_trained_on(runs):
    for run, arguments, where, songs in (
        (runs[0], [], WHERE, 1),
        (runs[0], ["--where=true"], "true", 2),
        (runs[1], [], None, 2),
        (runs[1], ["--where", WHERE], WHERE, 1),
    ):
        result = call("evaluate", run, "--split=valid", "--device=cpu", *arguments)
        assert result.exit_code == 0, result.output
        found = json.loads((run / "evaluation" / "valid.json").read_text())
        assert (found["where"], found["songs"]) == (where, songs)
        assert (f"valid where {where}: " if where else "valid: ") in result.stdout


def test_runs_on_different_songs_are_not_compared_unasked(runs):
    result = call("evaluate", *runs, "--split=valid", "--device=cpu")
    assert result.exit_code == 1
    assert "trained with different --where" in result.stderr
    result = call("evaluate", *runs, "--split=valid", "--device=cpu", "--where=notes = 9")
    assert result.exit_code == 1
    assert "no songs in its valid split that fit --where 'notes = 9'" in result.stderr
