import json

import numpy as np
import pytest
from click.testing import CliRunner

from shards.errors import LakhxlError, SettingError
from shards.song import Song, sort_notes
from tests.trainer.cli.test_cli import QUICK
from trainer.cli.commands import cli
from trainer.judging.judge import TITLES, JudgeConfig, beginnings, judge, parts_of
from trainer.run.folder import open_run

CONFIG = JudgeConfig(bars=2, count=3)


@pytest.fixture(scope="module")
def run(dataset_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "quick"
    result = CliRunner().invoke(cli, ["fit", str(dataset_folder), "--run", str(folder), *QUICK])
    assert result.exit_code == 0, result.output
    return folder


def call(*arguments):
    return CliRunner().invoke(cli, ["judge", *map(str, arguments)])


def hold(run, dataset, samples):
    from shards.console import progress_bar

    held_out = beginnings(dataset, np.array([6, 7]), CONFIG.bars)
    return judge(
        open_run(run), dataset, held_out, samples, split="valid", config=CONFIG, bar=progress_bar
    )


def test_a_judgement_is_a_table_figures_and_a_picture(run):
    result = call(run, "--split=valid", "--bars=2", "--count=3")
    assert result.exit_code == 0, result.output
    found = json.loads((run / "judgement" / "valid.json").read_text())
    assert found["songs"] == [6, 7]
    assert [*found["measures"]] == [*TITLES]
    for name, title in TITLES.items():
        assert len(found["measures"][name]["samples"]) == 3
        assert len(found["measures"][name]["held_out"]) == 2
        assert any(line.startswith(f"{title}  ") for line in result.stdout.splitlines())
    assert (run / "judgement" / "valid.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seeds_are_judged_the_same(run):
    figures = []
    for _ in range(2):
        assert call(run, "--split=valid", "--bars=2", "--count=3").exit_code == 0
        figures.append((run / "judgement" / "valid.json").read_bytes())
    assert figures[0] == figures[1]


def test_a_training_song_among_the_samples_is_named(run, dataset):
    samples = [dataset.codec.decode(dataset.song(number)) for number in (7, 3, 6)]
    copy = hold(run, dataset, samples)["longest_copy"]
    assert (copy["seed"], copy["song"]) == (1, 3)
    assert (copy["notes"], copy["at"], copy["song_at"]) == (len(samples[1].notes), 0, 0)


def test_a_copied_part_is_found_under_other_parts(run, dataset):
    original = dataset.codec.decode(dataset.song(3))
    melody, drums = parts_of(original.notes)
    drums["start"] += 1  # now between the melody's notes, and no run of the band is left
    notes = sort_notes(np.concatenate([melody, drums]))
    changed = Song(notes, original.meters, original.tempos, original.steps_per_beat)
    found = hold(run, dataset, [changed] * 3)["measures"]
    assert found["copied_in_part"]["samples"] == [max(len(melody), len(drums))] * 3
    assert max(found["copied_notes"]["samples"]) < 3


def test_held_out_songs_have_as_many_bars_as_samples(dataset):
    whole = dataset.codec.decode(dataset.song(6))
    begun = beginnings(dataset, np.array([6, 7]), 1)[6]
    assert begun.notes.tolist() == whole.notes[whole.notes["start"] < 48].tolist()
    assert len(begun.notes) < len(whole.notes)


def test_songs_that_begin_later_are_left_out(dataset, make_twin, make_songs):
    begun = dataset.codec.decode(dataset.song(6))
    notes = begun.notes.copy()
    notes["start"] += 3 * 48
    late = dataset.codec.encode(Song(notes, begun.meters, begun.tempos, begun.steps_per_beat))
    twin = make_twin([late, *make_songs([20, 25])], ["test"] * 3)
    assert [*beginnings(twin, np.arange(3), 3)] == [1, 2]
    assert [*beginnings(twin, np.arange(3), 4)] == [0, 1, 2]
    with pytest.raises(LakhxlError, match="1 of 2 songs begin within 3 bars"):
        beginnings(twin, np.arange(2), 3)


def test_a_length_in_seconds_is_refused():
    with pytest.raises(SettingError, match="--bars, not --seconds"):
        JudgeConfig(seconds=10)
