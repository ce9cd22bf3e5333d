"""Plot a judgement: one histogram per metric, held-out songs filled, samples outlined."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.judging.judge import MATCH_TITLES, TITLES, Judgement, MetricResult
from trainer.plot_style import FILL, INK, colour, save_png, style_axes, write_legend

COLUMNS, BINS = 4, 16
LOGARITHMIC = (*MATCH_TITLES, "notes_per_bar")
"""Metrics with a long tail, drawn on a logarithmic axis."""


def save(results: list[Judgement], path: Path) -> None:
    """Draw the results of `judge.judge` to a PNG file."""
    rows = -(-len(TITLES) // COLUMNS)
    figure = Figure(figsize=(13, 2.3 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, COLUMNS).flatten()
    for axes, (name, title) in zip(panels, TITLES.items(), strict=False):
        style_axes(axes, title)
        _draw_metric(axes, [result["metrics"][name] for result in results], name in LOGARITHMIC)
    for axes in panels[len(TITLES) :]:
        axes.set_axis_off()
    first = results[0]
    legend = [(f"filled: {len(first['songs']):,} held-out songs", INK)]
    for number, result in enumerate(results):
        legend.append(
            (f"{Path(result['run']).name}: {result['samples']:,} samples", colour(number))
        )
    legend.append((f"the first {first['sampling']['bars']} bars", INK))
    write_legend(panels[-1], legend, spacing=0.14)
    save_png(figure, path)


def _draw_metric(axes: Axes, metrics: list[MetricResult], logarithmic: bool) -> None:
    sides = [metrics[0]["held_out"], *(metric["samples"] for metric in metrics)]
    known = [np.array([value for value in side if value is not None]) for side in sides]
    known = [np.log10(np.maximum(side, 1)) for side in known] if logarithmic else known
    values = np.concatenate(known)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    if not len(values):
        return
    edges = np.histogram_bin_edges(values, BINS)
    held_out, *samples = (np.histogram(side, edges)[0] / max(len(side), 1) for side in known)
    axes.stairs(held_out, edges, fill=True, color=FILL)
    for number, shares in enumerate(samples):
        axes.stairs(shares, edges, color=colour(number), linewidth=1.5)
    if logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.xaxis.set_major_formatter(lambda value, _: f"{10**value:,.0f}")
