"""Train runs to their end in processes that are killed again and again.

    python killed.py DATASET RUNS

RUNS is a JSON list of objects: folder, model (plain or knn), steps, kills. Each kill is step:group,
SIGKILL in the middle of that step, before that group of lanes; or step:checkpoint, SIGKILL after
the kNN memory's file is written and before its checkpoint, which comes every six steps. All
processes are forks of one, because importing torch takes longer than training.
"""

import dataclasses
import gc
import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # which an optimizer's first step imports: seconds in every fork

from shards import open_dataset
from tests.trainer.charts import draw_none
from tests.trainer.training.small_runs import CONFIG, start_or_resume
from trainer.run import checkpoint

MODELS = {"plain": {}, "knn": {"memory": 8, "knn": True, "knn_capacity": 40, "knn_k": 4}}
FORK_SECONDS = 120
"""SIGALRM ends a fork that takes longer."""


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(trainer, step, group):
    """Have the process killed in the middle of a step, or after it, before its checkpoint."""
    if group == "checkpoint":
        save = checkpoint.save
        checkpoint.save = lambda *a, **k: die() if trainer.step == step else save(*a, **k)
        return
    score_batch, groups = trainer._scoring.run, iter(range(10**9))

    def score_or_die(model, batch, memory):
        if model.training and trainer.step == step and next(groups) == int(group):
            die()
        return score_batch(model, batch, memory)

    trainer._scoring.run = score_or_die


def run_in_fork(work):
    """Run it in a child process; returns minus the signal that ended it, 0 for none."""
    child = os.fork()
    if not child:
        signal.alarm(FORK_SECONDS)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_killed(dataset, folder, model, steps, kills):
    config = dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(CONFIG.model, **MODELS[model]).for_vocabulary(dataset.vocabulary),
        train=dataclasses.replace(CONFIG.train, steps=steps),
    )

    def train(kill=None):
        loop = start_or_resume(dataset, Path(folder), config)
        if kill is not None:
            step, group = kill.split(":")
            die_at(loop.trainer, int(step), group)
        assert loop.run({"loss": 0.0, "tokens": 0.0, "instruments": 0.0})

    for kill in kills:
        ended = run_in_fork(lambda kill=kill: train(kill))
        assert ended == -signal.SIGKILL, f"{folder}, {kill}: ended with {ended}"
    assert run_in_fork(train) == 0


if __name__ == "__main__":
    draw_none()
    torch.set_num_threads(1)
    gc.freeze()  # forks need not search what the libraries made
    songs = open_dataset(sys.argv[1])
    for options in json.loads(sys.argv[2]):
        train_killed(songs, **options)
