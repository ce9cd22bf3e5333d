"""`trainer evaluate`: how well runs predict songs that they have not seen, and which.

Each run is scored on its own, every target once; what is compared are the same targets. The
result is one JSON object a run, a table with the runs side by side, and a picture.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from shards import open_dataset
from shards.errors import LakhxlError
from shards.layout import is_dataset
from trainer.data.selection import select
from trainer.evaluation.breakdown import Mean, Targets, breakdowns, overall
from trainer.evaluation.token_loss import score_songs, steps_needed
from trainer.run.folder import CONFIG, Run, load_model, open_run

Bar = Callable[..., AbstractContextManager[tqdm]]
UNITS = {
    "loss": "nats a target, all heads",
    "tokens": "nats a next token",
    "instruments": "nats an instrument",
    "velocities": "nats a velocity",
    "bits_per_note": "bits a note",
    "bits_per_second": "bits a second of music",
    "memory": "Memory, tokens",
    "knn": "kNN memory",
    "token": "Kind of token",
    "place": "Place in the song, tokens",
    "family": "Family, nats a note",
    "meter": "Meter",
}
"""Each figure and each way of taking the loss apart, in words."""


def sort_out(paths: Iterable[Path]) -> tuple[list[Run], Any]:
    """Tell runs from the dataset among some paths; without one the first run's is opened.

    Raises:
        LakhxlError: no run, more than one dataset, or runs of another vocabulary.
    """
    runs = [open_run(path) for path in paths if (path / CONFIG).exists()]
    others = [path for path in paths if not (path / CONFIG).exists()]
    if not runs:
        raise LakhxlError(f"{', '.join(map(str, others))}: not a run folder among them")
    if len(others) > 1:
        raise LakhxlError(f"{others[1]} is not a run folder, and {others[0]} is the dataset")
    if not others and not is_dataset(runs[0].dataset):
        raise LakhxlError(f"{runs[0].dataset}, the dataset of {runs[0].path}, is gone: name one")
    dataset = open_dataset(others[0] if others else runs[0].dataset)
    for run in runs:
        if run.vocabulary.fingerprint != dataset.vocabulary.fingerprint:
            raise LakhxlError(
                f"{run.path} has vocabulary {run.vocabulary.fingerprint}, but {dataset.path} has "
                f"{dataset.vocabulary.fingerprint}: a run knows its own tokens only"
            )
    return runs, dataset


def condition(runs: list[Run], where: str | None) -> str | None:
    """The condition that songs must meet: the one asked for, else the one runs were trained by.

    Raises:
        LakhxlError: none is asked for, and the runs' own differ.
    """
    own = {run.config.train.where for run in runs}
    if where is None and len(own) > 1:
        raise LakhxlError(
            "the runs were trained with different --where: say with --where which songs all are "
            'to be scored on, --where "true" for every one'
        )
    return where if where is not None else own.pop()


def choose_songs(
    dataset: Any, split: str, most: int | None, where: str | None = None
) -> np.ndarray:
    """The songs of a split, or some of them drawn at random, the same each time.

    Args:
        dataset: with the `index`.
        split: train, valid or test.
        most: so many at most; None: all.
        where: a condition as in `select`.
    """
    numbers = select(dataset, split, where)
    if not len(numbers):
        fitting = f" that fit --where {where!r}" if where is not None else ""
        raise LakhxlError(f"{dataset.path} has no songs in its {split} split{fitting}")
    if most is not None and most < len(numbers):
        numbers = np.sort(np.random.default_rng(0).choice(numbers, most, replace=False))
    return numbers


def evaluate(
    run: Run,
    dataset: Any,
    numbers: np.ndarray,
    targets: Targets,
    *,
    split: str,
    where: str | None,
    memories: list[int],
    device: torch.device,
    bar: Bar,
) -> dict[str, Any]:
    """Score one run.

    Args:
        run: whose best checkpoint is taken.
        dataset, numbers, targets: the songs, and what their targets are.
        split, where: named in the result.
        memories: tokens remembered, beside the run's own setting, that the loss is found for.
            A run with a kNN memory is scored without it too.
        device: where.
        bar: makes a progress bar.

    Returns:
        Plain data: what was scored, and each figure as mean, low, high and count.
    """
    model, train = load_model(run, device), run.config.train
    own, has_knn = run.config.model.memory, run.config.model.knn
    lengths = sorted({own, *memories})
    size = {"lanes": min(train.batch_size, len(numbers)), "block": train.block_size}
    by_memory: dict[str, Mean] = {}
    by_knn: dict[str, Mean] = {}
    with bar(
        total=(len(lengths) + has_knn) * steps_needed(dataset, numbers, **size),
        desc=f"scoring {run.path.name}",
        unit="batch",
    ) as progress:
        for length in lengths:
            costs = score_songs(
                model, dataset, numbers, **size, memory=length, advance=progress.update
            )
            figures = overall(costs, targets)
            by_memory[f"{length:,}"] = figures["loss"]
            if length == own:
                whole, parts = figures, breakdowns(costs, targets)
        if has_knn:
            costs = score_songs(
                model, dataset, numbers, **size, memory=own, knn=False, advance=progress.update
            )
            by_knn = {"with": whole["loss"], "without": overall(costs, targets)["loss"]}
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
        "overall": {name: mean.to_json() for name, mean in whole.items()},
        "by": {
            title: {name: mean.to_json() for name, mean in rows.items()}
            for title, rows in {"memory": by_memory, "knn": by_knn, **parts}.items()
            if rows
        },
    }


def table(results: list[dict[str, Any]]) -> str:
    """All figures of all runs, side by side."""
    first = results[0]
    names = [Path(result["run"]).name for result in results]
    fitting = f" where {first['where']}" if first["where"] is not None else ""
    wide = max(20, *(len(name) + 2 for name in names))
    lines = [
        f"{first['dataset']}, {first['split']}{fitting}: {first['songs']:,} songs, "
        f"{first['targets']:,} targets, {first['seconds'] / 3600:.1f} hours; "
        "95 % intervals over songs",
        "",
        " " * 32 + "".join(f"{name:>{wide}}" for name in names),
        " " * 32 + "".join(f"{'step ' + format(r['step'], ','):>{wide}}" for r in results),
    ]

    def row(label: str, found: list[dict[str, float] | None]) -> str:
        cells = ["" if cell is None else _text(cell) for cell in found]
        return f"{label:<32}" + "".join(f"{cell:>{wide}}" for cell in cells)

    for name in dict.fromkeys(name for result in results for name in result["overall"]):
        lines.append(row(UNITS[name], [result["overall"].get(name) for result in results]))
    for title in dict.fromkeys(title for result in results for title in result["by"]):
        lines += ["", UNITS[title]]
        labels = dict.fromkeys(label for result in results for label in result["by"].get(title, ()))
        if title == "memory":
            labels = sorted(labels, key=lambda label: int(label.replace(",", "")))
        for label in labels:
            found = [result["by"].get(title, {}).get(label) for result in results]
            lines.append(row(f"  {label}", found))
    return "\n".join(lines)


def _text(cell: dict[str, float]) -> str:
    return f"{cell['mean']:.3f} ({cell['low']:.2f}-{cell['high']:.2f})"
