"""The picture of an evaluation: each way of taking the loss apart, the runs in colours."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from shards.writer import publish
from trainer.evaluation.evaluate import UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1a6f7a", "#d1603d", "#6a4c93", "#e0a526", "#3a7d44", "#b23a6b")
INK = "#555555"
ORDERED = ("memory", "place")
"""What is drawn as a line; the others as points, one below the other."""
ROOM = 32
"""Letters that fit under a plot side by side."""


def draw(results: list[dict[str, Any]]) -> Figure:
    """Draw the results of `trainer.evaluate.evaluate`."""
    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    titles = [title for title in results[0]["by"] if title != "knn"]  # two numbers, no picture
    for plot, title in zip(axes, titles, strict=False):
        labels = list(dict.fromkeys(label for r in results for label in r["by"][title]))
        if title == "memory":
            labels.sort(key=lambda label: int(label.replace(",", "")))
        for number, result in enumerate(results):
            _draw_run(plot, title, labels, result["by"][title], number, len(results))
        plot.set_title(UNITS[title], loc="left", fontsize=10, color=INK)
        plot.spines[["top", "right"]].set_visible(False)
        plot.tick_params(labelsize=8, labelcolor=INK)
    for plot in axes[len(titles) :]:
        plot.set_axis_off()
    for number, result in enumerate(results):
        loss = result["overall"]["loss"]
        text = f"{Path(result['run']).name}: {loss['mean']:.3f} nats a target"
        colour = COLOURS[number % len(COLOURS)]
        axes[-1].text(0, 0.9 - 0.1 * number, text, color=colour, fontsize=11, parse_math=False)
    return figure


def _draw_run(
    plot: "Axes", title: str, labels: list[str], rows: dict[str, Any], number: int, runs: int
) -> None:
    known = [(n, rows[label]) for n, label in enumerate(labels) if label in rows]
    places = [n + 0.22 * (number - (runs - 1) / 2) for n, _ in known]
    means = [row["mean"] for _, row in known]
    errors = [
        [row["mean"] - row["low"] for _, row in known],
        [row["high"] - row["mean"] for _, row in known],
    ]
    style = {"color": COLOURS[number % len(COLOURS)], "ms": 4, "elinewidth": 1}
    if title in ORDERED:
        plot.errorbar(places, means, yerr=errors, fmt="o-", **style)
        crowded = sum(map(len, labels)) > ROOM
        turned = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
        plot.set_xticks(range(len(labels)), labels, **turned)
    else:
        plot.errorbar(means, places, xerr=errors, fmt="o", **style)
        plot.set_yticks(range(len(labels)), labels)
        plot.set_ylim(len(labels) - 0.5, -0.5)


def save(results: list[dict[str, Any]], path: Path) -> None:
    """Draw to a PNG file, which appears whole or not at all."""
    figure = draw(results)
    publish(path, lambda file: figure.savefig(file, format="png", dpi=110))
