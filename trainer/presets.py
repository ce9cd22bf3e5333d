"""Named settings to start from; `--set` changes any of them.

micro   a quarter of an hour on a CPU; the demo takes a fourth of its steps
tiny    twice as large, for longer runs on a CPU: after 20 minutes micro is still ahead
small   27 million parameters: an evening on one GPU
base    116 million: days on one GPU with 40 GB or more
large   360 million: a week and more on one GPU with 80 GB

Of the GPU presets, by law and not by measurement: heads are 128 wide; a step has 131,072 tokens,
the least that public runs of such models use (they go up to 524,288); the learning rate is
2e-3 · sqrt(512 / d_model); `accumulate` bounds what a group's activations take to about 25 GB.
"""

from typing import Any

from shards.errors import SettingError
from trainer.config import Config, ModelConfig, TrainConfig

CPU: dict[str, Any] = {
    "batch_size": 64, "block_size": 32, "lr": 2e-3, "warmup_steps": 100,
    "evaluate_every": 250, "evaluate_batches": 32, "checkpoint_every": 250,
}  # fmt: skip
"""What the CPU presets have in common. Many short lanes: after 300 steps of tiny 3.29, against 3.43
with 32 x 64 and 3.61 with 16 x 128."""

GPU: dict[str, Any] = {"warmup_steps": 500, "evaluate_batches": 8}
"""What the GPU presets have in common; 8 batches are a million tokens."""

PRESETS = {
    "micro": Config(
        # In 18 min of one core on real songs 2.98, tiny 3.43; in 4 on the demo 2.25 and 3.04.
        model=ModelConfig(layers=3, d_model=128, heads=2, memory=256, dropout=0.0),
        train=TrainConfig(steps=3000, **CPU),
    ),
    "tiny": Config(
        model=ModelConfig(layers=4, d_model=192, heads=3, memory=256, dropout=0.0),
        train=TrainConfig(steps=1500, **CPU),
    ),
    "small": Config(
        model=ModelConfig(layers=8, d_model=512, heads=4, memory=512),
        train=TrainConfig(
            steps=12_500, batch_size=256, accumulate=2, block_size=512, lr=2e-3, **GPU
        ),
    ),
    "base": Config(
        model=ModelConfig(layers=16, d_model=768, heads=6, memory=1024),
        train=TrainConfig(
            steps=75_000, batch_size=128, accumulate=4, block_size=1024, lr=1.6e-3, **GPU
        ),
    ),
    "large": Config(
        model=ModelConfig(layers=18, d_model=1280, heads=10, memory=1024),
        train=TrainConfig(
            steps=75_000, batch_size=128, accumulate=8, block_size=1024, lr=1.3e-3, **GPU
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
