"""`trainer evaluate`: the loss of trained runs on held-out songs, broken down.

Every run predicts the same targets, each once. The result is one JSON object per run, a table
that compares the runs, and a picture.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from tqdm import tqdm

from shards.reader import SongSource
from shards.text import counted
from trainer.evaluation.breakdown import Estimate, Targets, breakdowns, overall
from trainer.evaluation.dynamic import score_songs_dynamically
from trainer.evaluation.interval import MIN_SONGS
from trainer.evaluation.token_loss import SongLosses, count_batches, score_songs
from trainer.run.folder import Run, load_model

ProgressBar = Callable[..., AbstractContextManager[tqdm]]
LABELS = {
    "loss": "loss, nats per token",
    "tokens": "token head, nats per token",
    "instruments": "instrument head, nats per note",
    "velocities": "velocity head, nats per note",
    "bits_per_note": "bits per note",
    "bits_per_second": "bits per second of music",
    "memory": "Loss by memory length, tokens",
    "knn": "Loss with and without kNN memory",
    "dynamic": "Loss, learning while scored",
    "token": "Loss by kind of token",
    "position": "Loss by position in the song",
    "family": "Nats per note, by instruments",
    "meter": "Loss by meter",
}
"""Titles of the rows and of the breakdowns, for tables and plots; under 32 letters where a value
follows."""


class Evaluation(TypedDict):
    """The result of one run, as in its JSON file."""

    run: str
    step: int  # of the run's checkpoint
    dataset: str
    split: str
    where: str | None
    songs: int
    targets: int
    seconds: float  # of music
    memory: int  # the run's own memory length, in tokens
    overall: dict[str, Estimate]  # see `breakdown.overall`
    by: dict[str, dict[str, Estimate]]  # breakdown -> label -> estimate


def evaluate(
    run: Run,
    dataset: SongSource,
    numbers: np.ndarray,
    targets: Targets,
    *,
    split: str,
    where: str | None,
    memories: list[int],
    dynamic_lr: float | None = None,
    device: torch.device,
    bar: ProgressBar,
) -> Evaluation:
    """Evaluate the best checkpoint of one run.

    Args:
        run: the run.
        dataset, numbers, targets: the songs, and what their targets are.
        split, where: recorded in the result.
        memories: memory lengths to evaluate with, besides the run's own. A run with a kNN memory
            is also evaluated without it.
        dynamic_lr: also evaluate with weights that go on learning at this rate; None: not.
        device: where to compute.
        bar: makes a progress bar.
    """
    model, train = load_model(run, device), run.config.train
    own, has_knn = run.config.model.memory, run.config.model.knn
    lengths = sorted({own, *memories})
    lanes, block_size = min(train.batch_size, len(numbers)), train.block_size
    batches = count_batches(dataset, numbers, lanes=lanes, block_size=block_size)
    whole: dict[str, Estimate] = {}
    parts: dict[str, dict[str, Estimate]] = {}
    by: dict[str, dict[str, Estimate]] = {"memory": {}, "knn": {}, "dynamic": {}}
    total = (len(lengths) + has_knn) * batches
    if dynamic_lr is not None:
        total += count_batches(dataset, numbers, lanes=1, block_size=block_size)
    with bar(total=total, desc=f"scoring {run.path.name}", unit="batch") as progress:

        def score(memory: int, *, knn: bool = True) -> SongLosses:
            return score_songs(
                model,
                dataset,
                numbers,
                lanes=lanes,
                block_size=block_size,
                memory=memory,
                knn=knn,
                advance=progress.update,
            )

        for length in lengths:
            losses = score(length)
            estimates = overall(losses, targets)
            by["memory"][f"{length:,}"] = estimates["loss"]
            if length == own:
                whole, parts = estimates, breakdowns(losses, targets)
        if has_knn:
            without = overall(score(own, knn=False), targets)
            by["knn"] = {"with": whole["loss"], "without": without["loss"]}
        if dynamic_lr is not None:
            learning = score_songs_dynamically(
                model,
                dataset,
                numbers,
                block_size=block_size,
                lr=dynamic_lr,
                advance=progress.update,
            )
            loss = overall(learning, targets)["loss"]
            by["dynamic"] = {"fixed weights": whole["loss"], f"lr {dynamic_lr:g}": loss}
    return {
        "run": str(run.path),
        "step": run.best_step(),
        "dataset": str(dataset.path),
        "split": split,
        "where": where,
        "songs": len(numbers),
        "targets": len(targets.kinds),
        "seconds": float(targets.seconds.sum()),
        "memory": own,
        "overall": whole,
        "by": {title: rows for title, rows in {**by, **parts}.items() if rows},
    }


def labels_of(results: list[Evaluation], title: str) -> list[str]:
    """The labels of a breakdown that occur in any result, in order."""
    labels = dict.fromkeys(label for r in results for label in r["by"].get(title, ()))
    if title == "memory":
        return sorted(labels, key=lambda label: int(label.replace(",", "")))
    return [*labels]


def table(results: list[Evaluation]) -> str:
    """All numbers of all runs as text, one column per run."""
    first = results[0]
    names = [Path(result["run"]).name for result in results]
    fitting = f" where {first['where']}" if first["where"] is not None else ""
    width = max(22, *(len(name) + 2 for name in names))

    def row(label: str, cells: list[str]) -> str:
        return f"{label:<32}" + "".join(f"{cell:>{width}}" for cell in cells)

    lines = [
        f"{first['dataset']}, {first['split']}{fitting}: {counted(first['songs'], 'song')}, "
        f"{first['targets']:,} targets, {first['seconds'] / 3600:.1f} hours",
        _interval_note(first),
        "",
        row("", names),
        row("", [f"step {result['step']:,}" for result in results]),
    ]
    for name in dict.fromkeys(name for result in results for name in result["overall"]):
        lines.append(row(LABELS[name], [_text(r["overall"].get(name)) for r in results]))
    for title in dict.fromkeys(title for result in results for title in result["by"]):
        lines += ["", LABELS[title]]
        for label in labels_of(results, title):
            cells = [_text(result["by"].get(title, {}).get(label)) for result in results]
            lines.append(row(f"  {label}", cells))
    return "\n".join(lines)


def _interval_note(result: Evaluation) -> str:
    if result["songs"] < MIN_SONGS:
        return f"mean; too few songs for an interval ({result['songs']} of at least {MIN_SONGS})"
    return (
        "mean (95 % confidence interval over songs; none where fewer than "
        f"{MIN_SONGS} songs have such targets)"
    )


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    if estimate["low"] is None or estimate["high"] is None:
        return f"{estimate['mean']:.3f} ({estimate['songs']} of {MIN_SONGS} songs)"
    return f"{estimate['mean']:.3f} ({estimate['low']:.2f}-{estimate['high']:.2f})"
