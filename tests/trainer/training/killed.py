"""Train runs to their end while they are killed again and again, in processes of their own.

    python killed.py DATASET RUNS

RUNS is a JSON list of objects: folder, model (plain or knn), steps, kills. Each kill is step:group;
the process is killed by SIGKILL in the middle of that step, before that group of lanes; or
step:checkpoint, after the kNN memory's file is written and before the checkpoint that belongs to
it, which comes every six steps. All are forks of one process, because importing torch takes longer
than a training.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # which an optimizer's first step imports: seconds in every fork

from shards import open_dataset
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.model.knn import file as knn_file
from trainer.run import checkpoint
from trainer.run import folder as run
from trainer.training.loop import Fit
from trainer.training.trainer import Trainer

MODEL = {"layers": 2, "d_model": 16, "heads": 2, "memory": 24, "dropout": 0.1, "max_bars": 16}
MODELS = {
    "plain": ModelConfig(**MODEL),
    "knn": ModelConfig(**{**MODEL, "memory": 8}, knn=True, knn_capacity=40, knn_k=4),
}
TRAIN = TrainConfig(
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
)


def start_or_go_on(dataset, folder, steps, model):
    """What `trainer fit` and `trainer fit --resume` do."""
    config = Config(
        model=MODELS[model].for_vocabulary(dataset.vocabulary),
        train=dataclasses.replace(TRAIN, steps=steps),
    )
    trainer = Trainer(dataset, config, torch.device("cpu"))
    opened = run.open_run(folder) if folder.exists() else run.create(folder, config, dataset)
    last, state = opened.last_checkpoint(), {}
    if last is not None:
        tensors, state = checkpoint.load(last)
        database = knn_file.database_file(last.parent, "train", state["step"])
        trainer.load(tensors, state, store=(database, state.get("knn_seal") or ""))
    return Fit(trainer, opened, state)


def die():
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(trainer, step, group):
    """Let the process be killed in the middle of a step, or after it beside the checkpoint."""
    if group == "checkpoint":
        save = checkpoint.save
        checkpoint.save = lambda *a, **k: die() if trainer.step == step else save(*a, **k)
        return
    score, groups = trainer._score, iter(range(10**9))

    def scored(model, batch, memory):
        if model.training and trainer.step == step and next(groups) == int(group):
            die()
        return score(model, batch, memory)

    trainer._score = scored


def in_a_fork(work):
    """Do it in a process of its own; returns the signal that ended it, 0 for none."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train_killed(data, folder, model, steps, kills):
    def train(kill=None):
        fit = start_or_go_on(data, Path(folder), steps, model)
        if kill is not None:
            step, group = kill.split(":")
            die_at(fit.trainer, int(step), group)
        assert fit.go({"loss": 0.0, "tokens": 0.0, "instruments": 0.0})

    for kill in kills:
        ended = in_a_fork(lambda kill=kill: train(kill))
        assert ended == -signal.SIGKILL, f"{folder}, {kill}: ended with {ended}"
    assert in_a_fork(train) == 0


def main(dataset, runs):
    torch.set_num_threads(1)
    data = open_dataset(dataset)
    for one in json.loads(runs):
        train_killed(data, **one)


if __name__ == "__main__":
    main(*sys.argv[1:])
