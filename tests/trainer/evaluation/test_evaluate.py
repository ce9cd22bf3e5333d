import json

import pytest
from click.testing import CliRunner

from shards import open_dataset
from shards.vocabulary import CodecSettings, Vocabulary
from shards.writer import write_json
from tests.trainer.cli.test_cli import QUICK
from trainer.cli import cli
from trainer.evaluation import plot
from trainer.evaluation.held_out import open_runs
from trainer.run.folder import open_run


@pytest.fixture(scope="module")
def runs(dataset_folder, tmp_path_factory):
    """Two runs of four steps, one with a memory and one without."""
    folder = tmp_path_factory.mktemp("runs")
    for name, memory in (("with", 8), ("without", 0)):
        arguments = ["fit", str(dataset_folder), "--run", str(folder / name), *QUICK]
        result = CliRunner().invoke(cli, [*arguments, f"--set=memory={memory}"])
        assert result.exit_code == 0, result.output
    return folder / "with", folder / "without"


def call(*arguments):
    return CliRunner().invoke(
        cli, ["evaluate", *map(str, arguments), "--device=cpu", "--overwrite"]
    )


def test_runs_are_compared_in_a_table_json_files_and_a_plot(runs):
    result = call(*runs, "--split=valid")
    assert result.exit_code == 0, result.output
    found = [json.loads((run / "evaluation" / "valid.json").read_text()) for run in runs]
    assert [*found[0]["by"]["memory"]] == ["0", "8"]
    assert [*found[1]["by"]["memory"]] == ["0"]
    for one in found:
        loss = one["overall"]["loss"]
        assert loss["low"] is None
        assert f"{loss['mean']:.3f} (2 of 8 songs)" in result.stdout
        assert one["step"] == 4
        assert one["songs"] == 2
    assert "too few songs for an interval (2 of at least 8)" in result.stdout
    lines = result.stdout.splitlines()
    assert any(line.split() == ["with", "without"] for line in lines)
    assert (runs[0] / "evaluation" / "valid.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_six_breakdowns_has_room_for_its_legend(tmp_path):
    row = {"mean": 1.0, "low": None, "high": None, "count": 9, "songs": 1}
    titles = ("memory", "dynamic", "token", "position", "family", "meter")
    result = {"run": "r", "overall": {"loss": row}, "by": {title: {"0": row} for title in titles}}
    plot.save([result], tmp_path / "x.png")  # a warning, which is an error here, if it has not


def test_json_is_a_list_of_what_the_files_hold_and_nothing_else(runs):
    result = call(*runs, "--split=valid", "--json", "-q")
    files = [json.loads((run / "evaluation" / "valid.json").read_text()) for run in runs]
    assert (json.loads(result.stdout), result.stderr) == (files, "")


def test_the_loss_is_close_to_the_validation_loss_of_training(runs):
    """Not equal: validation joins songs within a block, evaluation starts each in a new block."""
    assert call(runs[0], "--split=valid").exit_code == 0
    found = json.loads((runs[0] / "evaluation" / "valid.json").read_text())
    lines = (runs[0] / "metrics.jsonl").read_text().splitlines()
    valid = [line for line in map(json.loads, lines) if line["split"] == "valid"]
    assert found["overall"]["loss"]["mean"] == pytest.approx(valid[-1]["loss_nats"], rel=0.01)


def test_without_a_dataset_the_first_runs_own_is_opened(runs, dataset_folder):
    for paths in ([*runs], [dataset_folder, *runs], [*runs, dataset_folder.parent]):
        opened, dataset = open_runs(paths)
        assert [run.path for run in opened] == [*runs]
        assert dataset.path == dataset_folder


def test_wrong_paths_are_refused_in_one_line(runs, dataset_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    cases = {
        "none of these is a run folder": [dataset_folder],
        "is the dataset": [runs[0], dataset_folder, dataset_folder],
        "no such folder": [runs[0], tmp_path / "no"],
        "holds no dataset": [runs[0], other],
        "no songs in its test split": [runs[0]],
    }
    for message, paths in cases.items():
        result = call(*paths)
        assert result.exit_code == 1
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_run_with_another_vocabulary_is_refused(runs, dataset_folder, tmp_path):
    other = tmp_path / "run"
    other.mkdir()
    vocabulary = Vocabulary(CodecSettings(percussion="gm"))
    config = json.loads((runs[0] / "config.json").read_text())
    config["model"] |= {
        "vocab_size": len(vocabulary),
        "instrument_classes": vocabulary.instruments,
        "max_bar_steps": vocabulary.max_bar_steps,
    }
    write_json(other / "config.json", config)
    write_json(other / "vocabulary.json", vocabulary.to_json())
    result = call(other, dataset_folder)
    assert result.exit_code == 1
    assert open_dataset(dataset_folder).vocabulary.fingerprint in result.stderr
    assert open_run(other).vocabulary.fingerprint in result.stderr


def test_a_run_with_a_knn_memory_is_also_scored_without_it(runs, dataset_folder, tmp_path):
    options = [*QUICK, "--set=memory=8", "--set=knn=true"]
    made = CliRunner().invoke(cli, ["fit", str(dataset_folder), "--run", str(tmp_path), *options])
    assert made.exit_code == 0, made.output
    result = call(runs[1], tmp_path, "--split=valid")
    assert result.exit_code == 0, result.output
    plain, knn = (
        json.loads((run / "evaluation" / "valid.json").read_text()) for run in (runs[1], tmp_path)
    )
    assert "knn" not in plain["by"]
    rows = knn["by"]["knn"]
    assert rows["with"] == knn["overall"]["loss"] == knn["by"]["memory"]["8"]
    assert rows["without"]["mean"] != rows["with"]["mean"]
    assert f"{rows['without']['mean']:.3f}" in result.stdout.split("without  ")[-1]


def test_eight_songs_are_enough_for_intervals(runs, make_songs, make_dataset, tmp_path):
    dataset = make_dataset(tmp_path / "eight", make_songs([40] * 9), ("train",) + ("test",) * 8)
    result = call(runs[1], dataset)
    assert result.exit_code == 0, result.output
    loss = json.loads((runs[1] / "evaluation" / "test.json").read_text())["overall"]["loss"]
    assert loss["low"] < loss["mean"] < loss["high"]
    assert f"{loss['mean']:.3f} ({loss['low']:.2f}-{loss['high']:.2f})" in result.stdout
