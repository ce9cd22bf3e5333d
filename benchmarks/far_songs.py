"""What the kNN memory and reverse teacher forcing do to the validation loss of a small model.

    python -m benchmarks.far_songs DATASET plain|knn|shift|window|strict SEED [STEPS [BATCHES]]

Three layers of width 128, T = M = 32, 32 lanes, Muon and QK-norm as in the presets: one line of
JSON with the loss of the first BATCHES of validation, in all and by place in the song. All but the
named part is equal, weights, order of songs and dropout (none) included. Songs have 11,000 tokens
on average, 2 (T + M) is 128.
"""

import json
import sys
import time

import torch

from shards import open_dataset
from trainer.config import Config, ModelConfig, TrainConfig, for_dataset
from trainer.training.metrics_log import PLACE_NAMES, place_losses
from trainer.training.trainer import Trainer


def settings(what: str, seed: int, steps: int) -> Config:
    model = ModelConfig(
        layers=3, d_model=128, heads=2, memory=32, dropout=0.0, qk_norm=True, knn=what == "knn",
        rtf=what if what in ("shift", "window", "strict") else "off",
    )  # fmt: skip
    train = TrainConfig(
        steps=steps, batch_size=32, block_size=32, optimizer="muon", lr=2e-3,
        warmup_steps=min(50, steps // 4), seed=seed,
    )  # fmt: skip
    return Config(model=model, train=train)


def main(path: str, what: str, seed: int, steps: int = 300, batches: int = 60) -> None:
    torch.set_num_threads(1)
    data = open_dataset(path)
    trainer = Trainer(data, for_dataset(settings(what, seed, steps), data), torch.device("cpu"))
    begun, work = time.perf_counter(), time.process_time()
    for _ in range(steps):
        trainer.train_step()
    work, seconds = time.process_time() - work, time.perf_counter() - begun
    scores = trainer.evaluate(batches=batches)
    places = dict(zip(PLACE_NAMES, place_losses(scores.places), strict=True))
    line = {"what": what, "seed": seed, "steps": steps, **scores.means(), "places": places}
    figures = trainer.neighbour_figures()
    print(json.dumps({**line, "seconds": seconds, "cpu": work, **figures}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
