"""What one setting does to the validation loss of a small model; and the plot of the memory's.

    python -m benchmarks.ingredients run DATASET RESULTS.jsonl NAME [key=value …]
    python -m benchmarks.ingredients draw RESULTS.jsonl docs/images/memory.png

A run: 4 layers of width 128, 64 lanes x 32 tokens, M = 32, Muon at 2e-3, 100 steps, then the first
40 batches of validation; keys and values as in `trainer fit --set`. With `seconds=60` in place of
steps it makes as many as that processor time allows, judged by ten, so that settings compare at
equal time. It adds a line to RESULTS. `draw` takes the runs named m0-sN, m32-sN and m64-sN: memory
M, seed N.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from shards import open_dataset
from trainer import presets
from trainer.config import for_dataset, override
from trainer.training.metrics_log import PLACE_NAMES, place_losses
from trainer.training.trainer import Trainer

BASE = "layers=4 d_model=128 heads=2 memory=32 qk_norm=false instrument_head=plain batch_size=64 block_size=32"
SCHEDULE = "optimizer=muon lr=0.002 warmup_steps=20 steps=100"
COLOURS = {0: "#b23a48", 32: "#1a6f7a", 64: "#e0a526"}


def run(dataset: str, results: str, name: str, *assignments: str) -> None:
    torch.set_num_threads(1)
    data = open_dataset(dataset)
    wanted = [*BASE.split(), *SCHEDULE.split(), *assignments]
    limit = [float(text.removeprefix("seconds=")) for text in wanted if text.startswith("seconds=")]
    wanted = [text for text in wanted if not text.startswith("seconds=")]
    if limit:
        _, ten = train(data, [*wanted, "steps=10"])
        wanted.append(f"steps={round(10 * limit[-1] / ten)}")
    trainer, seconds = train(data, wanted)
    scores = trainer.evaluate(batches=40)
    line = {"name": name, "settings": assignments, "steps": trainer.step, "cpu": seconds}
    line |= {**scores.means(), "places": place_losses(scores.places)}
    with Path(results).open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(json.dumps(line))


def train(data: Any, wanted: list[str]) -> tuple[Trainer, float]:
    """A training from beginning to end, and its processor time in seconds."""
    config = for_dataset(override(presets.preset("tiny"), wanted), data)
    trainer = Trainer(data, config, torch.device("cpu"))
    begun = time.process_time()
    for _ in range(config.train.steps):
        trainer.train_step()
    return trainer, time.process_time() - begun


def draw(results: str, out: str) -> None:
    rows = {line["name"]: line for line in map(json.loads, Path(results).read_text().splitlines())}
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    whole, loss_by_position = figure.subplots(1, 2, width_ratios=[1, 1.6])
    for memory, colour in COLOURS.items():
        runs = [row for name, row in rows.items() if name.startswith(f"m{memory}-s")]
        losses = [row["loss"] for row in runs]
        whole.plot([memory] * len(runs), losses, "o", color=colour)
        whole.plot([memory - 5, memory + 5], [sum(losses) / len(runs)] * 2, color=colour)
        places = list(zip(*(row["places"] for row in runs), strict=True))
        means = [sum(place) / len(runs) for place in places if None not in place]
        loss_by_position.plot(
            range(len(means)), means, "o-", color=colour, ms=4, label=f"M = {memory}"
        )
        loss_by_position.set_xticks(
            range(len(means)), PLACE_NAMES[: len(means)], rotation=40, fontsize=8
        )
    whole.set_xticks([*COLOURS])
    whole.set_xlabel("M, tokens in the memory (T = 32)")
    whole.set_title("Validation loss, nats a token", loc="left", fontsize=10)
    loss_by_position.set_title("By place in the song", loc="left", fontsize=10)
    loss_by_position.legend(frameon=False)
    for axes in (whole, loss_by_position):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    {"run": run, "draw": draw}[sys.argv[1]](*sys.argv[2:])
