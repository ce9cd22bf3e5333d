"""The log of a run: metrics.jsonl and TensorBoard, with the same numbers.

A resumed run first truncates both to its first step, so no step is logged twice. TensorBoard also
gets the settings, the loss by position in the song as a curve, and the piano roll of a song that
the model has just written.
"""

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from shards import settings
from shards.codec import Codec, EncodedSong
from shards.plain_file import parse_json, read_plain
from shards.render.pianoroll import piano_roll
from trainer.model.loss import POSITION_NAMES
from trainer.run.folder import Run

MOST_BYTES, ROW_DEPTH = 2**28, 2
"""Bounds of metrics.jsonl: half a million lines, and lists in rows."""
LARGEST = 1e300
"""No metric is as large; NaN is not smaller either."""
LAYOUT = {
    "Learning": {
        "loss": ["Multiline", ["train/loss", "valid/loss"]],
        "next token": ["Multiline", ["train/tokens", "valid/tokens"]],
        "instrument": ["Multiline", ["train/instruments", "valid/instruments"]],
        "bits per note": ["Multiline", ["train/bits_per_note", "valid/bits_per_note"]],
    },
    "Steps": {
        "gradient and update": ["Multiline", ["train/grad_norm", "train/update_norm"]],
        "waiting for data": ["Multiline", ["train/data_wait"]],
    },
}
"""Metrics that TensorBoard's tab "Custom Scalars" shows in one chart."""


class MetricsLog:
    """Writes the metrics of one run; a context manager.

    Args:
        run: the run folder to write to.
        step: the step that the run starts from; later lines of an earlier attempt are dropped.

    Attributes:
        dropped: how many lines of the file were no rows.
    """

    dropped = 0

    def __init__(self, run: Run, *, step: int) -> None:
        self.dropped = truncate_metrics(run.metrics, step)
        self._run = run
        self._lines = run.metrics.open("a")
        self._writer = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)
        self._writer.add_custom_scalars(LAYOUT)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        self._writer.close()

    def write(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        """Add one line of metrics, of a split such as train or valid, at a step."""
        line = {"step": step, "split": split, **metrics}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        for name, value in metrics.items():
            if not isinstance(value, list):
                self._writer.add_scalar(f"{split}/{name}", value, step)
        if "loss" in metrics:
            perplexity = math.exp(min(metrics["tokens"], 50.0))
            self._writer.add_scalar(f"{split}/perplexity", perplexity, step)

    def draw_loss_by_position(self, step: int, losses: list[float | None]) -> None:
        """Draw the result of `mean_loss_by_position`."""
        from matplotlib.figure import Figure  # here, because importing it is slow

        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(len(losses)), [math.nan if v is None else v for v in losses], "o-")
        axes.set_xticks(range(len(losses)), POSITION_NAMES, rotation=45, ha="right", fontsize=8)
        axes.set_xlabel("position in the song, tokens")
        axes.set_ylabel("nats per token")
        axes.spines[["top", "right"]].set_visible(False)
        self._writer.add_figure("valid/loss_by_position", figure, step)
        for name, value in zip(POSITION_NAMES, losses, strict=True):
            if value is not None:
                self._writer.add_scalar(f"valid_by_position/{name}", value, step)

    def draw_song(self, step: int, song: EncodedSong) -> None:
        """Draw a song that the model has written."""
        vocabulary = self._run.vocabulary
        roll = piano_roll(Codec(vocabulary).decode(song), vocabulary, title=f"step {step:,}")
        self._writer.add_figure("sample", roll, step)

    def write_hparams(self, valid: dict[str, Any]) -> None:
        """Show settings and final metrics side by side in TensorBoard's tab "HParams"."""
        chosen = {
            f"{part}.{name}": "none" if value is None else value
            for part, values in settings.to_json(self._run.config).items()
            for name, value in values.items()
        }
        final = {f"final/{key}": v for key, v in valid.items() if isinstance(v, float)}
        file_writer = self._writer.file_writer
        assert file_writer is not None  # until the log is closed
        for summary in hparams(chosen, final):
            file_writer.add_summary(summary)
        for key, value in final.items():
            self._writer.add_scalar(key, value)


class NullMetricsLog(MetricsLog):
    """Writes nothing: for the processes of a distributed training that are not the first."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def draw_loss_by_position(self, step: int, losses: list[float | None]) -> None:
        """Nothing."""

    def draw_song(self, step: int, song: EncodedSong) -> None:
        """Nothing."""

    def write_hparams(self, valid: dict[str, Any]) -> None:
        """Nothing."""


def mean_loss_by_position(sums: Tensor) -> list[float | None]:
    """Nats per target in each range of positions; None where there are no targets.

    Args:
        sums: shape (2, ranges), of `trainer.model.loss.loss_by_position`.
    """
    nats, targets = sums.tolist()
    return [total / count if count else None for total, count in zip(nats, targets, strict=True)]


class Metrics(NamedTuple):
    """What a metrics.jsonl holds.

    Attributes:
        rows: its lines: step, split, and numbers, lists of numbers or None by name.
        dropped: how many lines are no rows: cut off by a kill, or damaged.
    """

    rows: list[dict[str, Any]]
    dropped: int


def truncate_metrics(metrics: Path, step: int) -> int:
    """Drop the rows of metrics.jsonl after a step, and lines that are no rows; count the latter.

    Step 0 drops everything: the run starts from the beginning.
    """
    if step == 0:
        metrics.unlink(missing_ok=True)
        return 0
    rows, dropped = read_metrics(metrics)
    kept = [json.dumps(row) for row in rows if row["step"] <= step]
    temporary = metrics.with_name(metrics.name + ".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(metrics)
    return dropped


def has_line(metrics: Path, step: int, split: str) -> bool:
    """Whether metrics.jsonl has a complete line of this step and split."""
    return any(row["step"] == step and row["split"] == split for row in read_metrics(metrics).rows)


def read_metrics(metrics: Path) -> Metrics:
    """The rows of a metrics.jsonl; none where there is no file.

    Raises:
        LakhxlError: it is no plain file, or has more than MOST_BYTES.
    """
    try:
        lines = read_plain(metrics, MOST_BYTES).split(b"\n")
    except FileNotFoundError:
        return Metrics([], 0)
    rows = [row for row in map(_to_row, lines[:-1]) if row is not None]
    return Metrics(rows, len(lines) - len(rows) - (not lines[-1]))


def _to_row(line: bytes) -> dict[str, Any] | None:
    """The row in one line; None where it is none."""
    try:
        row = parse_json(line.decode(), ROW_DEPTH)
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int or row["step"] < 0:
        return None
    numbers = [value for name, value in row.items() if name != "split"]
    numbers += [each for value in numbers if isinstance(value, list) for each in value]
    is_row = isinstance(row.get("split"), str) and all(map(_is_value, numbers))
    return row if is_row else None


def _is_value(value: Any) -> bool:
    """Whether a metric may have this value: a finite number, a list or None."""
    return (
        value is None
        or type(value) is list
        or (type(value) in (int, float) and abs(value) < LARGEST)
    )
