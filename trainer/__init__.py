"""Train a Transformer-XL on a dataset, and generate music with it. Never imports the pipeline.

data/        dataset -> batches
model/       the Transformer-XL, its memory and its loss
run/         the run folder and checkpoints
training/    the training step and loop
generation/  songs from a model
evaluation/  loss on held-out songs
judging/     samples compared with held-out songs
play/        a page to write songs on
cli/         the `trainer` command
config.py    every setting; presets.py: named sets of them
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.generation.trained import TrainedModel
    from trainer.run.folder import Run

# Before torch is loaded: make its CPU threads sleep, not spin, while they wait for each other. On
# two cores with one other busy process, the tiny preset trains at 5,000 tokens/s with sleeping
# threads and at 600-780 with spinning ones. A value set by the user is kept.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def load(path: "Path | str", device: str = "cpu") -> "TrainedModel":
    """Load a run, or what `trainer export` made of one; see `trainer.generation.trained.load`."""
    from trainer.generation.trained import load

    return load(path, device)


def from_pretrained(
    repo_id: str, revision: str | None = None, device: str = "cpu"
) -> "TrainedModel":
    """Load an exported model from the Hugging Face Hub; see `trainer.run.hub.download`."""
    from trainer.generation.trained import load
    from trainer.run.hub import download

    return load(download(repo_id, revision), device)


def open_run(path: "Path | str") -> "Run":
    """Open a run folder: its settings, vocabulary and files; see `trainer.run.folder.open_run`."""
    from trainer.run.folder import open_run

    return open_run(path)
