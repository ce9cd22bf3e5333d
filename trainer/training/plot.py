"""Plot the learning curves of runs from their metrics.jsonl."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from shards.errors import LakhxlError
from shards.text import visible
from trainer.plot_style import COLOURS, INK, colour, save_png, style_axes
from trainer.run.folder import Run
from trainer.training.metrics_log import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"token_nats": "Next token, nats", "instrument_nats": "Instrument of the next note, nats"}
"""Metric -> title of its plot."""


STYLES = ("-", "--", "-.")
"""Of curves; another one each time the colours repeat."""
NAME_LENGTH = 40


def draw(runs: list[Run]) -> Figure:
    """Draw training loss (thin), validation loss (dots) and unigram baseline (dotted) of runs.

    Raises:
        LakhxlError: a run has no metrics yet.
    """
    figure = Figure(figsize=(8, 4 + 0.2 * len(runs)), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    for number, (run, name) in enumerate(zip(runs, _names(runs), strict=True)):
        if not run.metrics.exists():
            raise LakhxlError(f"{run.path} has no metrics yet: train it with --resume")
        rows = read_metrics(run.metrics).rows
        for plot, metric in zip(axes, PANELS, strict=True):
            _draw_run(plot, [row for row in rows if metric in row], metric, name, number)
    for plot, title in zip(axes, PANELS.values(), strict=True):
        style_axes(plot, title)
        plot.set_xlabel("step")
        plot.set_ylim(0)
        legend = plot.legend(
            loc="upper left", bbox_to_anchor=(0, -0.15), frameon=False, fontsize=9, labelcolor=INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollar signs
    return figure


def _names(runs: list[Run]) -> list[str]:
    """What tells runs apart in a legend: nothing, the names of their folders, or their paths."""
    names = [run.path.resolve().name for run in runs]
    if len({*names}) < len(runs):
        names = [str(run.path) for run in runs]
    return [f"  {visible(name, NAME_LENGTH)}" for name in names] if len(runs) > 1 else [""]


def _draw_run(
    plot: "Axes", rows: list[dict[str, Any]], metric: str, name: str, number: int
) -> None:
    def curve(split: str) -> tuple[list[int], list[float]]:
        of_split = [
            row for row in rows if row["split"] == split and type(row[metric]) in (int, float)
        ]
        return [row["step"] for row in of_split], [row[metric] for row in of_split]

    ink, style = colour(number), STYLES[number // len(COLOURS) % len(STYLES)]
    (steps, losses), trained = curve("valid"), curve("train")
    label = f"training {trained[1][-1]:.2f}{name}" if trained[1] and not losses else None
    plot.plot(*trained, color=ink, ls=style, alpha=0.4, lw=0.8, label=label)
    label = f"validation {losses[-1]:.2f}{name}" if losses else None
    plot.plot(steps, losses, marker="o", color=ink, ls=style, ms=4, label=label)
    for loss in curve("unigram")[1]:
        label = f"unigram baseline {loss:.2f}"  # the same for all runs on the same songs
        is_new = label not in plot.get_legend_handles_labels()[1]
        plot.axhline(loss, color=INK, ls=":", lw=1, label=label if is_new else None)


def save(runs: list[Run], path: Path) -> None:
    """Write the plot to a PNG file, which appears complete or not at all."""
    save_png(draw(runs), path)
