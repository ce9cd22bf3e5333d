"""The log of a run: metrics.jsonl and TensorBoard, with the same numbers.

A resumed run first truncates both to its first step, so no step is logged twice. TensorBoard also
gets the settings, the loss by position in the song as a curve, and a song that the model has just
written, as a piano roll and, where there is a soundfont, as sound. Each split is a run of its own
there, because TensorBoard draws the runs that have a tag in one chart: training and validation
together, and nothing of another unit.
"""

import json
import math
import time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from shards import settings
from shards.codec import Codec, EncodedSong
from shards.plain_file import parse_json, read_plain
from shards.render.audio import RATE, play, usable_soundfont
from shards.render.midi import to_midi
from shards.render.pianoroll import piano_roll
from shards.writer import write_text
from trainer.model.loss import POSITION_NAMES
from trainer.run.folder import Run

MOST_BYTES, ROW_DEPTH = 2**28, 2
"""Bounds of metrics.jsonl: half a million lines, and lists in rows."""
LARGEST = 1e300
"""No metric is as large; NaN is not smaller either."""
TIME = "unix_time"
"""Column of when a line was written, in seconds since 1970."""
NATS = {
    "loss": "loss_nats",
    "tokens": "token_nats",
    "instruments": "instrument_nats",
    "velocities": "velocity_nats",
    "loss_by_position": "nats_by_position",
}
"""A loss in the program -> its name in metrics.jsonl. Earlier runs have the former there, too."""
CHARTS = {
    "loss_nats": "loss/nats_per_token",
    "token_nats": "loss_by_head/next_token_nats",
    "instrument_nats": "loss_by_head/instrument_nats",
    "velocity_nats": "loss_by_head/velocity_nats",
    "bits_per_note": "loss_per_note/bits",
    "tokens_per_second": "speed/tokens_per_second",
    "peak_share": "speed/peak_share",
    "data_wait": "speed/data_wait_share",
    "memory_mb": "speed/memory_mb",
    "search_ms": "speed/knn_search_ms",
}
"""Metric -> its chart in TensorBoard, which sorts them, the loss first. Others: training/NAME."""
LONGEST_SOUND = 120
"""Seconds of a sample that is played; longer ones are only drawn. A second takes 44 kB."""


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
        self._purge_step = step + 1
        self._writers: dict[str, SummaryWriter] = {}

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        for writer in self._writers.values():
            writer.close()

    def _writer(self, split: str = "") -> SummaryWriter:
        """What writes a split's metrics for TensorBoard; or what is of no split."""
        if split not in self._writers:
            folder = self._run.path / "tensorboard" / split
            self._writers[split] = SummaryWriter(str(folder), purge_step=self._purge_step)
        return self._writers[split]

    def write(self, step: int, split: str, metrics: dict[str, Any]) -> None:
        """Add one line of metrics, of a split such as train or valid, at a step."""
        named = {NATS.get(name, name): value for name, value in metrics.items()}
        line = {"step": step, "split": split, **named, TIME: round(time.time(), 3)}
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()
        writer = self._writer(split)
        for name, value in named.items():
            if not isinstance(value, list):
                writer.add_scalar(CHARTS.get(name, f"training/{name}"), value, step)
        if "token_nats" in named:
            perplexity = math.exp(min(named["token_nats"], 50.0))
            writer.add_scalar("perplexity/next_token", perplexity, step)

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
        self._writer().add_figure("loss_by_position", figure, step)
        for number, (name, value) in enumerate(zip(POSITION_NAMES, losses, strict=True)):
            if value is not None:
                tag = f"loss_by_position/{number:02}_from_{name}_nats"  # in order of positions
                self._writer("valid").add_scalar(tag, value, step)

    def draw_song(self, step: int, song: EncodedSong) -> None:
        """Draw a song that the model has written, and play it where that is possible."""
        vocabulary = self._run.vocabulary
        decoded = Codec(vocabulary).decode(song)
        roll = piano_roll(decoded, vocabulary, title=f"step {step:,}")
        self._writer().add_figure("sample", roll, step)
        if self._soundfont and decoded.seconds(decoded.end) <= LONGEST_SOUND:
            frames = torch.from_numpy(play(to_midi(decoded, vocabulary), self._soundfont))
            pairs = frames[: len(frames) // 2 * 2].float().view(-1, 4)  # half the rate, one channel
            sound = pairs.mean(dim=1)[None] / 2**15
            self._writer().add_audio("sample_sound", sound, step, sample_rate=RATE // 2)

    @cached_property
    def _soundfont(self) -> Path | None:
        return usable_soundfont(None)

    def write_hparams(self, valid: dict[str, Any]) -> None:
        """Show settings and final metrics side by side in TensorBoard's tab "HParams".

        It puts those first that differ between runs, but only where no run has declared a list of
        settings of its own, the first summary that torch would write.
        """
        chosen = {
            f"{part}.{name}": "none" if value is None else value
            for part, values in settings.to_json(self._run.config).items()
            for name, value in values.items()
        }
        final = {
            f"result/{NATS.get(name, name)}": value
            for name, value in valid.items()
            if isinstance(value, float)
        }
        writer = self._writer()
        file_writer = writer.file_writer
        assert file_writer is not None  # until the log is closed
        for summary in hparams(chosen, final)[1:]:
            file_writer.add_summary(summary)
        for name, value in final.items():
            writer.add_scalar(name, value)


class NullMetricsLog(MetricsLog):
    """Writes nothing: for the processes of a distributed training that are not the first."""

    def __init__(self) -> None:
        pass

    def _nothing(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    __exit__ = write = draw_loss_by_position = draw_song = write_hparams = _nothing


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
    write_text(metrics, "".join(line + "\n" for line in kept))
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
    return {NATS.get(f"{name}", f"{name}"): row[name] for name in row} if is_row else None


def _is_value(value: Any) -> bool:
    """Whether a metric may have this value: a finite number, a list or None."""
    return (
        value is None
        or type(value) is list
        or (type(value) in (int, float) and abs(value) < LARGEST)
    )
