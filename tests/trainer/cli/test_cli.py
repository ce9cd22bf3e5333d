from pathlib import Path

import mido
import pytest
from click.testing import CliRunner

from trainer.cli.commands import cli
from trainer.run.folder import open_run

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


def test_fit_says_what_it_trains_and_how_it_ended(trained, dataset_folder):
    folder, result = trained
    assert f"dataset  {dataset_folder}: 6 train, 2 valid songs" in result.stderr
    assert "on cpu" in result.stderr
    assert f"{folder}: step 4, validation loss" in result.stdout
    assert "(unigram " in result.stdout


def test_a_song_is_written_that_mido_reads(call, trained, tmp_path):
    folder, _ = trained
    out = tmp_path / "song.mid"
    result = call("generate", folder, "-o", out, "--bars=2", "--tokens=60", "--seed=3")
    assert result.exit_code == 0, result.output
    notes = [m for m in mido.MidiFile(out) if m.type == "note_on" and m.velocity]
    assert f"{out}: {len(notes)} notes" in result.stdout


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


def test_where_and_instrument_head_are_settings_of_the_run(call, dataset_folder, tmp_path):
    folder = tmp_path / "run"
    options = ["--where", "tokens > 2", "--instrument-head", "conditional"]
    assert call("fit", dataset_folder, "--run", folder, *QUICK, *options).exit_code == 0
    config = open_run(folder).config
    assert (config.train.where, config.model.instrument_head) == ("tokens > 2", "conditional")


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
        "no run": (["fit", dataset, "--run", empty / "x", "--resume"], 1, "no such folder"),
        "not a run": (["fit", dataset, "--run", empty, "--resume"], 1, "is not a run folder"),
        "resume and head": (
            ["fit", dataset, "--run", trained, "--resume", "--instrument-head", "plain"],
            2,
            "--resume goes on with the run's own settings",
        ),
        "resume and set": (
            ["fit", dataset, "--run", trained, "--resume", "--set", "layers=2"],
            2,
            "--resume goes on with the run's own settings",
        ),
        "generate: no run": (["generate", empty / "no"], 1, "no such folder"),
        "generate: not a run": (["generate", empty], 1, "is not a run folder"),
        "generate: out": (["generate", trained, "-o", empty / "no" / "x.mid"], 1, "no such folder"),
        "generate: kind": (["generate", trained, "-o", empty / "x.mp3"], 1, "ends in .mid"),
        "generate: band": (["generate", trained, "--instruments", "harp,x1"], 1, "named 'x1'"),
        "generate: part": (["generate", trained, "--prompt-bars", "3"], 2, "name one"),
        "generate: top_p": (["generate", trained, "--top-p", "3"], 1, "expected at most 1"),
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
        assert "is not a whole checkpoint" in result.stderr
