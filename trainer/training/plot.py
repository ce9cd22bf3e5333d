"""Plot the learning curves of runs from their metrics.jsonl."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shards.errors import LakhxlError
from shards.text import visible
from trainer.plot_style import COLOURS, INK, colour, save_png, style_axes
from trainer.run.folder import Run
from trainer.training.compare import names_of, read_rows, tokens_per_step

PANELS = {
    "loss_nats": "Loss, nats per token",
    "token_nats": "Next token, nats",
    "instrument_nats": "Instrument of the next note, nats",
    "velocity_nats": "Velocity of the next note, nats",
}
"""Metric -> title of its plot, which is drawn where a run has the metric."""
STYLES = ("-", "--", "-.")
"""Of curves; another one each time the colours repeat."""


def draw(runs: list[Run]) -> Figure:
    """Draw training loss (thin), validation loss (dots) and unigram baseline (dotted) of runs.

    A diamond is the last validation where it is of the whole split, not of its first batches. Over
    steps; over tokens where the steps of the runs are of different sizes.

    Raises:
        LakhxlError: a run has no metrics yet, or no run has a loss.
    """
    logs = [read_rows(run) for run in runs]
    panels = [name for name in PANELS if any(name in row for rows in logs for row in rows)]
    if not panels:
        names = ", ".join(visible(run.path) for run in runs)
        raise LakhxlError(f"{names}: the metrics hold no loss, so there is nothing to draw")
    lines = -(-len(panels) // 2)
    figure = Figure(figsize=(11, lines * (4 + 0.2 * len(runs))), layout="constrained")
    axes = [figure.add_subplot(lines, 2, place) for place, _ in enumerate(panels, 1)]
    names = [f"  {name}" for name in names_of(runs)] if len(runs) > 1 else [""]
    sizes = [tokens_per_step(run) for run in runs]
    is_over_steps = len({*sizes}) == 1
    for number, (rows, name, size) in enumerate(zip(logs, names, sizes, strict=True)):
        scaled = [
            row | {"x": row["step"] if is_over_steps else float(row["step"]) * size} for row in rows
        ]
        for plot, metric in zip(axes, panels, strict=True):
            _draw_run(plot, [row for row in scaled if metric in row], metric, name, number)
    for plot, metric in zip(axes, panels, strict=True):
        style_axes(plot, PANELS[metric])
        plot.set_xlabel("step" if is_over_steps else "tokens")
        plot.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        plot.xaxis.set_major_formatter("{x:,.0f}")
        plot.set_ylim(0, 1.05 * plot.get_ylim()[1])  # also above a curve that is level
        legend = plot.legend(
            handles=plot.get_legend_handles_labels()[0],  # there may be none, in damaged metrics
            loc="upper left",
            bbox_to_anchor=(0, -0.15),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollar signs
    return figure


def _draw_run(plot: Axes, rows: list[dict[str, Any]], metric: str, name: str, number: int) -> None:
    def curve(split: str) -> tuple[list[int], list[float]]:
        of_split = [
            row for row in rows if row["split"] == split and type(row[metric]) in (int, float)
        ]
        return [row["x"] for row in of_split], [row[metric] for row in of_split]

    ink, style = colour(number), STYLES[number // len(COLOURS) % len(STYLES)]
    (steps, losses), trained = curve("valid"), curve("train")
    label = f"training {trained[1][-1]:.2f}{name}" if trained[1] and not losses else None
    plot.plot(*trained, color=ink, ls=style, alpha=0.4, lw=0.8, label=label)
    label = f"validation {losses[-1]:.2f}{name}" if losses else None
    plot.plot(steps, losses, marker="o", color=ink, ls=style, ms=4, label=label)
    for step, loss in zip(*curve("valid_whole"), strict=True):
        label = f"whole validation split {loss:.2f}{name}"
        plot.plot(step, loss, marker="D", color=ink, ls="", ms=5, mfc="none", label=label)
    for loss in curve("unigram")[1]:
        label = f"unigram baseline {loss:.2f}"  # the same for all runs on the same songs
        is_new = label not in plot.get_legend_handles_labels()[1]
        plot.axhline(loss, color=INK, ls=":", lw=1, label=label if is_new else None)


def save(runs: list[Run], path: Path) -> None:
    """Write the plot to a PNG file, which appears complete or not at all."""
    save_png(draw(runs), path)
