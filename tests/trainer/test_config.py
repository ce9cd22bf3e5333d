import pytest

from shards import settings
from shards.errors import SettingError
from shards.settings_file import settings_text
from trainer.config import FROM_VOCABULARY, Config, ModelConfig, TrainConfig, override
from trainer.presets import PRESETS, preset


def test_an_assignment_goes_to_the_part_that_has_the_setting():
    config = override(Config(), ["layers=3", "lr=0.5", "window=none", "compile=true"])
    assert (config.model.layers, config.model.window) == (3, None)
    assert (config.train.lr, config.train.compile) == (0.5, True)


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_of_a_presets_settings_makes_that_preset_of_any_other(name, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(settings_text(vars(preset(name)), without=FROM_VOCABULARY))
    assert all(override(config, [], path) == preset(name) for config in PRESETS.values())


def test_set_overrides_a_file_and_both_must_fit_together_only_in_the_end(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nd_model = 10\nlayers = 3\n[train]\nlr = 0.5\n")
    config = override(Config(), ["heads=1", "layers=2"], path)
    assert (config.model.d_model, config.model.heads, config.model.layers) == (10, 1, 2)
    assert config.train.lr == 0.5


def test_a_file_may_not_state_what_the_dataset_gives(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[model]\nvocab_size = 9")
    with pytest.raises(SettingError, match=r"mine\.toml: \[model\]: vocab_size is given by"):
        override(Config(), [], path)


def test_model_and_training_share_no_name():
    assert not settings.to_json(ModelConfig()).keys() & settings.to_json(TrainConfig()).keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer=3", "unknown setting 'layer'; did you mean layers?"),
        ("qqq=3", "unknown setting 'qqq'; known: vocab_size, "),
        ("layers", "--set layers: expected name=value"),
        ("layers=three", "layers is 'three'; expected int"),
        ("layers=0", "layers is 0; expected at least 1"),
        ("vocab_size=9", "vocab_size is given by the dataset"),
        ("precision=fp16", "expected one of auto, fp32, bf16"),
        ("lr=nan", "lr is nan; expected at least 0"),
        ("beta2=1", "beta2 is 1.0; expected at most"),
        ("final_lr_ratio=2", "final_lr_ratio is 2.0; expected at most 1"),
        ("d_model=100", "multiple of twice heads"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(text, message):
    with pytest.raises(SettingError) as caught:
        override(Config(), [text])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name):
    config = preset(name)
    assert settings.from_json(Config, settings.to_json(config), where="test") == config


def test_a_window_that_hides_what_leaves_the_memory_is_refused_with_a_knn_memory():
    with pytest.raises(SettingError, match="window is 4; with knn expected more than memory = 8"):
        override(Config(), ["knn=true", "memory=8", "window=4"])
