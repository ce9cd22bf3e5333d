import json

import numpy as np
import pytest
from click.testing import CliRunner

from shards.console import progress_bar
from shards.errors import LakhxlError, SettingError
from shards.song import Song, sort_notes
from tests.trainer.cli.test_cli import QUICK
from trainer.cli import cli
from trainer.judging.judge import TITLES, first_bars, judge
from trainer.judging.music_metrics import split_by_instrument
from trainer.judging.settings import JudgeConfig
from trainer.run.folder import open_run

CONFIG = JudgeConfig(bars=2, count=3)


@pytest.fixture(scope="module")
def run(dataset_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quick"
    result = CliRunner().invoke(cli, ["fit", str(dataset_folder), "--run", str(folder), *QUICK])
    assert result.exit_code == 0, result.output
    return folder


def call(run, *arguments):
    words = ["judge", str(run), "--split=valid", "--bars=2", "--count=3", "--overwrite"]
    result = CliRunner().invoke(cli, [*words, *arguments])
    assert result.exit_code == 0, result.output
    return result, (run / "judgement" / "valid.json").read_text()


@pytest.fixture(scope="module")
def said(run):
    """What `judge` prints, and the contents of its file."""
    return call(run)


def judged(run, dataset, samples):
    held_out = first_bars(dataset, np.array([6, 7]), CONFIG.bars)
    return judge(
        open_run(run), dataset, held_out, samples, split="valid", config=CONFIG, bar=progress_bar
    )


def test_judge_prints_a_table_and_writes_json_and_a_plot(run, said):
    result, found = said[0], json.loads(said[1])
    assert found["songs"] == [6, 7]
    assert [*found["metrics"]] == [*TITLES]
    for name, title in TITLES.items():
        assert len(found["metrics"][name]["samples"]) == 3
        assert len(found["metrics"][name]["held_out"]) == 2
        assert any(line.startswith(f"{title}  ") for line in result.stdout.splitlines())
    assert (run / "judgement" / "valid.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seeds_give_the_same_json(run, said):
    result, content = call(run, "--json", "-q")
    assert content == said[1]
    assert (json.loads(result.stdout), result.stderr) == ([json.loads(content)], "")


def test_a_training_song_among_the_samples_is_found(run, dataset):
    samples = [dataset.codec.decode(dataset.song(number)) for number in (7, 3, 6)]
    match = judged(run, dataset, samples)["longest_match"]
    notes = len(samples[1].notes)
    assert match == {
        "seed": 1, "notes": notes, "start": 0, "training_song": 3, "training_start": 0
    }  # fmt: skip


def test_a_copy_of_one_instrument_is_found_among_changed_others(run, dataset):
    original = dataset.codec.decode(dataset.song(3))
    melody, drums = split_by_instrument(original.notes)
    drums["start"] += 1  # now between the melody's notes, so no run of all instruments is left
    notes = sort_notes(np.concatenate([melody, drums]))
    changed = Song(notes, original.meters, original.tempos, original.steps_per_beat)
    metrics = judged(run, dataset, [changed] * 3)["metrics"]
    longest = max(len(melody), len(drums))
    assert metrics["matched_notes_one_instrument"]["samples"] == [longest] * 3
    assert all(notes and notes < 3 for notes in metrics["matched_notes"]["samples"])


def test_held_out_songs_are_cut_to_the_bars_of_the_samples(dataset):
    whole = dataset.codec.decode(dataset.song(6))
    beginning = first_bars(dataset, np.array([6, 7]), 1)[6]
    assert beginning.notes.tolist() == whole.notes[whole.notes["start"] < 96].tolist()
    assert len(beginning.notes) < len(whole.notes)


def test_songs_that_begin_later_are_left_out(dataset, make_twin, make_songs):
    song = dataset.codec.decode(dataset.song(6))
    notes = song.notes.copy()
    notes["start"] += 3 * 96
    late = dataset.codec.encode(Song(notes, song.meters, song.tempos, song.steps_per_beat))
    twin = make_twin([late, *make_songs([20, 25])], ["test"] * 3)
    assert [*first_bars(twin, np.arange(3), 3)] == [1, 2]
    assert [*first_bars(twin, np.arange(3), 4)] == [0, 1, 2]
    with pytest.raises(LakhxlError, match="1 of 2 songs begin within 3 bars"):
        first_bars(twin, np.arange(2), 3)


def test_a_length_in_seconds_is_refused():
    with pytest.raises(SettingError, match="--bars, not --seconds"):
        JudgeConfig(seconds=10)
