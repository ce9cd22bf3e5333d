import json
from pathlib import Path

import pytest

from shards.errors import LakhxlError, SettingError
from trainer.run import checkpoint
from trainer.run.folder import check_unused, create_run, dataset_fingerprint, open_run


def test_an_opened_run_equals_the_created_one(tmp_path, twin, config):
    run = create_run(tmp_path / "run", config, twin)
    assert open_run(tmp_path / "run") == run


def test_a_folder_that_is_not_empty_is_refused(tmp_path, twin, config):
    create_run(tmp_path / "run", config, twin)
    with pytest.raises(LakhxlError, match="is a run already: add --resume"):
        create_run(tmp_path / "run", config, twin)
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.mid").touch()
    with pytest.raises(LakhxlError, match="exists and is not a run folder"):
        check_unused(tmp_path / "music")
    with pytest.raises(LakhxlError, match="exists and is not a run folder"):
        check_unused(tmp_path / "music" / "song.mid")


def test_a_folder_that_is_not_a_run_is_named(tmp_path):
    with pytest.raises(LakhxlError, match="no such folder"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(LakhxlError, match=r"is not a run folder: it has no config\.json"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "is damaged"),
        ("[]", "has version None, this program reads 8"),
        ('{"version": 2}', "has version 2, this program reads 8"),
        (
            '{"version": 8, "model": {"layer": 2}, "train": {}, "dataset": {}}',
            "did you mean layers?",
        ),
        ('{"version": 8, "model": 5}', "config.json is damaged (its 'model' is missing"),
    ],
)
def test_a_config_that_cannot_be_read_is_named(tmp_path, twin, config, change, message):
    create_run(tmp_path / "run", config, twin)
    (tmp_path / "run" / "config.json").write_text(change)
    with pytest.raises((LakhxlError, SettingError)) as caught:
        open_run(tmp_path / "run")
    assert message in str(caught.value)


def test_a_run_without_its_vocabulary_is_named(tmp_path, twin, config):
    create_run(tmp_path / "run", config, twin)
    (tmp_path / "run" / "vocabulary.json").unlink()
    with pytest.raises(LakhxlError, match=r"vocabulary\.json is missing: the run is damaged"):
        open_run(tmp_path / "run")


def test_the_best_checkpoint_is_preferred_and_none_is_an_error(tmp_path, twin, config):
    run = create_run(tmp_path / "run", config, twin)
    with pytest.raises(LakhxlError, match="holds no checkpoint yet"):
        run.best_checkpoint()
    checkpoint.save(checkpoint.step_file(run.checkpoints, 5), {}, {})
    assert run.best_checkpoint().name == "step-00000005.safetensors"
    checkpoint.save(run.checkpoints / checkpoint.BEST, {}, {})
    assert run.best_checkpoint().name == checkpoint.BEST


def test_the_fingerprint_of_a_dataset_changes_with_its_songs_and_splits(make_twin, make_songs):
    songs = make_songs([5, 6])
    prints = {
        dataset_fingerprint(make_twin(some, splits))
        for some, splits in [
            (songs, ["train", "valid"]),
            (songs, ["valid", "train"]),
            (songs[::-1], ["train", "valid"]),
        ]
    }
    assert len(prints) == 3


def test_config_json_can_be_read_by_people(tmp_path, twin, config):
    create_run(tmp_path / "run", config, twin)
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    assert content["dataset"]["path"] == str(Path("memory").resolve())
    assert content["model"]["d_model"] == 16
