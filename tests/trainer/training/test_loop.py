import dataclasses
import json
import os
import signal
import time

import mido
import pytest
import torch
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context

from shards.errors import LakhxlError
from shards.render.audio import usable_soundfont
from trainer import device as devices
from trainer.run import checkpoint
from trainer.run.folder import open_run
from trainer.training.loop import has_ended
from trainer.training.metrics_log import mean_loss_by_position, read_metrics, truncate_metrics
from trainer.training.stop_request import StopRequest
from trainer.training.unigram_baseline import unigram_baseline

from .small_runs import start_or_resume

MACHINE = {"unix_time", "tokens_per_second", "data_wait", "memory_mb", "peak_share"}


def start(folder, dataset, config):
    """A loop at step 0, and the unigram baseline to run it with."""
    loop = start_or_resume(dataset, folder, config)
    numbers = loop.trainer.song_numbers
    return loop, unigram_baseline(dataset, numbers["train"], numbers["valid"])


def lines(folder):
    metrics = read_metrics(folder / "metrics.jsonl").rows
    return [{key: value for key, value in line.items() if key not in MACHINE} for line in metrics]


def test_a_run_writes_every_file_of_a_run_folder(tmp_path, dataset, config):
    loop, baseline = start(tmp_path / "run", dataset, config)
    assert loop.run(baseline)
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
    assert open_run(folder).config == config
    _, state = checkpoint.load(open_run(folder).last_checkpoint())
    valid = [line["loss_nats"] for line in lines(folder) if line["split"] == "valid"]
    assert (state["best"], state["valid"]["loss"]) == (min(valid), valid[-1])
    assert list((folder / "tensorboard").iterdir())


@pytest.mark.parametrize("stops", [[1], [5], [6, 7], [10, 11]])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, dataset, config, stops):
    loop, baseline = start(tmp_path / "whole", dataset, config)
    loop.run(baseline)
    part, _ = start(tmp_path / "parts", dataset, config)
    for stop in stops:
        assert not part.run(baseline, until=stop)
        part = start_or_resume(dataset, tmp_path / "parts", config)
    assert part.run(baseline)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
    names = ("step-00000012.safetensors", checkpoint.BEST)
    for name in names:
        whole, state = checkpoint.load(tmp_path / "whole" / "checkpoints" / name)
        parts, state_of_parts = checkpoint.load(tmp_path / "parts" / "checkpoints" / name)
        assert state == state_of_parts
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_a_kill_after_the_last_checkpoint_loses_only_what_came_after(tmp_path, dataset, config):
    loop, baseline = start(tmp_path / "whole", dataset, config)
    loop.run(baseline)
    expected = lines(tmp_path / "whole")
    last = checkpoint.step_file(tmp_path / "whole" / "checkpoints", 12)
    last.unlink()  # as if killed at step 12, whose lines are written
    loop = start_or_resume(dataset, tmp_path / "whole", config)
    assert loop.trainer.step == 10
    loop.run(baseline)
    assert lines(tmp_path / "whole") == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_ends_the_run(tmp_path, dataset, config, monkeypatch, number):
    loop, baseline = start(tmp_path / "run", dataset, config)
    outside = signal.signal(number, signal.default_int_handler)  # nohup has SIGHUP ignored
    before = signal.getsignal(number)
    step = loop.trainer.train_step

    def interrupted(**options):
        if loop.trainer.step == 6:
            os.kill(os.getpid(), number)
        return step(**options)

    monkeypatch.setattr(loop.trainer, "train_step", interrupted)
    try:
        assert not loop.run(baseline)
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, outside)
    assert open_run(tmp_path / "run").last_checkpoint().name == "step-00000007.safetensors"


@pytest.mark.parametrize("validation", ["last", "whole", "both in one"])
def test_a_run_stopped_in_its_last_validation_has_not_ended(
    tmp_path, dataset, config, monkeypatch, validation
):
    train = dataclasses.replace(config.train, evaluate_batches=None if "one" in validation else 1)
    config = dataclasses.replace(config, train=train)
    unbroken, baseline = start(tmp_path / "whole", dataset, config)
    unbroken.run(baseline)
    loop, _ = start(tmp_path / "run", dataset, config)
    evaluate = loop.trainer.evaluate

    def interrupted(*, batches, **options):
        if loop.trainer.step == 12 and (batches is None) == (validation != "last"):
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(batches=batches, **options)

    monkeypatch.setattr(loop.trainer, "evaluate", interrupted)
    assert not loop.run(baseline)
    assert not ended(tmp_path / "run")
    loop = start_or_resume(dataset, tmp_path / "run", config)
    assert loop.run(baseline)
    assert ended(tmp_path / "run")
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


def ended(folder):
    opened = open_run(folder)
    return has_ended(opened, checkpoint.load(opened.last_checkpoint())[1])


@pytest.fixture
def sigint_not_ignored():
    """Handle SIGINT as Python does by default; `nohup make test &` has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_acts_at_once(sigint_not_ignored):
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_ignored_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.received
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_loss_that_is_not_a_number_ends_the_run_and_is_not_saved(
    tmp_path, dataset, config, monkeypatch
):
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.trainer.model.norm.weight.data.fill_(torch.nan)
    with pytest.raises(LakhxlError, match="the loss of step 1 is infinite or not a number"):
        loop.run(baseline)
    assert open_run(tmp_path / "run").last_checkpoint() is None


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_a_step_that_goes_wrong_is_named_with_its_songs_and_the_last_good_checkpoint(
    tmp_path, dataset, config, monkeypatch, what, value
):
    loop, baseline = start(tmp_path / "run", dataset, config)
    step, played = loop.trainer.train_step, []

    def poisoned(**options):
        losses = step(**options)
        if loop.trainer.step == 7:  # between two read-outs, and after the checkpoint of step 5
            position = loop.trainer.position
            sampler = loop.trainer._samplers["valid"].__class__(
                dataset.index["tokens"].to_numpy()[loop.trainer.song_numbers["train"]] - 1,
                3, block_size=16, mode="join", tail="wrap", seed=0,
            )  # fmt: skip
            played.extend(sampler.spans(position["epoch"], position["step"] - 1))
            if what == "loss":
                return losses._replace(tokens=losses.tokens * value)
            loop.trainer.grad_norm = loop.trainer.grad_norm * value
        return losses

    monkeypatch.setattr(loop.trainer, "train_step", poisoned)
    with pytest.raises(LakhxlError) as caught:
        loop.run(baseline)
    message = str(caught.value)
    assert f"the {what} of step 7 is infinite or not a number" in message
    assert f"the last good checkpoint is {tmp_path}/run/checkpoints/step-00000005" in message
    for lane, spans in enumerate(played):
        names = ", ".join(f"songs/{span.song}.mid" for span in spans)
        assert f"lane {lane}: {names}" in message
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "best.safetensors", "step-00000005.safetensors"
    ]  # fmt: skip


def test_weights_that_went_wrong_after_the_last_loss_are_not_saved(
    tmp_path, dataset, config, monkeypatch
):
    loop, baseline = start(tmp_path / "run", dataset, config)
    step = loop.trainer.train_step

    def poisoned(**options):
        losses = step(**options)
        if loop.trainer.step == 10:  # a checkpoint follows, and a validation before it
            loop.trainer.model.embed.bar.weight.data[15] = torch.inf  # no song has as many bars
        return losses

    monkeypatch.setattr(loop.trainer, "train_step", poisoned)
    with pytest.raises(LakhxlError, match=r"model\.embed\.bar\.weight is infinite"):
        loop.run(baseline)
    assert open_run(tmp_path / "run").last_checkpoint().name == "step-00000005.safetensors"


def test_a_validation_that_goes_wrong_is_not_the_best(tmp_path, dataset, config, monkeypatch):
    loop, baseline = start(tmp_path / "run", dataset, config)
    evaluate = loop.trainer.evaluate

    def poisoned(**options):
        losses = evaluate(**options)
        return losses._replace(sums=losses.sums._replace(tokens=torch.tensor(torch.nan)))

    monkeypatch.setattr(loop.trainer, "evaluate", poisoned)
    with pytest.raises(LakhxlError, match="the validation loss at step 5 is infinite"):
        loop.run(baseline)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_no_step_waits_for_the_device_between_two_read_outs(tmp_path, dataset, config, monkeypatch):
    loop, baseline = start(tmp_path / "run", dataset, config)
    read, at = loop._add_pending, []
    monkeypatch.setattr(loop, "_add_pending", lambda: (at.append(loop.trainer.step), read()))
    loop.run(baseline)
    assert sorted(set(at)) == [4, 5, 8, 10, 12]  # logged every 4, validated and saved every 5


def test_a_device_that_is_too_small_is_one_clear_line(tmp_path, dataset, config, monkeypatch):
    loop, baseline = start(tmp_path / "run", dataset, config)

    def too_large(**_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(loop.trainer, "train_step", too_large)
    with pytest.raises(LakhxlError, match="cpu has too little memory for 3 lanes of 16 tokens"):
        loop.run(baseline)


def test_the_last_validation_is_of_the_whole_split(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, evaluate_batches=1)
    config = dataclasses.replace(config, train=train)
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.run(baseline)
    last = lines(tmp_path / "run")[-1]
    assert (last["split"], last["step"]) == ("valid_whole", 12)
    assert last["loss_nats"] == loop.trainer.evaluate().means()["loss"]


def test_the_last_validation_is_bounded_if_asked(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, evaluate_batches=1, evaluate_whole_at_end=False)
    loop, baseline = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    assert loop.run(baseline)
    last = lines(tmp_path / "run")[-1]
    assert (last["split"], last["step"]) == ("valid", 12)
    assert last["loss_nats"] == loop.trainer.evaluate(batches=1).means()["loss"]
    assert ended(tmp_path / "run")


def test_how_long_the_last_validation_takes_is_said_before_it(
    tmp_path, dataset, config, monkeypatch, capsys
):
    train = dataclasses.replace(config.train, evaluate_batches=1)
    loop, baseline = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    evaluate, said = loop.trainer.evaluate, []

    def listened(*, batches, **options):
        said.append((batches, "last validation" in capsys.readouterr().err))
        return evaluate(batches=batches, **options)

    monkeypatch.setattr(loop.trainer, "evaluate", listened)
    loop.run(baseline)
    assert said == [(1, False)] * 3 + [(None, True)]


def test_each_validation_leaves_its_sample_as_midi(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, sample_bars=1)
    loop, baseline = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    loop.run(baseline)
    samples = sorted((tmp_path / "run" / "samples").iterdir())
    names = [path.name for path in samples]
    assert names == [f"step-{step:08d}.mid" for step in (5, 10, 12)]
    assert all(len(mido.MidiFile(path).tracks) > 0 for path in samples)


def test_metrics_are_truncated_to_the_step_that_is_resumed(tmp_path):
    metrics = tmp_path / "metrics.jsonl"
    row = '{"step": %d, "split": "train"}\n'
    no_rows = ["[]", "7", "", "{", '{"step": 2}', '{"step": true, "split": "train"}', "\xff"]
    no_rows += ['{"step": 2, "split": "train", "loss": NaN}', "[" * 9_999]
    no_rows += ['{"step": 2, "split": "train", "loss": 1%s}' % ("0" * 400)]
    metrics.write_text(row % 1 + row % 5 + "\n".join(no_rows) + "\n" + row % 9 + '{"ste')
    assert truncate_metrics(metrics, 5) == len(no_rows) + 1
    assert metrics.read_text() == row % 1 + row % 5
    assert [row["step"] for row in read_metrics(metrics).rows] == [1, 5]


def test_every_line_of_metrics_is_json_without_nan(tmp_path, dataset, config):
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.run(baseline)
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


def test_patience_ends_a_run_that_gets_no_better(tmp_path, dataset, config):
    train = dataclasses.replace(config.train, steps=500, lr=0.0, evaluate_every=3, patience=4)
    loop, baseline = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    assert loop.run(baseline)
    valid = [line["step"] for line in lines(tmp_path / "run") if line["split"] == "valid"]
    assert valid == [3, 6, 9, 12, 15]  # the first is the best, four are no better
    assert loop.trainer.step == 15
    assert open_run(tmp_path / "run").last_checkpoint().name == "step-00000015.safetensors"


def test_the_loss_by_position_adds_up_to_the_loss(tmp_path, dataset, config):
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.run(baseline)
    losses = loop.trainer.evaluate()
    assert lines(tmp_path / "run")[-1]["nats_by_position"] == mean_loss_by_position(
        losses.by_position
    )
    nats, targets = losses.by_position.sum(dim=1).tolist()
    assert targets == float(losses.sums.targets)
    assert nats / targets == pytest.approx(float(losses.sums.loss), rel=1e-6)
    lengths = [len(dataset.song(number)) - 1 for number in (6, 7)]
    assert losses.by_position[1, 0] == 2 * 16
    assert losses.by_position[1, 1] == sum(min(length, 32) - 16 for length in lengths)


def test_a_gpu_s_share_of_its_peak_is_logged_and_said_once(
    tmp_path, dataset, config, monkeypatch, capsys
):
    monkeypatch.setattr(devices, "peak_flops", lambda device, dtype: 1e12)
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.run(baseline)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl").rows
    rows = [row for row in rows if row["split"] == "train"]
    assert len(rows) == 3
    for row in rows:
        done = row["tokens_per_second"] * loop.trainer.flops_per_token
        assert row["peak_share"] == pytest.approx(done / 1e12)
    assert capsys.readouterr().err.count("of what this GPU can do at most") == 1


def test_a_step_that_compiles_says_so_and_how_long_it_took(
    tmp_path, dataset, config, monkeypatch, capsys
):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    train = dataclasses.replace(config.train, compile=True, log_every=1)
    loop, baseline = start(tmp_path / "run", dataset, dataclasses.replace(config, train=train))
    loop.run(baseline, until=2)
    printed = capsys.readouterr().err
    assert printed.count("compiling the training step") == 1
    assert printed.count("compiled in 0 s") == 1


@pytest.mark.usefixtures("charts")
def test_tensorboard_gets_metrics_plots_and_settings(tmp_path, dataset, config):
    whole = {"drop_parts": 0.0, "rearranged": 0.0}
    train = dataclasses.replace(config.train, sample_bars=1, evaluate_batches=1, **whole)
    model = dataclasses.replace(config.model, velocity_head=True)
    loop, baseline = start(
        tmp_path / "run", dataset, dataclasses.replace(config, train=train, model=model)
    )
    loop.run(baseline)
    events = {
        split: EventAccumulator(str(tmp_path / "run" / "tensorboard" / split))
        for split in ("", "train", "valid", "unigram")
    }
    for each in events.values():
        each.Reload()
    scalars = {split: set(each.Tags()["scalars"]) for split, each in events.items()}
    heads = {f"loss_by_head/{head}_nats" for head in ("next_token", "instrument", "velocity")}
    losses = heads | {"loss/nats_per_token", "loss_per_note/bits", "perplexity/next_token"}
    assert min(scalars["train"]) == "loss/nats_per_token"  # the first chart, of three splits
    assert scalars["unigram"] >= {"loss/nats_per_token"}
    assert scalars["valid"] >= losses | {"loss_by_position/01_from_16-31_nats"}
    machine = {"speed/tokens_per_second", "speed/data_wait_share", "speed/memory_mb"}
    names = ("lr", "grad_norm", "update_norm", "utilisation", "epoch")
    assert scalars["train"] == losses | machine | {f"training/{name}" for name in names}
    assert scalars[""] >= {"result/loss_nats"}
    assert set(events[""].Tags()["images"]) == {"loss_by_position", "sample"}
    assert len(events[""].Images("sample")) == 3  # at steps 5, 10 and 12
    if usable_soundfont(None):
        assert len(events[""].Audio("sample_sound")) == 3
    plugins = events[""].SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugins.plugin_name == "hparams"
    assert b"model.d_model" in plugins.content
    last = lines(tmp_path / "run")[-3]
    shown = events["train"].Scalars("loss/nats_per_token")[-1].value
    assert shown == pytest.approx(last["loss_nats"], rel=1e-6)
    assert last["utilisation"] == 1.0


def test_tensorboard_puts_settings_that_differ_between_runs_first(tmp_path, dataset, config):
    for name, lr in (("one", 0.001), ("other", 0.003)):
        train = dataclasses.replace(config.train, lr=lr)
        changed = dataclasses.replace(config, train=train)
        loop, baseline = start(tmp_path / name, dataset, changed)
        loop.run(baseline)
    events = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    events.Reload()
    board = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(tmp_path))))
    request = RequestContext()
    experiment = board.experiment_from_metadata(
        request, "", True, board.hparams_metadata(request, ""), []
    )
    assert [info.name for info in experiment.hparam_infos if info.differs] == ["train.lr"]
    assert experiment.hparam_infos[0].name == "train.lr"


def test_every_line_of_metrics_has_its_time(tmp_path, dataset, config):
    before = time.time()
    loop, baseline = start(tmp_path / "run", dataset, config)
    loop.run(baseline)
    times = [row["unix_time"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl").rows]
    assert before - 1 <= times[0]
    assert times == sorted(times)
    assert times[-1] <= time.time()


def test_the_metrics_of_earlier_runs_are_read_by_the_names_of_today(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "split": "train", "loss": 2.0}\n')
    assert read_metrics(tmp_path / "metrics.jsonl").rows[0]["loss_nats"] == 2.0


@pytest.mark.usefixtures("charts")
def test_a_run_is_the_same_with_and_without_samples(tmp_path, dataset, config):
    weights = []
    for bars in (0, 1):
        train = dataclasses.replace(config.train, sample_bars=bars)
        loop, baseline = start(
            tmp_path / str(bars), dataset, dataclasses.replace(config, train=train)
        )
        loop.run(baseline)
        weights.append({name: t.clone() for name, t in loop.trainer.tensors().items()})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
