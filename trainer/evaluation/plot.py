"""Plot an evaluation: one panel per breakdown of the loss, one colour per run."""

import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.evaluation.breakdown import Estimate
from trainer.evaluation.evaluate import LABELS, Evaluation, labels_of
from trainer.evaluation.interval import MIN_SONGS
from trainer.plot_style import INK, colour, save_png, style_axes, write_legend

COLUMNS = 3
ORDERED = ("memory", "position")
"""Breakdowns drawn as a line; the others are drawn as points, one row per label."""
MAX_LETTERS = 32
"""Letters of labels that fit side by side below a panel."""
HOLLOW: dict[str, Any] = {"ms": 4, "markerfacecolor": "white", "zorder": 3}
"""A mean of too few songs for an interval; drawn over the line of all."""


def save(results: list[Evaluation], path: Path) -> None:
    """Draw the results of `evaluate.evaluate` to a PNG file."""
    titles = [title for title in results[0]["by"] if title != "knn"]  # two numbers need no panel
    rows = len(titles) // COLUMNS + 1  # the last panel has the legend
    figure = Figure(figsize=(13, 4 * rows), layout="constrained")
    panels = figure.subplots(rows, COLUMNS).flatten()
    for axes, title in zip(panels, titles, strict=False):
        labels = labels_of(results, title)
        for number, result in enumerate(results):
            offset = 0.22 * (number - (len(results) - 1) / 2)
            _draw_run(axes, title, labels, result["by"][title], colour(number), offset)
        style_axes(axes, LABELS[title])
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    legend = []
    for number, result in enumerate(results):
        loss = result["overall"]["loss"]["mean"]
        legend.append((f"{Path(result['run']).name}: {loss:.3f} nats per token", colour(number)))
    legend.append((f"hollow: fewer than {MIN_SONGS} songs, no interval", INK))
    write_legend(panels[-1], legend)
    save_png(figure, path)


def _draw_run(
    axes: Axes,
    title: str,
    labels: list[str],
    rows: dict[str, Estimate],
    ink: str,
    offset: float,
) -> None:
    known = [(n, rows[label]) for n, label in enumerate(labels) if label in rows]
    places = [n + offset for n, _ in known]
    means = [row["mean"] for _, row in known]
    intervals = [_half_lengths(row) for _, row in known]
    errors = [[low for low, _ in intervals], [high for _, high in intervals]]
    few = [n for n, (low, _) in enumerate(intervals) if math.isnan(low)]
    if title in ORDERED:
        axes.errorbar(places, means, yerr=errors, fmt="o-", color=ink, ms=4, elinewidth=1)
        axes.plot([places[n] for n in few], [means[n] for n in few], "o", color=ink, **HOLLOW)
        axes.set_xticks(range(len(labels)), labels)
        if sum(map(len, labels)) > MAX_LETTERS:
            for label in axes.get_xticklabels():
                label.set(rotation=25, ha="right", rotation_mode="anchor")
    else:
        axes.errorbar(means, places, xerr=errors, fmt="o", color=ink, ms=4, elinewidth=1)
        axes.plot([means[n] for n in few], [places[n] for n in few], "o", color=ink, **HOLLOW)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)


def _half_lengths(row: Estimate) -> tuple[float, float]:
    """From the mean to both ends of its interval; not a number where it has none."""
    if row["low"] is None or row["high"] is None:
        return math.nan, math.nan
    return row["mean"] - row["low"], row["high"] - row["mean"]
