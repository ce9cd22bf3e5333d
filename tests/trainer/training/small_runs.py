"""Settings of runs that train in seconds, and how a process starts or resumes one."""

from pathlib import Path

import torch

from shards import Dataset
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.model.knn import file as knn_file
from trainer.run import checkpoint
from trainer.run.folder import create_run, open_run
from trainer.training.distributed import Ranks
from trainer.training.loop import TrainingLoop
from trainer.training.trainer import Trainer

CPU = torch.device("cpu")
CONFIG = Config(
    model=ModelConfig(layers=2, d_model=16, heads=2, memory=24, dropout=0.1, max_bars=16),
    train=TrainConfig(
        batch_size=6,
        accumulate=3,
        block_size=8,
        warmup_steps=10,
        optimizer="muon",
        lr=1e-2,
        log_every=10,
        evaluate_every=50,
        evaluate_batches=3,
        checkpoint_every=6,
        sample_bars=0,
    ),
)


def start_or_resume(
    dataset: Dataset,
    folder: Path,
    config: Config,
    *,
    device: torch.device = CPU,
    ranks: Ranks | None = None,
) -> TrainingLoop:
    """Do what `trainer fit` does for a new folder, and `trainer fit --resume` for another."""
    ranks, is_new = ranks or Ranks(), not folder.exists()
    ranks.barrier()  # every rank has looked
    if is_new and ranks.is_first:
        create_run(folder, config, dataset)
    ranks.barrier()  # the folder exists
    run = open_run(folder)
    trainer, state, last = Trainer(dataset, run.config, device, ranks), {}, run.last_checkpoint()
    if last is not None:
        tensors, state = checkpoint.load(last)
        database = knn_file.store_file(last.parent, state["step"])
        trainer.load(tensors, state, knn_memory=(database, state.get("knn_checksum") or ""))
    return TrainingLoop(trainer, run, state)
