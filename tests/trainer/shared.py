"""Train one run up to a step, by one process or by those that torchrun starts.

    python shared.py DATASET RUN UNTIL
    python -m torch.distributed.run --standalone --nproc-per-node 2 shared.py DATASET RUN UNTIL

A run that is there goes on from its last checkpoint.
"""

import sys
from pathlib import Path

import torch

from shards import open_dataset
from trainer import checkpoint, ranks, run
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.fit import Fit
from trainer.loop import Trainer

MODEL = ModelConfig(layers=2, width=16, heads=2, memory=24, dropout=0.0, max_bars=16, rtf="strict")
TRAIN = TrainConfig(
    batch=4,
    block=16,
    steps=50,
    warmup=10,
    optimizer="muon",
    learning_rate=3e-3,
    log_every=10,
    evaluate_every=20,
    evaluate_batches=3,
    checkpoint_every=1000,
)


def main(data: str, folder: Path, until: int) -> None:
    """Go on, or begin."""
    dataset = open_dataset(data)
    with ranks.joined("cpu") as (mine, device):
        begun = folder.exists()
        mine.tell(None)  # all have looked
        if mine.first and not begun:
            config = Config(model=MODEL.for_vocabulary(dataset.vocabulary), train=TRAIN)
            run.create(folder, config, dataset)
        mine.tell(None)  # it is there
        opened = run.open_run(folder)
        trainer, state = Trainer(dataset, opened.config, torch.device(device), mine), {}
        if begun:
            tensors, state = checkpoint.load(opened.last_checkpoint())
            trainer.load(tensors, state)
        Fit(trainer, opened, state).go({}, until=until)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
