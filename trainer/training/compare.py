"""Compare runs by config.json and metrics.jsonl: settings that differ, and what they reached."""

import datetime
from collections.abc import Iterable
from typing import Any, TypedDict

from shards import settings
from shards.errors import LakhxlError
from shards.text import visible
from trainer.run.folder import Run
from trainer.training.metrics_log import read_metrics

NAME_LENGTH = 56
"""Letters of a run's name in a legend and a table."""
VALIDATIONS = ("valid_whole", "valid")
"""Splits in metrics.jsonl that have the loss of a run: the first that is there counts."""


class Reached(TypedDict):
    """A run in a comparison: its settings that others do not share, and how far it came."""

    run: str
    settings: dict[str, Any]
    dataset_fingerprint: str
    step: int
    tokens: int
    seconds: float
    """Spent in training steps, without validations and interruptions."""
    valid_loss: float | None
    """Nats per token, of the last validation; None before the first."""
    whole_split: bool
    """Whether that was of the whole split, not of its first batches."""


def tokens_per_step(run: Run) -> int:
    """Tokens that one training step reads."""
    return run.config.train.batch_size * run.config.train.block_size


def compare(runs: list[Run]) -> list[Reached]:
    """Compare runs.

    Raises:
        LakhxlError: a run has no metrics yet.
    """
    return [
        _reached(run, stated) for run, stated in zip(runs, differing_settings(runs), strict=True)
    ]


def read_rows(run: Run) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl.

    Raises:
        LakhxlError: there is none yet.
    """
    if not run.metrics.exists():
        raise LakhxlError(f"{run.path} has no metrics yet: train it with --resume")
    return read_metrics(run.metrics).rows


def differing_settings(runs: list[Run]) -> list[dict[str, Any]]:
    """For each run the settings that not all of them share."""
    parts = [settings.to_json(run.config) for run in runs]
    flat = [{**of["model"], **of["train"]} for of in parts]
    names = [name for name in flat[0] if any(one[name] != flat[0][name] for one in flat)]
    return [{name: one[name] for name in names} for one in flat]


def names_of(runs: list[Run]) -> list[str]:
    """What tells runs apart: their settings, the names of their folders, or their paths.

    The first of these that differs from run to run and is short enough for a legend.
    """
    stated = [
        ", ".join(f"{name}={_text(value)}" for name, value in of.items())
        for of in differing_settings(runs)
    ]
    folders = [run.path.resolve().name for run in runs]
    if len({*stated}) == len(runs) > 1 and max(map(len, stated)) <= NAME_LENGTH:
        names = stated
    else:
        names = folders if len({*folders}) == len(runs) else [str(run.path) for run in runs]
    return [visible(name, NAME_LENGTH) for name in names]


def caveat(results: list[Reached]) -> str | None:
    """Why the losses of these runs cannot be compared; None where they can."""
    if len({result["dataset_fingerprint"] for result in results}) > 1:
        return "the losses are not comparable: the runs were validated on different songs"
    if len({result["whole_split"] for result in results}) > 1:
        return (
            "the losses are not comparable: some are of the whole validation split, others of its "
            "first batches; `trainer evaluate RUN... --split valid` measures all alike"
        )
    return None


def table(results: list[Reached]) -> str:
    """The comparison as text, one column per run."""
    names = [visible(result["run"], NAME_LENGTH) for result in results]
    rows = {"": names}
    for name in results[0]["settings"]:
        texts = [_text(result["settings"][name]) for result in results]
        rows[name] = [visible(text, NAME_LENGTH) for text in texts]
    rows |= {
        "step": [f"{result['step']:,}" for result in results],
        "tokens": [f"{result['tokens']:,}" for result in results],
        "time in training steps": [_clock(result["seconds"]) for result in results],
        "validation loss, nats per token": [_loss(result["valid_loss"]) for result in results],
    }
    label_width = 2 + max(map(len, rows))
    width = 2 + max(len(cell) for cells in rows.values() for cell in cells)
    return "\n".join(
        f"{label:<{label_width}}" + "".join(f"{cell:>{width}}" for cell in cells)
        for label, cells in rows.items()
    )


def _reached(run: Run, stated: dict[str, Any]) -> Reached:
    rows = read_rows(run)
    step = max((row["step"] for row in rows), default=0)
    losses = {
        row["split"]: row["loss_nats"]
        for row in rows
        if isinstance(row.get("loss_nats"), int | float)
    }
    split = next((name for name in VALIDATIONS if name in losses), None)
    return {
        "run": str(run.path),
        "settings": stated,
        "dataset_fingerprint": run.fingerprint,
        "step": step,
        "tokens": step * tokens_per_step(run),
        "seconds": _seconds(rows, tokens_per_step(run)),
        "valid_loss": None if split is None else float(losses[split]),
        "whole_split": split == VALIDATIONS[0] or run.config.train.evaluate_batches is None,
    }


def _seconds(rows: Iterable[dict[str, Any]], tokens: int) -> float:
    """Time in training steps of `tokens` each: a line has their speed since the one before."""
    seconds, last = 0.0, 0
    for row in rows:
        speed = row.get("tokens_per_second")
        if row["split"] == "train" and isinstance(speed, int | float) and speed > 0:
            seconds += float(row["step"] - last) * tokens / speed
            last = row["step"]
    return seconds


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _loss(value: float | None) -> str:
    return "none yet" if value is None else f"{value:.3f}"


def _clock(seconds: float) -> str:
    """Such as 1:02:03, or 2 days, 1:02:03; a log that lies may state more than there can be."""
    try:
        return str(datetime.timedelta(seconds=round(seconds)))
    except OverflowError:
        return "?"
