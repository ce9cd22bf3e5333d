"""What `trainer fit` does. A file of its own, because it loads torch, and --help need not."""

import dataclasses
import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import torch

from shards import open_dataset
from shards.console import STOPPED, print_note
from shards.errors import LakhxlError
from shards.reader import Dataset
from shards.text import counted
from trainer.config import Config, for_dataset
from trainer.device import choose_device, device_name, keep_freed_memory
from trainer.model.knn import file as knn_file
from trainer.run import checkpoint
from trainer.run.expected import check_tensors
from trainer.run.folder import (
    Run,
    check_unused,
    create_run,
    dataset_fingerprint,
    open_run,
    write_config,
)
from trainer.run.lock import RunLock
from trainer.training.distributed import (
    Ranks,
    check_devices,
    process_group,
    run_under_torchrun,
    under_torchrun,
)
from trainer.training.loop import TrainingLoop, has_ended
from trainer.training.trainer import Trainer
from trainer.training.unigram_baseline import unigram_baseline


def train(
    dataset_path: Path | None,
    run_path: Path | None,
    new_config: Config | None,
    *,
    preset: str,
    steps: int | None,
    device: str | None,
    devices: int,
) -> None:
    """Train a run, in this process or in several, and say how it ended.

    Args:
        dataset_path: None: that of the run, which is then named.
        run_path: the run folder; None: named after the dataset and the preset.
        new_config: of a new run; None resumes.
        preset: names the run folder.
        steps: to go on to, of a run that is resumed.
        device, devices: what to train on.
    """
    if dataset_path is None:
        assert run_path
        dataset_path = open_run(run_path).find_dataset()
    dataset = open_dataset(dataset_path)
    run_path = run_path or Path("runs") / f"{dataset.path.resolve().name}-{preset}"
    if new_config is None:
        run = _open_to_resume(run_path, dataset, steps)
        config = run.config
    else:
        run, config = None, for_dataset(new_config, dataset)
    if not under_torchrun():
        if run is None:
            check_unused(run_path)
        if devices > 1:
            Ranks(count=devices).check(config)
            check_devices(devices, device)
            run_under_torchrun(devices)
    with process_group(device) as (ranks, device), ExitStack() as locked:
        lock = None
        if run and ranks.is_first:
            lock = locked.enter_context(_lock(run_path))
        ranks.barrier()  # none reads a checkpoint that another training is about to replace
        chosen_device = choose_device(device)
        keep_freed_memory(chosen_device)
        trainer, state = _make_trainer(dataset, config, chosen_device, ranks, run)
        numbers = trainer.song_numbers
        baseline = unigram_baseline(dataset, numbers["train"], numbers["valid"])
        if ranks.is_first:
            _print_summary(trainer, dataset, run_path, baseline)
            if run:
                write_config(run)  # with the new --steps, and where the dataset is now
            else:
                run_path.mkdir(parents=True, exist_ok=True)
                lock = locked.enter_context(_lock(run_path))
                run = create_run(run_path, config, dataset)
        ranks.barrier()  # the run folder exists now
        loop = TrainingLoop(trainer, run or open_run(run_path), state, lock)
        has_finished = loop.run(baseline)
    if ranks.is_first:
        _print_result(loop, run_path, dataset_path, baseline, has_finished)


def _lock(run_path: Path) -> RunLock:
    """Lock a run folder, and say if the training before was killed."""
    lock = RunLock(run_path)
    if lock.taken_over:
        print_note(f"{run_path}: took over from {lock.taken_over}")
    return lock


def _open_to_resume(run_path: Path, dataset: Dataset, steps: int | None) -> Run:
    """Open a run, and check that it was trained on this dataset."""
    run = open_run(run_path)
    found = dataset_fingerprint(dataset, run.config.train.where)
    if found != run.fingerprint:
        raise LakhxlError(
            f"{dataset.path} is not the dataset of {run_path}: fingerprint "
            f"{found}, expected {run.fingerprint}"
        )
    config = run.config
    if steps:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))
    run = dataclasses.replace(run, config=config, dataset_settings=dataset.settings)
    return run.at_dataset(dataset.path)


def _make_trainer(
    dataset: Dataset, config: Config, device: torch.device, ranks: Ranks, run: Run | None
) -> tuple[Trainer, dict[str, Any]]:
    """A trainer with a run's last checkpoint loaded, and the checkpoint's state.

    A new run, or one that has no checkpoint yet, starts from the beginning, with an empty state.
    """
    last = run.last_checkpoint() if run else None
    if run is None or last is None:
        return Trainer(dataset, config, device, ranks), {}
    check_tensors(last, config)  # before a model of any size is made
    tensors, state = checkpoint.load(last)
    trainer = Trainer(dataset, config, device, ranks)
    store = knn_file.store_file(last.parent, state.get("step", 0))
    trainer.load(tensors, state, knn_memory=(store, state.get("knn_checksum") or ""))
    if has_ended(run, state):
        wanted = trainer.config.train.steps
        done = f"all its {counted(wanted, 'step')}"
        if state["step"] > wanted:
            done = f"{counted(state['step'], 'step')}, more than the {wanted} asked for"
        raise LakhxlError(f"{run.path} has done {done}: add more with --steps")
    return trainer, state


def _print_summary(
    trainer: Trainer, dataset: Dataset, run_path: Path, baseline: dict[str, float]
) -> None:
    songs = ", ".join(f"{len(each):,} {split}" for split, each in trainer.song_numbers.items())
    model, train = trainer.config.model, trainer.config.train
    print_note(
        f"dataset  {dataset.path}: {songs} songs, {model.vocab_size} tokens in the vocabulary, "
        f"{model.instrument_classes} instrument classes\n"
        f"model    {trainer.parameter_count:,} parameters: {counted(model.layers, 'layer')}, "
        f"d_model {model.d_model}, {counted(model.heads, 'head')}, memory {model.memory}\n"
        f"training {counted(train.steps, 'step')} of {counted(train.batch_size, 'lane')} x "
        f"{train.block_size} tokens on {device_name(trainer.device)}, from step {trainer.step:,}\n"
        f"{_peak(trainer)}"
        f"baseline {baseline['loss']:.3f} nats per token, of token frequencies (unigram)\n"
        f"run      {run_path}"
    )


def _peak(trainer: Trainer) -> str:
    """A line on what a GPU can do at most, measured in tokens; nothing where that is not known."""
    share = trainer.share_of_peak(1.0)
    if share is None:
        return ""
    cost = trainer.flops_per_token / 1e9
    return f"peak     {1 / share:,.0f} tokens/s, at {cost:.2g} GFLOP per token\n"


def _print_result(
    loop: TrainingLoop,
    run_path: Path,
    dataset_path: Path,
    baseline: dict[str, float],
    has_finished: bool,
) -> None:
    step, quoted = loop.trainer.step, shlex.quote(str(run_path))
    if not has_finished:
        click.echo(
            f"stopped and saved at step {step:,}; resume with: "
            f"trainer fit {shlex.quote(str(dataset_path))} --run {quoted} --resume"
        )
        raise click.exceptions.Exit(STOPPED)
    click.echo(
        f"{run_path}: step {step:,}, validation loss {loop.last_validation['loss']:.3f} nats per "
        f"token (unigram baseline {baseline['loss']:.3f})\n"
        f"curves: tensorboard --logdir {quoted}/tensorboard\n"
        f"music:  trainer generate {quoted} -o song.mid"
    )
