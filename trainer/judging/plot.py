"""The picture of a judgement: distributions of held-out songs beside those of samples."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shards.writer import publish
from trainer.evaluation.plot import COLOURS, INK
from trainer.judging.judge import TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS, BINS = 4, 16
LONG_TAIL = ("copied_notes", "copied_in_part", "notes_per_bar")
"""What is drawn by its logarithm."""


def draw(results: list[dict[str, Any]]) -> Figure:
    """Draw the results of `trainer.judge.judge`: held-out songs filled, samples as outlines."""
    rows = -(-len(TITLES) // COLUMNS)
    figure = Figure(figsize=(13, 2.3 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).flatten()
    for plot, (name, title) in zip(axes, TITLES.items(), strict=False):
        _draw_measure(plot, [result["measures"][name] for result in results], name in LONG_TAIL)
        plot.set_title(title, loc="left", fontsize=9, color=INK)
    for plot in axes[len(TITLES) :]:
        plot.set_axis_off()
    first = results[0]
    legend = [f"filled: {len(first['songs']):,} held-out songs"]
    legend += [f"{Path(r['run']).name}: {r['samples']:,} samples" for r in results]
    for number, text in enumerate([*legend, f"the first {first['sampling']['bars']} bars"]):
        is_run = 0 < number <= len(results)
        colour = COLOURS[(number - 1) % len(COLOURS)] if is_run else INK
        axes[-1].text(0, 0.9 - 0.14 * number, text, color=colour, fontsize=11, parse_math=False)
    return figure


def _draw_measure(plot: "Axes", found: list[dict[str, Any]], logarithmic: bool) -> None:
    sides = [found[0]["held_out"], *(one["samples"] for one in found)]
    known = [np.array([value for value in side if value is not None]) for side in sides]
    known = [np.log10(np.maximum(side, 1)) for side in known] if logarithmic else known
    whole = np.concatenate(known)
    plot.spines[["top", "right", "left"]].set_visible(False)
    plot.tick_params(labelsize=8, labelcolor=INK)
    plot.set_yticks([])
    if not len(whole):
        return
    edges = np.histogram_bin_edges(whole, BINS)
    for number, side in enumerate(known):
        shares = np.histogram(side, edges)[0] / max(len(side), 1)
        if number == 0:
            plot.stairs(shares, edges, fill=True, color="#cccccc")
        else:
            plot.stairs(shares, edges, color=COLOURS[(number - 1) % len(COLOURS)], linewidth=1.5)
    if logarithmic:
        plot.xaxis.set_major_locator(MaxNLocator(nbins=4))
        plot.xaxis.set_major_formatter(lambda value, _: f"{10**value:,.0f}")


def save(results: list[dict[str, Any]], path: Path) -> None:
    """Draw to a PNG file, which appears whole or not at all."""
    figure = draw(results)
    publish(path, lambda file: figure.savefig(file, format="png", dpi=110))
