"""Plot the learning curves of runs from their metrics.jsonl."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from shards.errors import LakhxlError
from trainer.plot_style import INK, colour, save_png, style_axes
from trainer.run.folder import Run
from trainer.training.metrics_log import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"tokens": "Next token, nats", "instruments": "Instrument of the next note, nats"}
"""Metric -> title of its plot."""


def draw(runs: list[Run]) -> Figure:
    """Draw training loss (thin), validation loss (dots) and unigram baseline (dotted) of runs.

    Raises:
        LakhxlError: a run has no metrics yet.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for number, run in enumerate(runs):
        if not run.metrics.exists():
            raise LakhxlError(f"{run.path} has no metrics yet: train it with --resume")
        name = f"{run.path.name}: " if len(runs) > 1 else ""
        rows = read_metrics(run.metrics).rows
        for plot, metric in zip(axes, PANELS, strict=True):
            _draw_run(plot, [row for row in rows if metric in row], metric, name, colour(number))
    for plot, title in zip(axes, PANELS.values(), strict=True):
        style_axes(plot, title)
        plot.set_xlabel("step")
        plot.set_ylim(0)
        plot.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _draw_run(
    plot: "Axes", rows: list[dict[str, Any]], metric: str, name: str, colour: str
) -> None:
    def curve(split: str) -> tuple[list[int], list[float]]:
        of_split = [
            row for row in rows if row["split"] == split and type(row[metric]) in (int, float)
        ]
        return [row["step"] for row in of_split], [row[metric] for row in of_split]

    plot.plot(*curve("train"), color=colour, alpha=0.4, lw=0.8)
    steps, losses = curve("valid")
    label = f"{name}validation {losses[-1]:.2f}" if losses else None
    plot.plot(steps, losses, "o-", color=colour, ms=4, label=label)
    for loss in curve("unigram")[1]:
        label = f"{name}unigram baseline {loss:.2f}"
        plot.axhline(loss, color=colour, ls=":", lw=1, label=label)


def save(runs: list[Run], path: Path) -> None:
    """Write the plot to a PNG file, which appears complete or not at all."""
    save_png(draw(runs), path)
