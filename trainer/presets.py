"""Named settings to start from; `--set` changes any of them.

tiny    minutes on two CPU cores: enough to hear that it learns
small   an evening on one GPU
base    days on one GPU with 40 GB or more
"""

from shards.errors import SettingError
from trainer.config import Config, ModelConfig, TrainConfig

PRESETS = {
    "tiny": Config(
        # 16 x 128 rather than 8 x 256: after 300 steps on 1,000 songs, validation loss 3.70
        # instead of 3.87, and 32 x 64 gave 3.73 (rate 1e-3). Rate 2e-3: 3.63.
        model=ModelConfig(layers=4, width=192, heads=3, memory=256, dropout=0.0),
        train=TrainConfig(
            steps=1500,
            batch=16,
            block=128,
            learning_rate=2e-3,
            warmup=100,
            evaluate_every=250,
            evaluate_batches=32,
            checkpoint_every=250,
        ),
    ),
    "small": Config(
        model=ModelConfig(layers=8, width=512, heads=8, memory=512),
        train=TrainConfig(
            steps=100_000,
            batch=32,
            block=512,
            learning_rate=1e-3,
            warmup=1000,
            evaluate_batches=64,
        ),
    ),
    "base": Config(
        model=ModelConfig(layers=16, width=768, heads=12, memory=1024),
        train=TrainConfig(
            steps=300_000,
            batch=32,
            block=1024,
            learning_rate=5e-4,
            warmup=2000,
            compile=True,
            evaluate_every=2000,
            evaluate_batches=64,
        ),
    ),
}


def preset(name: str) -> Config:
    """The settings of a name.

    Raises:
        SettingError: there is no such preset.
    """
    if name not in PRESETS:
        raise SettingError(f"no preset {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
