"""Train runs up to a step, by one process or by those that torchrun starts.

    python shared.py DATASET RUN UNTIL …
    python -m torch.distributed.run --standalone --nproc-per-node 2 shared.py DATASET RUN UNTIL …

One run after the other, because to start processes takes longer than to train. A run that is there
goes on from its last checkpoint.
"""

import sys
from pathlib import Path

import torch

from shards import Dataset, open_dataset
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.run import checkpoint
from trainer.run import folder as run
from trainer.training import distributed as ranks
from trainer.training.distributed import Ranks
from trainer.training.loop import Fit
from trainer.training.trainer import Trainer

MODEL = ModelConfig(
    layers=2, d_model=16, heads=2, memory=24, dropout=0.0, max_bars=16, rtf="strict"
)
TRAIN = TrainConfig(
    batch_size=4,
    block_size=16,
    steps=50,
    warmup_steps=10,
    optimizer="muon",
    lr=3e-3,
    log_every=10,
    evaluate_every=20,
    evaluate_batches=3,
    checkpoint_every=1000,
)


def main(data: str, *runs: tuple[Path, int]) -> None:
    """Go on with each, or begin."""
    dataset = open_dataset(data)
    with ranks.joined("cpu") as (mine, device):
        for folder, until in runs:
            trainer = train(dataset, folder, until, mine, torch.device(device))
    left = [name for name in threads() if "gloo" in name]
    assert not left, f"with {trainer} still there: {left}"


def train(dataset: Dataset, folder: Path, until: int, mine: Ranks, device: torch.device) -> Trainer:
    """As one rank of those that share it."""
    begun = folder.exists()
    mine.meet()  # all have looked
    if mine.first and not begun:
        config = Config(model=MODEL.for_vocabulary(dataset.vocabulary), train=TRAIN)
        run.create(folder, config, dataset)
    mine.meet()  # it is there
    opened = run.open_run(folder)
    trainer, state = Trainer(dataset, opened.config, device, mine), {}
    if begun:
        tensors, state = checkpoint.load(opened.last_checkpoint())
        trainer.load(tensors, state)
    Fit(trainer, opened, state).go({}, until=until)
    return trainer


def threads() -> list[str]:
    """Names of this process's threads, Python's and others; none where there is no /proc."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    words = sys.argv[2:]
    main(sys.argv[1], *zip(map(Path, words[::2]), map(int, words[1::2]), strict=True))
