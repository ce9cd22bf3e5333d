"""Train one run to its end while it is killed again and again, in processes of their own.

    python killed.py DATASET RUN STEPS KILLS

Each KILL is step:group; the process is killed by SIGKILL in the middle of that step, before that
group of lanes. Forks of one process, because importing torch takes longer than all the training.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch
import torch._dynamo  # which an optimizer's first step imports: seconds in every fork

from shards import open_dataset
from trainer import checkpoint, run
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.fit import Fit
from trainer.loop import Trainer

MODEL = ModelConfig(layers=2, width=16, heads=2, memory=24, dropout=0.1, max_bars=16)
TRAIN = TrainConfig(
    batch=6,
    accumulate=3,
    block=8,
    warmup=10,
    optimizer="muon",
    learning_rate=1e-2,
    log_every=10,
    evaluate_every=50,
    evaluate_batches=3,
    checkpoint_every=6,
    sample_bars=0,
)


def start_or_go_on(dataset, folder, steps):
    """What `trainer fit` and `trainer fit --resume` do."""
    config = Config(
        model=MODEL.for_vocabulary(dataset.vocabulary),
        train=dataclasses.replace(TRAIN, steps=steps),
    )
    trainer = Trainer(dataset, config, torch.device("cpu"))
    opened = run.open_run(folder) if folder.exists() else run.create(folder, config, dataset)
    last, state = opened.last_checkpoint(), {}
    if last is not None:
        tensors, state = checkpoint.load(last)
        trainer.load(tensors, state)
    return Fit(trainer, opened, state)


def die_at(trainer, step, group):
    """Let the process be killed in the middle of a step."""
    score, groups = trainer._score, iter(range(10**9))

    def scored(model, batch, memory):
        if model.training and trainer.step == step and next(groups) == group:
            os.kill(os.getpid(), signal.SIGKILL)
        return score(model, batch, memory)

    trainer._score = scored


def in_a_fork(work):
    """Do it in a process of its own; returns the signal that ended it, 0 for none."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(dataset, folder, steps, *kills):
    torch.set_num_threads(1)
    data = open_dataset(dataset)

    def train(kill=None):
        fit = start_or_go_on(data, Path(folder), int(steps))
        if kill is not None:
            die_at(fit.trainer, *map(int, kill.split(":")))
        assert fit.go({"loss": 0.0, "tokens": 0.0, "instruments": 0.0})

    for kill in kills:
        ended = in_a_fork(lambda kill=kill: train(kill))
        assert ended == -signal.SIGKILL, f"{kill}: ended with {ended}"
    assert in_a_fork(train) == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
