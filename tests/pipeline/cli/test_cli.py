"""The command line: every wrong input gets one clear line, every command an example."""

import importlib.metadata
import json
import math
import re
import shutil
from pathlib import Path

import click
import mido
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.report.read_report import read_report
from shards import layout
from shards.layout import FORMAT_VERSION
from shards.writer import write_table


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
    own = {"sources", "out", "name", "restart", "as_json", "quiet", "config"}
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


def test_a_folder_that_was_removed_is_told_and_a_name_keeps_its_spaces(demo, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    words = error_of("run", demo, "--out", "o", "--workers", "1")
    assert words.startswith("Error: the current folder was removed, change to another: ")
    monkeypatch.chdir(tmp_path)
    assert error_of("report", "two  spaces").startswith("Error: two  spaces: no such folder")


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
        ("--workers", "100000", "at most 1024"),
        ("--memory-limit", str(10**15), "at most 10000000"),
        ("--max-silence-seconds", "inf", "expected a finite number"),
        ("--min-notes", "60001", "above max_notes, 60000: no song fits"),
        ("--duplicate-list", "", "cannot be read"),
        ("--name", "../elsewhere", "plain folder name"),
        ("--name", "..", "plain folder name"),
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


# --- what programs read


def json_of(*words):
    """The one JSON document that a command prints; its numbers are finite."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    result = run(*words, "--json", "-q")
    assert result.stderr.partition("Error: ")[0] == ""
    return json.loads(result.stdout, parse_constant=refuse), result.exit_code


def test_run_prints_its_report_as_json(demo, tmp_path):
    found, status = json_of("run", demo[0], "--out", tmp_path, "--workers", 1)
    assert status == 0
    assert found["report"] == json.loads((tmp_path / "lakh/report.json").read_text())
    assert all(Path(found[name]).exists() for name in ("dataset", "report_page", "times_page"))


def test_report_and_audit_as_json_are_what_they_are_made_of(dataset):
    assert json_of("report", dataset.path) == (read_report(dataset.path), 0)
    found, status = json_of("audit", dataset.path)
    assert (found["songs"], found["leaks"], status) == (len(dataset), [], 0)
    assert sum(found["duplicates"].values()) == sum(
        kind is not None for kind in dataset.index["duplicate"].to_pylist()
    )


def test_verify_tells_faults_as_json_and_by_its_status(dataset, tmp_path):
    found, status = json_of("verify", dataset.path)
    assert (found["faults"], found["songs"], status) == ([], len(dataset), 0)
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    (copy / "report.html").write_text("changed")
    found, status = json_of("verify", copy)
    assert (len(found["faults"]), status) == (1, 1)
    assert "report.html" in found["faults"][0]


def test_a_song_as_json_has_every_column_of_index_and_ledger(dataset):
    found, _ = json_of("show", dataset.path, 3)
    own = {"song", "ledger_row", "program_names", "first_tokens"}
    assert found.keys() == {*layout.INDEX_COLUMNS, *layout.LEDGER_COLUMNS} | own
    row = dataset.index.slice(3, 1).to_pylist()[0]
    assert {name: found[name] for name in ("path", "notes", "programs", "bpm")} == {
        name: row[name] for name in ("path", "notes", "programs", "bpm")
    }


def test_a_song_without_a_bar_similarity_has_null_there(dataset, tmp_path):
    column = dataset.index.schema.get_field_index("bar_similarity")
    nothing = pa.array([math.nan] * len(dataset), pa.float32())
    copy = shutil.copytree(dataset.path, tmp_path / "copy")
    write_table(copy / layout.INDEX, dataset.index.set_column(column, "bar_similarity", nothing))
    found, _ = json_of("show", copy, 3)
    assert found["bar_similarity"] is None


def test_a_rejected_file_is_found_by_path_md5_and_row_of_the_ledger(dataset):
    rows = dataset.ledger().to_pylist()
    number = next(n for n, row in enumerate(rows) if row["rule"] == "too_few_notes")
    row = rows[number]
    for words in ([row["path"]], [row["path"][-12:]], [row["md5"][:8]], [number, "--ledger"]):
        found, status = json_of("show", dataset.path, *words)
        assert status == 0
        assert found == {"ledger_row": number, **row, "repairs": dict(row["repairs"])}
    text = run("show", dataset.path, row["path"]).stdout
    for name in ("outcome", "rule", "value", "threshold"):
        assert re.search(rf"^{name} +\S", text, re.M)
    assert f"{row['threshold']:.4g}" in text


def test_a_number_beyond_the_songs_or_the_ledger_is_refused(dataset):
    for number in (len(dataset), "9" * 5000):
        assert f"expected 0 to {len(dataset) - 1}" in error_of("show", dataset.path, number)
    rows = dataset.ledger().num_rows
    assert f"it has {rows} rows" in error_of("show", dataset.path, rows, "--ledger")
    assert "it has" in error_of("show", dataset.path, "9" * 5000, "--ledger")


def test_a_kept_file_is_the_same_by_song_and_by_row_of_the_ledger(dataset):
    number = dataset.ledger()["song"].to_pylist().index(3)
    by_row, by_song = run("show", dataset.path, number, "--ledger"), run("show", dataset.path, 3)
    assert by_row.stdout == by_song.stdout


def test_a_rejected_file_cannot_be_drawn(dataset, tmp_path):
    path = next(row["path"] for row in dataset.ledger().to_pylist() if row["song"] is None)
    assert "was not kept" in error_of("show", dataset.path, path, "--image", tmp_path / "x.png")


@pytest.mark.parametrize("name", ["run", "report", "audit", "verify", "show"])
def test_help_says_what_the_json_holds(name):
    assert "--json:" in cli.commands[name].help


def test_quiet_leaves_stderr_to_errors(demo, dataset, tmp_path):
    for words in (("demo", tmp_path / "midi", "--songs", 2), ("run", demo[0], "--out", tmp_path),
                  ("verify", dataset.path), ("audit", dataset.path)):  # fmt: skip
        result = run(*words, "-q")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout
    assert error_of("verify", tmp_path / "missing", "--quiet")


def test_the_version_is_that_of_the_package():
    result = run("--version")
    assert result.stdout == f"lakhxl {importlib.metadata.version('lakhxl')}\n"


def test_a_run_can_start_from_a_file_that_settings_prints(demo, tmp_path):
    path, words = tmp_path / "mine.toml", ["run", demo[0], "--out", tmp_path, "--workers", 1]
    text = run("settings", "--toml").stdout
    assert "\nvalid = 0.05\n" in text
    assert "\nmin_notes = 50\n" in text
    path.write_text(text.replace("valid = 0.05", "valid = 0.25").replace("= 50\n", "= 60\n"))
    given = ["--name", "given", "--config", path, "--min-notes", 70]
    assert run(*words, *given).exit_code == 0
    assert run(*words, "--name", "same", "--valid", 0.25, "--min-notes", 70).exit_code == 0
    ones = [(tmp_path / name / "dataset.json").read_text() for name in ("given", "same")]
    assert ones[0] == ones[1]


def test_an_empty_condition_and_a_huge_corpus_are_refused(dataset):
    assert "--where ''" in error_of("what-if", dataset.path, "--where", "")
    assert "songs is 1000000; expected at most" in error_of("demo", "x", "--songs", 10**6)


def test_a_typo_in_a_settings_file_is_one_line_that_names_it(demo, tmp_path):
    (tmp_path / "mine.toml").write_text("[limits]\nmin_note = 3\n")
    line = error_of("run", demo[0], "--out", tmp_path / "out", "--config", tmp_path / "mine.toml")
    assert "mine.toml: [limits]: unknown setting 'min_note'; did you mean min_notes?" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("instrument >= 3", "there is no column 'instrument'; did you mean instruments?"),
        ("lower(metre) = 'x'", "there is no column 'metre'; did you mean meter?"),
        ("zzz = 3", "there is no column 'zzz'; known: path, "),
        ('meter = "4/4"', "there is no column '4/4'; text is quoted like this: '4/4'"),
    ],
)
def test_a_wrong_column_is_told_with_the_nearest(dataset, where, complaint):
    assert complaint in error_of("what-if", dataset.path, "--where", where)
