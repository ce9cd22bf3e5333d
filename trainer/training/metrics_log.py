"""What a run says about itself while it runs: metrics.jsonl and TensorBoard, the same numbers.

Both are cut back to the step that a resumed run starts from, so that no step is in them twice.
TensorBoard also gets what is no number: the settings, the loss by place in the song as a curve,
and a piano roll of a song that the model has just written.
"""

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from shards import settings
from shards.codec import Codec, EncodedSong
from shards.render.pianoroll import piano_roll
from trainer.model.loss import PLACES
from trainer.run.folder import Run

LAYOUT = {
    "Learning": {
        "loss": ["Multiline", ["train/loss", "valid/loss"]],
        "next token": ["Multiline", ["train/tokens", "valid/tokens"]],
        "instrument": ["Multiline", ["train/instruments", "valid/instruments"]],
        "bits a note": ["Multiline", ["train/bits_per_note", "valid/bits_per_note"]],
    },
    "Steps": {
        "gradient and update": ["Multiline", ["train/gradient", "train/update"]],
        "waiting for data": ["Multiline", ["train/waiting"]],
    },
}
"""Figures that TensorBoard's tab "Custom Scalars" shows in one chart."""


class Board:
    """Writes figures of one run; a context manager.

    Args:
        run: whose folder to write to.
        step: the step that the run starts from; later lines of an earlier try are dropped.
    """

    def __init__(self, run: Run, *, step: int) -> None:
        cut_back(run.metrics, step)
        self._run = run
        self._lines = run.metrics.open("a")
        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)
        self._writer.add_custom_scalars(LAYOUT)

    def __enter__(self) -> "Board":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._writer.close()

    def write(self, step: int, group: str, figures: dict[str, Any]) -> None:
        """Add one line of figures, a group such as train or valid, at a step."""
        line = {"step": step, "split": group, **figures}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name, value in figures.items():
            if not isinstance(value, list):
                self._writer.add_scalar(f"{group}/{name}", value, step)
        if "loss" in figures:
            perplexity = math.exp(min(figures["tokens"], 50.0))
            self._writer.add_scalar(f"{group}/perplexity", perplexity, step)

    def draw_places(self, step: int, losses: list[float | None]) -> None:
        """Draw the loss by place in the song, of `place_losses`."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(len(losses)), [math.nan if v is None else v for v in losses], "o-")
        axes.set_xticks(range(len(losses)), PLACE_NAMES, rotation=45, ha="right", fontsize=8)
        axes.set_xlabel("tokens of the song before it")
        axes.set_ylabel("nats a token")
        axes.spines[["top", "right"]].set_visible(False)
        self._writer.add_figure("valid/loss_by_position", figure, step)
        for name, value in zip(PLACE_NAMES, losses, strict=True):
            if value is not None:
                self._writer.add_scalar(f"valid_by_place/{name}", value, step)

    def draw_song(self, step: int, song: EncodedSong) -> None:
        """Draw a song that the model has written."""
        vocabulary = self._run.vocabulary
        roll = piano_roll(Codec(vocabulary).decode(song), vocabulary, title=f"step {step:,}")
        self._writer.add_figure("sample", roll, step)

    def conclude(self, valid: dict[str, Any]) -> None:
        """Put settings and result side by side in TensorBoard's tab "HParams"."""
        chosen = {
            f"{part}.{name}": "none" if value is None else value
            for part, values in settings.to_json(self._run.config).items()
            for name, value in values.items()
        }
        numbers = {f"final/{key}": v for key, v in valid.items() if isinstance(v, float)}
        for summary in hparams(chosen, numbers):
            self._writer.file_writer.add_summary(summary)
        for key, value in numbers.items():
            self._writer.add_scalar(key, value)


PLACE_NAMES = ("0-15", *(f"{2**n}-{2 ** (n + 1) - 1}" for n in range(4, PLACES + 2)), "8192-")


def place_losses(places: Tensor) -> list[float | None]:
    """TokenLosses a target in each range of places; None where there are no targets.

    Args:
        places: shape (2, PLACES), of `loss.loss_by_position`.
    """
    nats, targets = places.tolist()
    return [cost / count if count else None for cost, count in zip(nats, targets, strict=True)]


def cut_back(metrics: Path, step: int) -> None:
    """Drop the lines of metrics.jsonl later than a step, and a last line that is not whole.

    At step 0 nothing is kept: the run starts from the beginning.
    """
    if not metrics.exists():
        return
    if step == 0:
        metrics.unlink()
        return
    kept = [line for line in metrics.read_text().splitlines() if _step_of(line) <= step]
    temporary = metrics.with_name(metrics.name + ".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(metrics)


def has_line(metrics: Path, step: int, split: str) -> bool:
    """Whether metrics.jsonl has a line of a step and a split, whole."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return any(_step_of(line) == step and json.loads(line)["split"] == split for line in lines)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf


def read_metrics(metrics: Path) -> list[dict[str, Any]]:
    """All lines of a metrics.jsonl."""
    return [json.loads(line) for line in metrics.read_text().splitlines()]


class NoBoard:
    """In place of a board, for a process of several that is not the one to write."""

    def __enter__(self) -> "NoBoard":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, step: int, group: str, figures: dict[str, Any]) -> None:
        """Nothing."""

    def draw_places(self, step: int, losses: list[float | None]) -> None:
        """Nothing."""

    def draw_song(self, step: int, song: EncodedSong) -> None:
        """Nothing."""

    def conclude(self, valid: dict[str, Any]) -> None:
        """Nothing."""
