import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import mido
import pytest
from click.testing import CliRunner

from pipeline.cli import cli as pipeline_cli
from shards.render.midi import write_midi
from shards.text import visible
from shards.vocabulary import Vocabulary
from tests.shards.songs import make_song
from trainer.cli import cli
from trainer.config import ModelConfig, TrainConfig
from trainer.generation.settings import SampleConfig
from trainer.run.folder import open_run
from trainer.run.lock import RunLock
from trainer.training import compare, plot
from trainer.training.metrics_log import read_metrics

QUICK = [
    "--steps=4",
    "--device=cpu",
    *(
        f"--set={text}"
        for text in (
            "layers=1",
            "d_model=16",
            "heads=2",
            "memory=8",
            "block_size=8",
            "batch_size=2",
            "sample_bars=1",
            "warmup_steps=0",
        )
    ),
]


CROP = ["--set=mode=crop", "--set=block_size=500"]


@pytest.fixture
def call():
    def invoke(*arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="session")
def trained(dataset_folder, tmp_path_factory):
    """A run of four steps."""
    folder = tmp_path_factory.mktemp("runs") / "four"
    arguments = ["fit", str(dataset_folder), "--run", str(folder), *QUICK]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder, result


def test_every_command_is_explained_by_an_example(call):
    for name in [(), *((name,) for name in cli.commands)]:
        result = call(*name, "--help")
        assert result.exit_code == 0
        assert "Example:" in result.output
        assert "trainer " in result.output.split("Example:")[1]


@pytest.mark.parametrize("name", ["compare", "evaluate", "judge"])
def test_help_says_what_the_json_holds(name):
    assert "--json:" in cli.commands[name].help


def test_fit_says_what_it_trains_and_how_it_ended(trained, dataset_folder):
    folder, result = trained
    assert f"dataset  {dataset_folder}: 6 train, 2 valid songs" in result.stderr
    assert "on cpu" in result.stderr
    assert f"{folder}: step 4, validation loss" in result.stdout
    assert "(unigram baseline " in result.stdout


@pytest.mark.usefixtures("charts")
def test_quiet_leaves_stderr_to_errors(call, trained, dataset_folder, tmp_path):
    fitted = call("fit", dataset_folder, "--run", tmp_path / "run", "-q", *QUICK)
    drawn = call("generate", trained[0], "-o", tmp_path / "song.mid", "-q")
    for result in (fitted, drawn):
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout
    assert call("fit", tmp_path / "missing", "-q").stderr.startswith("Error: ")


def test_a_song_is_written_that_mido_reads(call, trained, tmp_path):
    folder, _ = trained
    out = tmp_path / "song.mid"
    result = call("generate", folder, "-o", out, "--bars=2", "--tokens=60", "--seed=3")
    assert result.exit_code == 0, result.output
    notes = [m for m in mido.MidiFile(out) if m.type == "note_on" and m.velocity]
    assert f"{out}: {len(notes)} notes" in result.stdout


def test_a_file_that_fails_does_not_lose_the_others(call, trained, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shards.render.song_file.save_piano_roll", fail)
    outs = ["-o", tmp_path / "a.png", "-o", tmp_path / "a.mid"]
    result = call("generate", trained[0], *outs, "--bars=1", "--count=2")
    assert result.exit_code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-0.mid", "a-1.mid"]
    assert result.stdout.count("notes, 1 bar,") == 2
    assert "a-0.png was not written: No space left on device; " in result.stderr


def test_files_that_exist_are_kept_unless_asked_for(call, trained, tmp_path):
    folder, limits = trained[0], ["--bars=1", "--tokens=20"]
    (tmp_path / "a.mid").write_text("mine")
    for arguments in (
        ["generate", folder, "-o", tmp_path / "a.mid", *limits],
        ["plot", folder, "-o", tmp_path / "a.mid"],
    ):
        result = call(*arguments)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert (tmp_path / "a.mid").read_text() == "mine"
    assert call("generate", folder, "--seed=9", *limits).exit_code == 0
    again = call("generate", folder, "--seed=9", *limits)
    assert again.exit_code == 1
    assert "seed-9.mid exists already: add --overwrite" in again.stderr
    assert call("generate", folder, "--seed=9", *limits, "--overwrite").exit_code == 0


@pytest.mark.parametrize("group", [cli, pipeline_cli])
def test_every_command_that_writes_a_named_file_has_overwrite(group):
    flags = {"-o", "--out", "--output", "--image"}
    for name, command in group.commands.items():
        own = {flag for option in command.params for flag in option.opts}
        if own & flags and name != "run":  # its --out is a folder of datasets
            assert "--overwrite" in own, name


def test_the_songs_that_follow_a_prompt_begin_in_its_next_bar(call, trained, tmp_path):
    """The prompt has eight bars, more are asked for; the run says that it lacks the settings."""
    notes = [(48 * bar, 24, 0, 60 + bar, 90) for bar in range(8)]  # half of each bar is empty
    write_midi(make_song(notes, steps_per_beat=12), tmp_path / "prompt.mid", Vocabulary())
    run = shutil.copytree(trained[0], tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["dataset"]["settings"]
    (run / "config.json").write_text(json.dumps(config))
    out, prompt = tmp_path / "song.mid", ["--prompt", tmp_path / "prompt.mid", "--prompt-bars=20"]
    result = call("generate", run, *prompt, "-o", out, "--bars=2")
    assert result.exit_code == 0, result.output
    assert "the prompt was encoded with the defaults" in result.stderr
    assert ", 10 bars, " in result.stdout
    midi = mido.MidiFile(out)
    starts = set()
    for track in midi.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "note_on" and message.velocity:
                starts.add(now // (4 * midi.ticks_per_beat))
    assert {7, 8, 9} <= starts
    assert max(starts) == 9


def test_without_a_name_the_song_goes_to_the_samples(call, trained):
    folder, _ = trained
    assert call("generate", folder, "--bars=1", "--tokens=20", "--seed=5").exit_code == 0
    assert (folder / "samples" / "seed-5.mid").exists()


def test_several_songs_are_named_after_their_seeds(call, trained, tmp_path):
    folder, _ = trained
    limits = ["--bars=1", "--tokens=20", "--seed=5", "--count=2"]
    result = call("generate", folder, "-o", tmp_path / "a.mid", "-o", tmp_path / "a.png", *limits)
    assert result.exit_code == 0, result.output
    names = ["a-5.mid", "a-5.png", "a-6.mid", "a-6.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_finished_run_goes_on_when_more_steps_are_asked_for(call, dataset_folder, tmp_path):
    folder = tmp_path / "run"
    assert call("fit", dataset_folder, "--run", folder, *QUICK).exit_code == 0
    refused = call("fit", dataset_folder, "--run", folder, "--resume")
    assert refused.exit_code == 1
    assert "has done all its 4 steps" in refused.stderr
    more = call("fit", dataset_folder, "--run", folder, "--resume", "--steps=6")
    assert more.exit_code == 0, more.output
    assert "from step 4" in more.stderr
    assert f"{folder}: step 6" in more.stdout
    fewer = call("fit", dataset_folder, "--run", folder, "--resume", "--steps=5")
    assert "has done 6 steps, more than the 5 asked for" in fewer.stderr


def test_where_and_set_are_settings_of_the_run(call, dataset_folder, tmp_path):
    folder = tmp_path / "run"
    options = ["--where", "tokens > 2", "--set", "qk_norm=false"]
    assert call("fit", dataset_folder, "--run", folder, *QUICK, *options).exit_code == 0
    config = open_run(folder).config
    assert (config.train.where, config.model.qk_norm) == ("tokens > 2", False)


def test_a_run_can_start_from_a_file_that_settings_prints(call, dataset_folder, tmp_path):
    path, folder = tmp_path / "mine.toml", tmp_path / "run"
    text = call("settings", "--preset", "tiny", "--toml").stdout
    path.write_text(text.replace("log_every = 10\n", "log_every = 2\n"))
    assert call("fit", dataset_folder, "--run", folder, "--config", path, *QUICK).exit_code == 0
    made = open_run(folder).config
    assert (made.train.log_every, made.train.steps, made.model.layers) == (2, 4, 1)
    refused = call("fit", "--run", folder, "--resume", "--config", path)
    assert "--resume keeps the run's own settings" in refused.stderr


def test_settings_lists_every_setting_of_a_preset_and_of_sampling(call):
    result = call("settings", "--preset", "small")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for cls in (ModelConfig, TrainConfig, SampleConfig):
        for field in dataclasses.fields(cls):
            assert any(line.startswith(f"{field.name} = ") for line in lines), field.name
    assert "d_model = 512  (at least 2, at most 65,536)" in lines
    assert lines[-1].endswith("bars = 16, count = 32")
    assert call("settings").stdout != result.stdout


@pytest.fixture(scope="session")
def quicker(trained, dataset_folder, tmp_path_factory):
    """A run of fewer and smaller steps."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    options = ["--steps=2", "--set=lr=0.5", "--set=block_size=4"]
    result = CliRunner().invoke(
        cli, ["fit", str(dataset_folder), "--run", str(folder), *QUICK, *options]
    )
    assert result.exit_code == 0, result.output
    return folder


def test_plot_draws_the_curves_of_a_run(call, trained, tmp_path):
    out = tmp_path / "curve.png"
    result = call("plot", trained[0], "-o", out)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_plot_sends_who_names_several_runs_to_compare(call, trained, tmp_path):
    result = call("plot", trained[0], trained[0], "-o", tmp_path / "curve.png")
    assert result.exit_code == 2
    assert "`trainer compare RUN... -o FILE` draws several" in result.stderr


def test_a_plot_begins_with_the_loss_and_has_that_which_is_compared(trained):
    run = open_run(trained[0])
    axes = plot.draw([run]).axes
    assert axes[0].get_title("left") == "Loss, nats per token"
    heads = [each.get_title("left").partition(" ")[0] for each in axes[1:]]
    assert heads in (["Next", "Instrument"], ["Next", "Instrument", "Velocity"])
    (whole,) = [line for line in axes[0].lines if line.get_marker() == "D"]
    assert list(whole.get_ydata()) == [compare.compare([run])[0]["valid_loss"]]
    drawn = [loss for line in axes[0].lines for loss in line.get_ydata()]
    assert axes[0].get_ylim()[1] > max(drawn)


def test_compare_tells_what_differs_and_what_each_run_reached(call, trained, quicker, tmp_path):
    runs, out = (trained[0], quicker), tmp_path / "curves.png"
    result = call("compare", *runs, "-o", out)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(b"\x89PNG")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == [str(run) for run in runs]
    found = {" ".join(words[:-2]): words[-2:] for words in lines[1:-2]}
    assert found["block_size"] == ["8", "4"]
    assert (found["step"], found["tokens"]) == (["4", "2"], ["64", "16"])
    last = [read_metrics(run / "metrics.jsonl").rows[-1]["loss_nats"] for run in runs]
    assert found["validation loss, nats per token"] == [f"{loss:.3f}" for loss in last]
    assert {"lr", "steps", "block_size"} <= {*found}
    assert not {"layers", "seed", "batch_size"} & {*found}
    document = json.loads(call("compare", *runs, "--json").stdout)
    assert [each["valid_loss"] for each in document] == last
    assert [each["settings"]["steps"] for each in document] == [4, 2]


def test_compare_says_so_where_losses_are_of_other_songs(call, trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "other")
    assert "not comparable" not in call("compare", trained[0], folder).stderr
    config = json.loads((folder / "config.json").read_text())
    config["dataset"]["fingerprint"] = "0" * 16
    (folder / "config.json").write_text(json.dumps(config))
    assert "validated on different songs" in call("compare", trained[0], folder).stderr


def test_time_in_training_steps_leaves_pauses_out_and_survives_a_log_that_lies(
    trained, quicker, tmp_path
):
    run = open_run(shutil.copytree(trained[0], tmp_path / "run"))
    rows = [(2, 16.0), (4, 8.0)]  # 16 tokens a step: 2 and 4 seconds
    lines = [{"step": n, "split": "train", "tokens_per_second": speed} for n, speed in rows]
    lines[1:1] = [{"step": 2, "split": "valid", "loss_nats": 1.0, "unix_time": 1e9}]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert compare.compare([run])[0]["seconds"] == 6
    assert "0:00:06" in compare.table(compare.compare([run]))
    lines += [{"step": 10**299, "split": "train", "tokens_per_second": 1e-300}]
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert compare.table(compare.compare([run]))
    plot.save([run, open_run(quicker)], tmp_path / "x.png")


def test_curves_are_over_tokens_where_steps_are_of_different_sizes(trained, quicker):
    def axis(*folders):
        axes = plot.draw([open_run(folder) for folder in folders]).axes[0]
        validations = [line for line in axes.lines if line.get_marker() == "o"]
        return axes.get_xlabel(), [[*line.get_xdata()] for line in validations]

    assert axis(trained[0]) == ("step", [[4]])
    assert axis(trained[0], quicker) == ("tokens", [[64], [16]])


def test_a_legend_tells_runs_apart_and_has_each_baseline_once(trained, quicker, tmp_path):
    folders = [tmp_path / name for name in ("one/run", "two/run", "_$x$")]
    for folder in folders:
        shutil.copytree(trained[0], folder)

    def legend(*chosen):
        figure = plot.draw([open_run(folder) for folder in chosen])
        texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        assert texts.pop(2).startswith("unigram baseline ")
        kinds = ("validation ", "whole validation split ")
        assert all(text.startswith(kinds[n % 2]) for n, text in enumerate(texts))
        return [text.partition("  ")[2] for text in texts[::2]]

    assert legend(folders[0]) == [""]
    assert legend(folders[0], folders[2]) == ["run", "_$x$"]
    assert legend(folders[0], folders[1]) == [visible(folder, 56) for folder in folders[:2]]
    assert legend(folders[0], quicker) == [
        "steps=4, block_size=8, lr=0.002",
        "steps=2, block_size=4, lr=0.5",
    ]


def test_a_metrics_line_that_is_being_written_is_not_plotted(trained, tmp_path):
    folder, _ = trained
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text((folder / "metrics.jsonl").read_text() + '{"step": 5, "spl')
    rows = read_metrics(folder / "metrics.jsonl").rows
    assert read_metrics(metrics) == (rows, 1)


def refusals(dataset, trained, empty):
    return {
        "no dataset": (["fit", empty / "no"], 1, "no such folder"),
        "empty folder": (["fit", empty], 1, "holds no dataset"),
        "typo": (["fit", dataset, "--set", "layer=2"], 1, "did you mean layers?"),
        "no value": (["fit", dataset, "--set", "layers"], 1, "expected name=value"),
        "preset": (["fit", dataset, "--preset", "huge"], 2, "Invalid value for '--preset'"),
        "steps": (["fit", dataset, "--steps", "0"], 2, "Invalid value for '--steps'"),
        "device": (["fit", dataset, "--device", "warp"], 1, "--device warp: not available"),
        "run exists": (["fit", dataset, "--run", trained, *QUICK], 1, "is a run already"),
        "batch": (["fit", dataset, "--run", empty / "x", "--set", "batch_size=9"], 1, "6 songs"),
        "a file as dataset": (["fit", trained / "config.json"], 1, "is a file, not a folder"),
        "a file as run": (
            ["fit", dataset, "--run", trained / "config.json"],
            1,
            "exists and is not a run folder",
        ),
        "resume a file": (
            ["fit", dataset, "--run", trained / "config.json", "--resume"],
            1,
            "is a file, not a run folder",
        ),
        "resume without a run": (["fit", "--resume"], 2, "name the DATASET to train on"),
        "no GPUs": (
            ["fit", dataset, "--run", empty / "x", "--devices", "64"],
            1,
            "--devices 64: this machine has",
        ),
        "songs too short to crop": (
            ["fit", dataset, "--run", empty / "x", *QUICK, *CROP],
            1,
            "mode=crop drops every song: the longest of the train split has 116 tokens",
        ),
        "no run": (["fit", dataset, "--run", empty / "x", "--resume"], 1, "no such folder"),
        "not a run": (["fit", dataset, "--run", empty, "--resume"], 1, "is not a run folder"),
        "resume and where": (
            ["fit", dataset, "--run", trained, "--resume", "--where", "true"],
            2,
            "--resume keeps the run's own settings",
        ),
        "resume and set": (
            ["fit", dataset, "--run", trained, "--resume", "--set", "layers=2"],
            2,
            "--resume keeps the run's own settings",
        ),
        "plot: no run": (["plot", empty / "no", "-o", empty / "x.png"], 1, "no such folder"),
        "generate: no run": (["generate", empty / "no"], 1, "no such folder"),
        "generate: not a run": (["generate", empty], 1, "is not a run folder"),
        "generate: out": (["generate", trained, "-o", empty / "no" / "x.mid"], 1, "no such folder"),
        "generate: folder": (["generate", trained, "-o", empty], 1, "is a folder"),
        "generate: sound": (
            ["generate", trained, "-o", empty / "x.wav", "--soundfont", empty / "x.sf2"],
            1,
            "no such soundfont",
        ),
        "generate: prompt is a folder": (["generate", trained, "--prompt", empty], 1, "a folder"),
        "plot: kind": (["plot", trained, "-o", empty / "x.txt"], 1, "ends in .png"),
        "evaluate: out": (
            ["evaluate", trained, "--split=valid", "-o", empty / "no" / "x.png"],
            1,
            "no such folder",
        ),
        "judge: kind": (
            ["judge", trained, "--split=valid", "-o", empty / "x.mid"],
            1,
            "ends in .png",
        ),
        "generate: kind": (["generate", trained, "-o", empty / "x.mp3"], 1, "ends in .mid"),
        "generate: band": (["generate", trained, "--instruments", "harp,x1"], 1, "named 'x1'"),
        "generate: part": (["generate", trained, "--prompt-bars", "3"], 1, "needs --prompt"),
        "generate: top_p": (["generate", trained, "--top-p", "3"], 1, "expected at most 1"),
        "generate: no meter": (["generate", trained, "--meter", ""], 1, "meter is ''; expected"),
        "generate: no key": (["generate", trained, "--key", ""], 1, "key is ''; expected"),
        "generate: no band": (["generate", trained, "--instruments", ""], 1, "is named ''"),
        "generate: endless": (["generate", trained, "--seconds", "inf"], 1, "expected at most"),
        "generate: the prompt's tempo": (
            ["generate", trained, "--prompt", empty, "--infill", "1", "--tempo", "90"],
            1,
            "--tempo cannot be asked with --infill or --accompany",
        ),
        "evaluate: no rate": (["evaluate", trained, "--dynamic", "nan"], 1, "--dynamic is nan"),
        "evaluate: endless memory": (["evaluate", trained, "--memory", 2**63], 2, "0<=x<=65536"),
        "generate: prompt": (["generate", trained, "--prompt", empty / "x.mid"], 1, "--prompt"),
    }


@pytest.mark.parametrize("case", refusals(Path(), Path(), Path()))
def test_wrong_input_is_one_line_and_leaves_nothing(call, dataset_folder, trained, tmp_path, case):
    empty = tmp_path / "empty"
    empty.mkdir()
    arguments, status, message = refusals(dataset_folder, trained[0], empty)[case]
    result = call(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    if status == 1:
        assert len(result.stderr.splitlines()) == 1
    assert not list(empty.iterdir())


def test_a_dataset_without_a_validation_split_is_one_line(call, tmp_path, make_dataset, make_songs):
    data = make_dataset(tmp_path / "data", make_songs([9] * 4), ("train",) * 4)
    result = call("fit", data, "--run", tmp_path / "run", *QUICK)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "the dataset's valid split has no songs (4 songs in all)" in result.stderr


def test_a_run_finds_its_dataset_from_any_folder_and_after_both_were_moved(
    call, tmp_path, monkeypatch, make_dataset, make_songs
):
    (tmp_path / "old").mkdir()
    monkeypatch.chdir(tmp_path / "old")
    splits = ("train",) * 4 + ("valid",) * 2
    make_dataset(tmp_path / "old" / "data", make_songs([30] * 6), splits)
    assert call("fit", "data", "--run", "runs/a", *QUICK).exit_code == 0
    monkeypatch.chdir("/")
    run = tmp_path / "old" / "runs" / "a"
    evaluate = ("evaluate", "--split", "valid", "--device", "cpu", "--overwrite")
    assert call(*evaluate, run).exit_code == 0
    (tmp_path / "old").rename(tmp_path / "new")
    run = tmp_path / "new" / "runs" / "a"
    assert call(*evaluate, run).exit_code == 0
    resumed = call("fit", "--run", run, "--resume", "--steps=6", "--device=cpu")
    assert resumed.exit_code == 0, resumed.output
    assert open_run(run).dataset == tmp_path / "new" / "data"
    run.rename(tmp_path / "b")  # alone: the absolute path still holds
    assert call(*evaluate, tmp_path / "b").exit_code == 0
    (tmp_path / "new" / "data").rename(tmp_path / "elsewhere")
    refused = call(*evaluate, tmp_path / "b")
    assert refused.exit_code == 1
    assert refused.stderr.endswith(
        f"is neither at {tmp_path.parent / 'data'} nor at {tmp_path / 'new' / 'data'}: give its "
        "path as DATASET\n"
    )
    assert call(*evaluate, tmp_path / "b", tmp_path / "elsewhere").exit_code == 0


def test_a_second_training_in_one_folder_is_refused_and_writes_nothing(
    call, trained, dataset_folder
):
    folder, _ = trained
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with RunLock(folder):
        result = call("fit", dataset_folder, "--run", folder, "--resume", "--steps=9")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"{folder} is being trained by process {os.getpid()} on" in result.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_another_dataset_is_refused_on_resume(call, trained, tmp_path, make_dataset, make_songs):
    other = make_dataset(tmp_path / "other", make_songs([9] * 8), ("train",) * 6 + ("valid",) * 2)
    result = call("fit", other, "--run", trained[0], "--resume", "--steps=9")
    assert result.exit_code == 1
    assert "is not the dataset of" in result.stderr


def test_a_damaged_checkpoint_is_refused(call, dataset_folder, tmp_path):
    folder = tmp_path / "run"
    call("fit", dataset_folder, "--run", folder, *QUICK)
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    for arguments in (
        ["generate", folder],
        ["fit", dataset_folder, "--run", folder, "--resume", "--steps=9"],
    ):
        result = call(*arguments)
        assert result.exit_code == 1
        assert "is not a complete checkpoint" in result.stderr


def test_play_prints_the_address_of_its_page_and_ends_with_ctrl_c(call, trained, monkeypatch):
    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("shards.web.server.Server.serve_forever", interrupted)
    result = call("play", trained[0], "--port", 0, "--no-open")
    assert result.exit_code == 0, result.output
    assert re.fullmatch(
        r"http://127\.0\.0\.1:\d+/\?token=[\w-]{20,}  \(Ctrl-C ends it\)\n", result.output
    )


@pytest.mark.parametrize(
    ("option", "reason"),
    [("--save", "nowhere: no such folder"), ("--soundfont", "nowhere: no such soundfont")],
)
def test_play_refuses_what_it_could_not_use_in_one_line(
    call, trained, tmp_path, monkeypatch, option, reason
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = call("play", trained[0], "--port", 0, "--no-open", option, tmp_path / "nowhere")
    assert result.exit_code == 1
    assert reason in result.output
    assert len(result.output.splitlines()) == 1
