"""What the kNN memory and reverse teacher forcing do to the validation loss of a small model."""

import json
from pathlib import Path

import click

from benchmarks.ablations.training import make_trainer, scores, train
from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset

SETTINGS = (
    "layers=3 d_model=128 heads=2 memory=32 dropout=0 instrument_head=plain batch_size=32 "
    "block_size=32 optimizer=muon lr=0.002"
)
CHOICES = {"plain": [], "knn": ["knn=true"]} | {
    mode: [f"rtf={mode}"] for mode in ("shift", "window", "strict")
}


@click.command(cls=Measurement)
@dataset_argument
@click.argument("what", type=click.Choice(list(CHOICES)))
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=300, show_default=True)
@click.option("--batches", default=60, show_default=True, help="Validation batches.")
def command(dataset: Path, what: str, seed: int, steps: int, batches: int) -> None:
    """Train a small model on DATASET with one feature, and print its losses as a line of JSON.

    Three layers of width 128, T = M = 32, 32 lanes, Muon. All else is equal: weights, order of
    songs, no dropout. 2 (T + M) is 128 tokens; songs of Lakh have 11,000 on average.
    """
    schedule = [f"steps={steps}", f"warmup_steps={min(50, steps // 4)}", f"seed={seed}"]
    trainer = make_trainer(open_dataset(dataset), [*SETTINGS.split(), *schedule, *CHOICES[what]])
    cpu = train(trainer)
    line = {"what": what, "seed": seed, **scores(trainer, batches), "cpu": cpu}
    print(json.dumps(line | trainer.knn_metrics()))
