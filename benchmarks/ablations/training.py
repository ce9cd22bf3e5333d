"""Train a small model from settings written as in `trainer fit --set`, and score it."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from shards.reader import SongSource
from trainer import presets
from trainer.config import for_dataset, override
from trainer.device import keep_freed_memory
from trainer.model.loss import POSITION_NAMES
from trainer.training.metrics_log import mean_loss_by_position
from trainer.training.trainer import Trainer

CPU = torch.device("cpu")


def make_trainer(
    dataset: SongSource,
    settings: Sequence[str],
    *,
    preset: str = "tiny",
    device: torch.device = CPU,
) -> Trainer:
    """A trainer; on a CPU with one thread. Settings that are not named are the preset's."""
    torch.set_num_threads(1)
    keep_freed_memory(device)
    config = for_dataset(override(presets.preset(preset), list(settings)), dataset)
    return Trainer(dataset, config, device)


def train(trainer: Trainer, steps: int | None = None) -> float:
    """Take training steps, all by default; returns the processor or GPU time in seconds."""
    is_cuda = trainer.device.type == "cuda"
    clock = time.perf_counter if is_cuda else time.process_time
    begun = clock()
    for _ in range(trainer.config.train.steps if steps is None else steps):
        trainer.train_step()
    if is_cuda:
        torch.cuda.synchronize()
    return clock() - begun


def scores(trainer: Trainer, batches: int | None) -> dict[str, Any]:
    """Validation losses of the first batches, in nats per token, overall and by position.

    And the metrics of a kNN memory, if there is one.
    """
    found = trainer.evaluate(batches=batches)
    assert found is not None
    by_position = mean_loss_by_position(found.by_position)
    return {
        "steps": trainer.step,
        **found.means(),
        "by_position": dict(zip(POSITION_NAMES, by_position, strict=True)),
        **trainer.knn_metrics(),
    }
