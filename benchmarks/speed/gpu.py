"""Training and generation on one GPU: speed, share of the peak, busy time, memory, first step."""

import dataclasses
import gc
import json
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.ablations.versus_x_transformers import Peer
from benchmarks.arguments import Measurement, dataset_argument
from shards import open_dataset
from shards.reader import SongSource
from shards.vocabulary import Vocabulary
from trainer import device as devices
from trainer import presets
from trainer.config import Config, ModelConfig, for_dataset, override
from trainer.data.selection import select
from trainer.generation.generate import generate
from trainer.generation.settings import SampleConfig
from trainer.model.transformer import TransformerXL
from trainer.training import optimizers as optim
from trainer.training.trainer import Trainer

Make = Callable[[ModelConfig], TransformerXL]
TRAININGS: dict[str, tuple[str, Make | None]] = {
    "small": ("small", None),
    "base": ("base", None),
    "large": ("large", None),
    "small, x-transformers with song mask": ("small", Peer),
    "small, x-transformers without": ("small", lambda config: Peer(config, song_mask=False)),
}
"""Preset, and what makes the model if it is not ours; the most important first."""

TOY = "layers=2 d_model=16 heads=1 memory=8 block_size=8 batch_size=2 accumulate=1"
"""Sizes on a CPU, which say nothing of speed."""
PROFILED, WARM_UP = 5, 6
LARGER = 1.25
"""How many times as long as the longest so far the next may take: compiling grows with layers."""
GENERATIONS = ((1, 2048), (64, 1024))
"""Songs at once, and tokens of each."""


def make_trainer(dataset: SongSource, name: str, device: torch.device) -> Trainer:
    """A trainer of one of TRAININGS; with fewer lanes where the dataset has too few songs."""
    preset, make = TRAININGS[name]
    config = presets.preset(preset)
    if device.type != "cuda":
        config = override(config, TOY.split())
    songs, groups = len(select(dataset, "train")), config.train.accumulate
    lanes = min(config.train.batch_size, max(songs // groups, 1) * groups)
    train = dataclasses.replace(config.train, batch_size=lanes)
    config = for_dataset(Config(model=config.model, train=train), dataset)
    trainer = Trainer(dataset, config, device)
    if make is not None:
        trainer.model = make(config.model).to(device)
        trainer.optimizers = optim.make_optimizers(trainer.model, config.train)
        trainer.forget()
    return trainer


def measure_training(trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Train for so many seconds after warming up."""
    device = trainer.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    take_steps(trainer, 1)
    first = time.perf_counter() - begun
    take_steps(trainer, WARM_UP)  # records the graph
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or not steps:
        take_steps(trainer, 10)
        steps += 10
    each = (time.perf_counter() - begun) / steps
    speed = trainer.tokens_per_step / each
    return {
        "parameters": trainer.parameter_count,
        "tokens_per_step": trainer.tokens_per_step,
        "tokens_per_second": speed,
        "ms_per_step": 1000 * each,
        "share_of_peak": trainer.share_of_peak(speed),
        "share_busy": share_busy(trainer) if device.type == "cuda" else None,
        "peak_memory_gib": devices.memory_in_use(device) / 2**30,
        "first_step_seconds": first,
    }


def take_steps(trainer: Trainer, count: int) -> None:
    """Take steps, and wait for the device once, as training does when it logs."""
    losses = [trainer.train_step() for _ in range(count)]
    assert losses[-1].loss.isfinite()


def share_busy(trainer: Trainer) -> float | None:
    """The share of time in which at least one kernel runs, over a few steps.

    None where the profiler sees none, as without the right to read the GPU's counters.
    """
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        take_steps(trainer, PROFILED)
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in profiled.events() or ()
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
    ]
    if not kernels:
        return None
    return covered(kernels) / (max(end for _, end in kernels) - min(kernels)[0])


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans from start to end."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0)
        reached = max(reached, end)
    return total


def measure_generation(
    trainer: Trainer, vocabulary: Vocabulary, count: int, tokens: int
) -> dict[str, Any]:
    """Write songs with the model as training has left it."""
    model, block = trainer.model.eval(), trainer.config.train.block_size
    generate(model, vocabulary, SampleConfig(tokens=8, bars=1), block_size=block)
    begun = time.perf_counter()
    config = SampleConfig(count=count, bars=10_000, tokens=tokens)
    songs = generate(model, vocabulary, config, block_size=block)
    seconds = time.perf_counter() - begun
    model.train()
    return {"songs": count, "tokens_per_second": sum(map(len, songs)) / seconds}


@click.command(cls=Measurement)
@dataset_argument
@click.option("--seconds", default=5.0, show_default=True, help="Training time of each model.")
@click.option("--limit", default=240.0, show_default=True, help="Seconds that all may take.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the figures here too.")
def command(dataset: Path, seconds: float, limit: float, file: Path | None) -> None:
    """Train the GPU presets on DATASET, x-transformers beside small, and generate with small.

    All are compiled, in bf16, with our embedding, heads, loss, data and optimizers. The peak is
    what the GPU's maker states; the share of time in which a kernel runs is profiled. Without a GPU
    the models are toys and the figures mean nothing. What might not end within the limit is left
    out; a second run compiles in a few seconds what the first has compiled.
    """
    begun, longest = time.perf_counter(), 0.0
    device, source = devices.choose_device(None), open_dataset(dataset)
    where = f"{devices.device_name(device)}, torch {torch.__version__}, {platform.machine()}"
    found: dict[str, Any] = {"device": where, "training": {}, "generation": []}
    print(where)
    print("| training | tokens/s | ms a step | of peak | busy | peak memory | first step |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in TRAININGS:
        start = time.perf_counter()
        if start - begun + LARGER * longest > limit:
            print(f"| {name} | left out for the limit of {limit:.0f} s: run again |", flush=True)
            continue
        trainer = make_trainer(source, name, device)
        row = found["training"][name] = measure_training(trainer, seconds)
        print(
            f"| {name} | {row['tokens_per_second']:,.0f} | {row['ms_per_step']:.1f} "
            f"| {percent(row['share_of_peak'])} | {percent(row['share_busy'])} "
            f"| {row['peak_memory_gib']:.1f} GiB | {row['first_step_seconds']:.0f} s |",
            flush=True,
        )
        if name == "small":
            found["generation"] = [
                measure_generation(trainer, source.vocabulary, *each) for each in GENERATIONS
            ]
        del trainer
        torch._dynamo.reset()
        gc.collect()  # step and graph refer to each other
        longest = max(longest, time.perf_counter() - start)
    for row in found["generation"]:
        print(f"{row['songs']} songs of small at once: {row['tokens_per_second']:,.0f} tokens/s")
    if file is not None:
        file.write_text(json.dumps(found, indent=1) + "\n")


def percent(share: float | None) -> str:
    """A share as text; a dash where it is not known."""
    return "-" if share is None else f"{share:.0%}"
