import dataclasses
import json
import os
import signal

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from shards.errors import LakhxlError
from trainer.run import checkpoint
from trainer.run import folder as run
from trainer.training.loop import Fit, StopRequest, has_ended
from trainer.training.metrics_log import cut_back, place_losses, read_metrics
from trainer.training.trainer import Trainer
from trainer.training.unigram_baseline import unigram

CPU = torch.device("cpu")
CLOCK = {"tokens_per_second", "waiting", "memory_mb"}


def start(folder, dataset, config):
    trainer = Trainer(dataset, config, CPU)
    return Fit(trainer, run.create(folder, config, dataset), {}), yardstick(trainer, dataset)


def resume(folder, dataset, config):
    opened, trainer = run.open_run(folder), Trainer(dataset, config, CPU)
    tensors, state = checkpoint.load(opened.last_checkpoint())
    trainer.load(tensors, state)
    return Fit(trainer, opened, state), yardstick(trainer, dataset)


def yardstick(trainer, dataset):
    return unigram(dataset, trainer.songs["train"], trainer.songs["valid"])


def lines(folder):
    metrics = read_metrics(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in metrics]


def test_a_run_leaves_all_that_it_promises(tmp_path, dataset, config):
    fit, measure = start(tmp_path / "run", dataset, config)
    assert fit.go(measure)
    folder = tmp_path / "run"
    assert {entry.name for entry in folder.iterdir()} == {
        "config.json",
        "vocabulary.json",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "samples",
    }
    assert {entry.name for entry in (folder / "checkpoints").iterdir()} == {
        "best.safetensors",
        "step-00000010.safetensors",
        "step-00000012.safetensors",
    }
    at = [(line["split"], line["step"]) for line in lines(folder)]
    assert at == [
        ("unigram", 0),
        ("train", 4),
        ("valid", 5),
        ("train", 8),
        ("valid", 10),
        ("train", 12),
        ("valid", 12),
    ]
    assert run.open_run(folder).config == config
    _, state = checkpoint.load(run.open_run(folder).last_checkpoint())
    valid = [line["loss"] for line in lines(folder) if line["split"] == "valid"]
    assert (state["best"], state["valid"]["loss"]) == (min(valid), valid[-1])
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("stops", [[1], [5], [6, 7], [10, 11]])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, dataset, config, stops):
    fit, measure = start(tmp_path / "whole", dataset, config)
    fit.go(measure)
    part, _ = start(tmp_path / "parts", dataset, config)
    for stop in stops:
        assert not part.go(measure, until=stop)
        part, _ = resume(tmp_path / "parts", dataset, config)
    assert part.go(measure)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    names = ("step-00000012.safetensors", checkpoint.BEST)
    for name in names:
        whole, state = checkpoint.load(tmp_path / "whole" / "checkpoints" / name)
        parts, state_of_parts = checkpoint.load(tmp_path / "parts" / "checkpoints" / name)
        assert state == state_of_parts
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_kill_after_the_last_checkpoint_loses_only_what_came_after(tmp_path, dataset, config):
    fit, measure = start(tmp_path / "whole", dataset, config)
    fit.go(measure)
    expected = lines(tmp_path / "whole")
    last = checkpoint.step_file(tmp_path / "whole" / "checkpoints", 12)
    last.unlink()  # as if killed at step 12, whose lines are written
    fit, _ = resume(tmp_path / "whole", dataset, config)
    assert fit.trainer.step == 10
    fit.go(measure)
    assert lines(tmp_path / "whole") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends_the_run(tmp_path, dataset, config, monkeypatch, number):
    fit, measure = start(tmp_path / "run", dataset, config)
    before = signal.getsignal(number)
    step = fit.trainer.train_step

    def interrupted(**options):
        if fit.trainer.step == 6:
            os.kill(os.getpid(), number)
        return step(**options)

    monkeypatch.setattr(fit.trainer, "train_step", interrupted)
    assert not fit.go(measure)
    assert run.open_run(tmp_path / "run").last_checkpoint().name == "step-00000007.safetensors"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("validation", ["last", "whole", "both in one"])
def test_a_run_stopped_in_its_last_validation_has_not_ended(
    tmp_path, dataset, config, monkeypatch, validation
):
    train = dataclasses.replace(config.train, evaluate_batches=None if "one" in validation else 1)
    config = dataclasses.replace(config, train=train)
    unbroken, measure = start(tmp_path / "whole", dataset, config)
    unbroken.go(measure)
    fit, _ = start(tmp_path / "run", dataset, config)
    evaluate = fit.trainer.evaluate

    def interrupted(*, batches, **options):
        if fit.trainer.step == 12 and (batches is None) == (validation != "last"):
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(batches=batches, **options)

    monkeypatch.setattr(fit.trainer, "evaluate", interrupted)
    assert not fit.go(measure)
    assert not ended(tmp_path / "run")
    fit, _ = resume(tmp_path / "run", dataset, config)
    assert fit.go(measure)
    assert ended(tmp_path / "run")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def ended(folder):
    opened = run.open_run(folder)
    return has_ended(opened, checkpoint.load(opened.last_checkpoint())[1])


def test_a_second_signal_is_obeyed_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(
    tmp_path, dataset, config, monkeypatch
):
    fit, measure = start(tmp_path / "run", dataset, config)
    fit.trainer.model.norm.weight.data.fill_(torch.nan)
    with pytest.raises(LakhxlError, match="loss at step 4 is not a number"):
        fit.go(measure)
    assert run.open_run(tmp_path / "run").last_checkpoint() is None


def test_a_device_that_is_too_small_is_one_clear_line(tmp_path, dataset, config, monkeypatch):
    fit, measure = start(tmp_path / "run", dataset, config)

    def too_large(**_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(fit.trainer, "train_step", too_large)
    with pytest.raises(LakhxlError, match="cpu has too little memory for 3 lanes of 16 tokens"):
        fit.go(measure)


def test_the_last_validation_is_of_the_whole_split(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, evaluate_batches=1)
    config = dataclasses.replace(config, train=train)
    fit, measure = start(tmp_path / "run", dataset, config)
    fit.go(measure)
    last = lines(tmp_path / "run")[-1]
    assert (last["split"], last["step"]) == ("valid_whole", 12)
    assert last["loss"] == fit.trainer.evaluate().means()["loss"]


def test_metrics_are_cut_back_to_the_step_gone_on_from(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"step": 1}\n{"step": 5}\n{"step": 9}\n{"ste')
    cut_back(metrics, 5)
    assert read_metrics(metrics) == [{"step": 1}, {"step": 5}]


def test_every_line_of_metrics_is_json_without_nan(tmp_path, dataset, config):
    fit, measure = start(tmp_path / "run", dataset, config)
    fit.go(measure)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_patience_ends_a_run_that_gets_no_better(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, steps=500, lr=0.0, evaluate_every=3, patience=4)
    fit, measure = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    assert fit.go(measure)
    valid = [line["step"] for line in lines(tmp_path / "run") if line["split"] == "valid"]
    assert valid == [3, 6, 9, 12, 15]  # the first is the best, four are no better
    assert fit.trainer.step == 15
    assert run.open_run(tmp_path / "run").last_checkpoint().name == "step-00000015.safetensors"


def test_the_loss_by_place_adds_up_to_the_loss(tmp_path, dataset, config):
    fit, measure = start(tmp_path / "run", dataset, config)
    fit.go(measure)
    scored = fit.trainer.evaluate()
    assert lines(tmp_path / "run")[-1]["loss_by_position"] == place_losses(scored.places)
    nats, targets = scored.places.sum(dim=1).tolist()
    assert targets == float(scored.tally.targets)
    assert nats / targets == pytest.approx(float(scored.tally.loss), rel=1e-6)
    lengths = [len(dataset.song(number)) - 1 for number in (6, 7)]
    assert scored.places[1, 0] == 2 * 16
    assert scored.places[1, 1] == sum(min(length, 32) - 16 for length in lengths)


def test_tensorboard_gets_all_that_a_person_learns_from(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, sample_bars=1, evaluate_batches=1)
    model = dataclasses.replace(config.model, velocity="predict")
    fit, measure = start(
        tmp_path / "run", dataset, dataclasses.replace(config, train=train, model=model)
    )
    fit.go(measure)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    figures = "loss tokens instruments velocities bits_per_note perplexity"
    measured = "rate gradient update utilisation epoch tokens_per_second waiting memory_mb"
    assert set(tags["scalars"]) >= {
        *(f"train/{name}" for name in f"{figures} {measured}".split()),
        *(f"valid/{name}" for name in figures.split()),
        "unigram/loss",
        "valid_by_place/16-31",
        "final/loss",
    }
    assert set(tags["images"]) == {"valid/loss_by_position", "sample"}
    assert len(events.Images("sample")) == 3  # at steps 5, 10 and 12
    plugins = events.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugins.plugin_name == "hparams"
    assert b"model.d_model" in plugins.content
    last = lines(tmp_path / "run")[-3]
    assert events.Scalars("train/loss")[-1].value == pytest.approx(last["loss"], rel=1e-6)
    assert last["utilisation"] == 1.0


def test_a_run_is_the_same_with_and_without_samples(tmp_path, dataset, config):
    weights = []
    for bars in (0, 1):
        train = dataclasses.replace(config.train, sample_bars=bars)
        fit, measure = start(
            tmp_path / str(bars), dataset, dataclasses.replace(config, train=train)
        )
        fit.go(measure)
        weights.append({name: t.clone() for name, t in fit.trainer.tensors().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
