"""Named settings to start from; `--set` changes any of them.

tiny    minutes on two CPU cores: enough to hear that it learns
small   an evening on one GPU
base    days on one GPU with 40 GB or more
"""

from shards.errors import SettingError
from trainer.config import Config, ModelConfig, TrainConfig

PRESETS = {
    "tiny": Config(
        # Many short lanes: after 300 steps 3.29, against 3.43 with 32 x 64 and 3.61 with 16 x 128.
        model=ModelConfig(layers=4, d_model=192, heads=3, memory=256, dropout=0.0),
        train=TrainConfig(
            steps=1500,
            batch_size=64,
            block_size=32,
            lr=2e-3,
            warmup_steps=100,
            evaluate_every=250,
            evaluate_batches=32,
            checkpoint_every=250,
        ),
    ),
    "small": Config(
        model=ModelConfig(layers=8, d_model=512, heads=8, memory=512),
        train=TrainConfig(
            steps=100_000,
            batch_size=32,
            block_size=512,
            lr=1e-3,
            warmup_steps=1000,
            evaluate_batches=64,
        ),
    ),
    "base": Config(
        model=ModelConfig(layers=16, d_model=768, heads=12, memory=1024),
        train=TrainConfig(
            steps=300_000,
            batch_size=32,
            block_size=1024,
            lr=5e-4,
            warmup_steps=2000,
            compile=True,
            evaluate_every=2000,
            evaluate_batches=64,
        ),
    ),
}


def preset(name: str) -> Config:
    """The settings of a preset.

    Raises:
        SettingError: there is no such preset.
    """
    if name not in PRESETS:
        raise SettingError(f"no preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
