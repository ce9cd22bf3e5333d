"""The command line: every wrong input gets one clear line, every command an example."""

import shutil

import click
import mido
import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from shards.layout import FORMAT_VERSION


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


def error_of(*words) -> str:
    """What a command prints on stderr when it fails with one line and status 1."""
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = [line for line in result.stderr.splitlines() if not line.startswith("verifying")]
    assert line.startswith("Error: ")
    return line


@pytest.mark.parametrize("name", cli.commands)
def test_every_commands_help_ends_in_an_example(name):
    text = run(name, "--help").output
    about, _, example = text.partition("Example:")
    assert len(about.split()) > 5
    assert example.lstrip().startswith(f"pipeline {name}")


def test_settings_prints_every_option_of_run_with_its_help():
    text = "".join(run("settings").stdout.split())
    own = {"sources", "out", "name", "restart"}
    for option in cli.commands["run"].params:
        if option.name not in own:
            assert f"{option.name}=" in text
            assert "".join(option.help.split()) in text


def test_every_setting_has_its_place_in_the_help_of_run():
    options = {option.name for option in cli.commands["run"].params}
    assert {"steps_per_beat", "max_silence", "min_notes", "valid", "workers"} <= options
    assert all(o.help for o in cli.commands["run"].params if isinstance(o, click.Option))


def test_a_source_that_is_not_there(tmp_path):
    assert "no such file or folder" in error_of("run", tmp_path / "none", "--out", tmp_path)


def test_a_folder_without_midi_files(tmp_path):
    (tmp_path / "midi").mkdir()
    (tmp_path / "midi" / "README.txt").write_text("nothing here")
    assert ".mid" in error_of("run", tmp_path / "midi", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_source_and_no_data_folder_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = error_of("run")
    assert "pipeline fetch" in line
    assert "pipeline demo" in line
    assert list(tmp_path.iterdir()) == []


def test_a_typo_in_an_option_is_refused(demo, tmp_path):
    result = run("run", demo[0], "--out", tmp_path, "--min-note", "3")
    assert result.exit_code == 2
    assert "No such option '--min-note'" in result.stderr
    assert "'--min-notes'" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--steps-per-beat", "3", "at least 4"),
        ("--min-notes", "0", "at least 1"),
        ("--valid", "1.0", "nothing to train on"),
        ("--workers", "0", "at least 1"),
        ("--name", "../elsewhere", "plain folder name"),
    ],
)
def test_a_value_out_of_bounds_is_refused(demo, tmp_path, option, value, words):
    assert words in error_of("run", demo[0], "--out", tmp_path / "out", option, value)
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_exists_is_not_overwritten(demo, dataset):
    before = (dataset.path / "dataset.json").read_bytes()
    assert "--restart" in error_of("run", demo[0], "--out", dataset.path.parent)
    assert (dataset.path / "dataset.json").read_bytes() == before


def copy_of(dataset, tmp_path):
    return shutil.copytree(dataset.path, tmp_path / "lakh")


def test_a_path_that_holds_no_dataset_or_several(dataset, tmp_path):
    assert "no such folder" in error_of("report", tmp_path / "none")
    assert "holds no dataset" in error_of("report", tmp_path)
    copy_of(dataset, tmp_path)
    assert run("report", tmp_path).exit_code == 0
    shutil.copytree(dataset.path, tmp_path / "other")
    line = error_of("report", tmp_path)
    assert "lakh" in line
    assert "other" in line


def test_a_dataset_of_another_format_version_is_refused(dataset, tmp_path):
    manifest = copy_of(dataset, tmp_path) / "dataset.json"
    this = f'"format_version": {FORMAT_VERSION}'
    manifest.write_text(manifest.read_text().replace(this, '"format_version": 9'))
    assert f"format version 9, this program reads {FORMAT_VERSION}" in error_of("report", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-4], lambda data: b"", lambda data: data[:40], lambda data: data + b"\0"],
)
def test_a_damaged_shard_is_named(dataset, tmp_path, damage):
    shard = copy_of(dataset, tmp_path) / "tokens-00000.npy"
    shard.write_bytes(damage(shard.read_bytes()))
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert "tokens-00000.npy" in result.stdout
    if len(shard.read_bytes()) < 1000:
        assert "tokens-00000.npy is damaged" in error_of("show", tmp_path, 0)


def test_a_shard_of_another_length_is_named(dataset, tmp_path):
    shard = copy_of(dataset, tmp_path) / "steps-00000.npy"
    np.save(shard, np.load(shard)[:-7])
    assert "steps-00000.npy holds" in error_of("show", tmp_path, 0)


@pytest.mark.parametrize("changed", ["51", " 50", "5e1"])
def test_a_manifest_with_other_bytes_is_found_though_it_may_read_alike(dataset, tmp_path, changed):
    manifest = copy_of(dataset, tmp_path) / "dataset.json"
    whole = manifest.read_text()
    assert '"min_notes": 50' in whole
    manifest.write_text(whole.replace('"min_notes": 50', f'"min_notes": {changed}'))
    result = run("verify", tmp_path)
    assert result.exit_code == 1
    assert "dataset.json" in result.stdout


def test_any_bit_flipped_in_any_file_is_found(dataset, tmp_path):
    folder, random = copy_of(dataset, tmp_path), np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        bad = bytearray(good)
        bad[random.integers(len(bad))] ^= 1 << random.integers(8)
        path.write_bytes(bad)
        result = run("verify", folder)
        assert result.exit_code == 1, path.name
        assert path.name in result.output
        path.write_bytes(good)
    assert run("verify", folder).exit_code == 0


def test_a_song_is_found_by_number_md5_and_path(dataset):
    path, md5 = dataset.index["path"][3].as_py(), dataset.index["md5"][3].as_py()
    for wanted in ("3", path, md5):
        assert md5 in run("show", dataset.path, wanted).stdout
    assert "has no song 'zzz'" in error_of("show", dataset.path, "zzz")
    assert "songs of" in error_of("show", dataset.path, ".mid")


def test_a_rendered_song_is_read_back_with_its_notes(dataset, tmp_path):
    out = tmp_path / "song.mid"
    assert run("render", dataset.path, "0", "-o", out).exit_code == 0
    ons = [m for track in mido.MidiFile(out).tracks for m in track if m.type == "note_on"]
    assert len(ons) == dataset.index["notes"][0].as_py()


def test_encode_refuses_a_file_without_music(dataset, tmp_path):
    (tmp_path / "page.mid").write_text("<html>")
    words = ["--vocabulary", dataset.path / "vocabulary.json", "-o", tmp_path / "song.npz"]
    assert "page.mid" in error_of("encode", tmp_path / "page.mid", *words)
    assert "none.mid" in error_of("encode", tmp_path / "none.mid", *words)
    assert not (tmp_path / "song.npz").exists()


def test_outputs_are_checked_before_the_dataset_is_read(dataset, tmp_path):
    mine = tmp_path / "mine.mid"
    mine.write_text("mine")
    song, no = [dataset.path, "0"], tmp_path / "no"
    assert "--overwrite" in error_of("render", *song, "-o", mine)
    assert mine.read_text() == "mine"
    assert "is a folder" in error_of("render", *song, "-o", tmp_path)
    assert "ends in" in error_of("render", *song, "-o", tmp_path / "a.mp3")
    assert "no such folder" in error_of("show", *song, "--image", no / "a.png")
    assert "ends in .html" in error_of("compare", no, no, "-o", tmp_path / "a.txt")
    vocabulary = ["--vocabulary", dataset.path / "vocabulary.json"]
    assert "ends in .npz" in error_of("encode", mine, *vocabulary, "-o", tmp_path / "a.txt")
    assert run("render", *song, "-o", mine, "--overwrite").exit_code == 0
    assert mine.read_bytes().startswith(b"MThd")


def test_a_file_is_encoded_with_the_settings_of_a_dataset(demo, dataset, tmp_path):
    path, out = demo[0] / dataset.index["path"][0].as_py(), tmp_path / "song.npz"
    known = ["--vocabulary", dataset.path / "vocabulary.json", "--settings"]
    (tmp_path / "link.mid").symlink_to(path)
    words = ["encode", tmp_path / "link.mid", *known, dataset.path / "dataset.json", "-o", out]
    assert run(*words).exit_code == 0
    with np.load(out) as arrays:
        assert np.array_equal(arrays["tokens"], dataset.song(0).tokens)
    wrong = tmp_path / "list.json"
    wrong.write_text("[]")
    line = error_of("encode", path, *known, wrong, "-o", tmp_path / "b.npz")
    assert "is not a dataset.json: it has no 'settings'" in line
    known = [*known, dataset.path / "dataset.json"]
    assert "a folder" in error_of("encode", tmp_path, *known, "-o", tmp_path / "b.npz")
