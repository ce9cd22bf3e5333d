"""Train a small model from settings written as in `trainer fit --set`, and score it."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from shards.reader import SongSource
from trainer import presets
from trainer.config import for_dataset, override
from trainer.model.loss import POSITION_NAMES
from trainer.training.metrics_log import mean_loss_by_position
from trainer.training.trainer import Trainer


def make_trainer(dataset: SongSource, settings: Sequence[str]) -> Trainer:
    """A trainer on one CPU thread; settings that are not named are those of the preset tiny."""
    torch.set_num_threads(1)
    config = for_dataset(override(presets.preset("tiny"), list(settings)), dataset)
    return Trainer(dataset, config, torch.device("cpu"))


def train(trainer: Trainer) -> float:
    """Take all training steps; returns the processor time in seconds."""
    begun = time.process_time()
    for _ in range(trainer.config.train.steps):
        trainer.train_step()
    return time.process_time() - begun


def scores(trainer: Trainer, batches: int) -> dict[str, Any]:
    """Validation losses of the first batches, in nats per token, overall and by position."""
    found = trainer.evaluate(batches=batches)
    assert found is not None
    by_position = mean_loss_by_position(found.by_position)
    return {
        "steps": trainer.step,
        **found.means(),
        "by_position": dict(zip(POSITION_NAMES, by_position, strict=True)),
    }
