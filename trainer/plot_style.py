"""The look of every plot of the trainer: colours, axes, and how a figure is saved."""

from pathlib import Path
from typing import TYPE_CHECKING

from shards.writer import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#1a6f7a", "#d1603d", "#6a4c93", "#e0a526", "#3a7d44", "#b23a6b")
"""One per run; they repeat after the last."""
INK, FILL = "#555555", "#cccccc"
"""Of text, and of reference data."""


def colour(number: int) -> str:
    """The colour of run `number`, from 0."""
    return COLOURS[number % len(COLOURS)]


def style_axes(axes: "Axes", title: str) -> None:
    """Give a plot its title and plain axes."""
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, labelcolor=INK)


def write_legend(axes: "Axes", lines: list[tuple[str, str]], spacing: float = 0.1) -> None:
    """Write lines of text into empty axes, each as (text, colour)."""
    for number, (text, ink) in enumerate(lines):
        y = 0.9 - spacing * number
        axes.text(0, y, text, color=ink, fontsize=11, parse_math=False)


def save_png(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG; the file appears complete or not at all."""
    publish(path, lambda file: figure.savefig(file, format="png", dpi=110))
