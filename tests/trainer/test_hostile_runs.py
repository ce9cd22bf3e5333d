"""A run folder from elsewhere ends in a good run or in one line, whatever is in it."""

import json
import os
import shutil

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from benchmarks.correctness.hostile_runs import make_run, outcome, try_case
from trainer.cli import cli
from trainer.run import checkpoint


@pytest.fixture(scope="module")
def sound(dataset_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "run"
    make_run(dataset_folder, folder)
    return folder


@pytest.fixture
def run(sound, tmp_path):
    """A copy of a sound run, to be damaged."""
    shutil.copytree(sound, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("first", range(0, 120, 30))
def test_a_damaged_run_folder_ends_in_a_good_run_or_in_one_line(
    sound, dataset_folder, tmp_path, monkeypatch, first
):
    # `evaluate` draws what it has measured, not what was damaged; `make fuzz` draws it too
    monkeypatch.setattr("trainer.evaluation.plot.save", lambda results, path: path.touch())
    found = [try_case(sound, dataset_folder, tmp_path, first + n)[1:] for n in range(30)]
    for command in ("generate", "compare", "fit", "evaluate"):  # none refuses, or takes, all
        outcomes = [outcome for name, outcome in found if name == command]
        assert 0 < outcomes.count("good") < len(outcomes), command


def generate(run):
    return outcome(["generate", str(run), "-o", f"{run}.mid", "--bars=1", "--tokens=9"])


def change_config(run, part, **values):
    path = run / "config.json"
    content = json.loads(path.read_text())
    content[part] |= values
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 10**9}, "layers is 1000000000; expected at most 1024"),
        ({"layers": 1000}, "lacks model.layers.1."),
        ({"d_model": 65_536}, "has model.embed.bar.weight as F32 (512, 16), but config.json exp"),
        ({"memory": 10**9}, "memory is 1000000000; expected at most 65536"),
        ({"window": 10**400}, "window has 1329 bits"),
        ({"vocab_size": 10**9}, "has vocab_size 1000000000"),
    ],
)
def test_sizes_are_held_against_the_checkpoint_before_anything_is_built(run, values, message):
    change_config(run, "model", **values)
    assert message in generate(run)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "checkpoints/best.safetensors"])
def test_a_named_pipe_in_a_file_s_place_is_not_waited_for(run, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    assert f"{name} is a named pipe; expected a plain file" in generate(run)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(run, value):
    rewrite(run, lambda tensor: tensor.fill_(value))
    assert "model.norm.weight is infinite or not a number" in generate(run)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (torch.Tensor.int, "I32 (16,)"),
        (torch.Tensor.double, "F64 (16,)"),
        (lambda tensor: tensor.view(4, 4), "F32 (4, 4)"),
    ],
)
def test_weights_that_cannot_be_converted_are_refused(run, change, found):
    rewrite(run, change)
    assert f"has model.norm.weight as {found}, but config.json expects F32 (16,)" in generate(run)


def rewrite(run, change):
    """Change the last norm's weights in the best checkpoint."""
    path = run / "checkpoints" / checkpoint.BEST
    tensors, state = checkpoint.load(path)
    tensors["model.norm.weight"] = change(tensors["model.norm.weight"])
    safetensors.torch.save_file(tensors, path, metadata={"state": json.dumps(state)})


def test_a_checkpoint_of_a_version_whose_memory_had_no_place_is_refused(run, dataset_folder):
    path = max((run / "checkpoints").glob("step-*"))
    tensors, state = checkpoint.load(path)
    del tensors["memory.place"]
    checkpoint.save(path, tensors, state)
    resume = ["fit", str(dataset_folder), "--run", str(run), "--resume", "--steps=6"]
    message = outcome([*resume, "--device=cpu"])
    assert "lacks memory.place" in message
    assert "another version of trainer" in message


@pytest.mark.parametrize("position", [{"epoch": 10**9, "step": 0}, {"epoch": 0, "step": 99}, {}])
def test_a_position_that_the_steps_cannot_reach_is_refused_without_planning_it(
    run, dataset_folder, position
):
    path = max((run / "checkpoints").glob("step-*"))
    tensors, state = checkpoint.load(path)
    checkpoint.save(path, tensors, {**state, "position": position})
    resume = ["fit", str(dataset_folder), "--run", str(run), "--resume", "--steps=6"]
    assert "damaged" in outcome([*resume, "--device=cpu"])


def test_lines_that_are_no_rows_are_left_out_of_the_plot_and_counted(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('[]\n{"step": 5, "spl')
    result = CliRunner().invoke(cli, ["plot", str(run), "-o", f"{run}.png"])
    assert result.exit_code == 0
    assert "metrics.jsonl: 2 lines left out: no rows" in result.stderr


def test_a_run_without_losses_is_refused_where_they_are_drawn(run):
    (run / "metrics.jsonl").write_text('{"step": 1, "split": "train", "unix_time": 1.0}\n')
    assert "hold no loss" in outcome(["compare", str(run), "-o", f"{run}.png"])


def test_a_loss_that_is_no_number_is_drawn_without_a_legend(run):
    row = '{"step": 1, "split": "train", "unix_time": 1.0, "loss_nats": null}'
    (run / "metrics.jsonl").write_text(f"{row}\n")
    assert outcome(["compare", str(run), "-o", f"{run}.png"]) == "good"
