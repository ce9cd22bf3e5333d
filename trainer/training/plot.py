"""Plot the learning curves of runs from their metrics.jsonl."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.plot_style import COLOURS, INK, colour, save_png, style_axes
from trainer.run.folder import Run
from trainer.training.compare import names_of, read_rows, tokens_per_step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {"token_nats": "Next token, nats", "instrument_nats": "Instrument of the next note, nats"}
"""Metric -> title of its plot."""
STYLES = ("-", "--", "-.")
"""Of curves; another one each time the colours repeat."""


def draw(runs: list[Run]) -> Figure:
    """Draw training loss (thin), validation loss (dots) and unigram baseline (dotted) of runs.

    Over steps; over tokens where the steps of the runs are of different sizes.

    Raises:
        LakhxlError: a run has no metrics yet.
    """
    figure = Figure(figsize=(11, 4 + 0.2 * len(runs)), layout="constrained")
    axes = figure.subplots(1, 2, sharex=True)
    names = [f"  {name}" for name in names_of(runs)] if len(runs) > 1 else [""]
    sizes = [tokens_per_step(run) for run in runs]
    is_over_steps = len({*sizes}) == 1
    for number, (run, name, size) in enumerate(zip(runs, names, sizes, strict=True)):
        scaled = [
            row | {"x": row["step"] if is_over_steps else float(row["step"]) * size}
            for row in read_rows(run)
        ]
        for plot, metric in zip(axes, PANELS, strict=True):
            _draw_run(plot, [row for row in scaled if metric in row], metric, name, number)
    for plot, title in zip(axes, PANELS.values(), strict=True):
        style_axes(plot, title)
        plot.set_xlabel("step" if is_over_steps else "tokens")
        plot.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        plot.xaxis.set_major_formatter("{x:,.0f}")
        plot.set_ylim(0)
        legend = plot.legend(
            loc="upper left", bbox_to_anchor=(0, -0.15), frameon=False, fontsize=9, labelcolor=INK
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollar signs
    return figure


def _draw_run(
    plot: "Axes", rows: list[dict[str, Any]], metric: str, name: str, number: int
) -> None:
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
    for loss in curve("unigram")[1]:
        label = f"unigram baseline {loss:.2f}"  # the same for all runs on the same songs
        is_new = label not in plot.get_legend_handles_labels()[1]
        plot.axhline(loss, color=INK, ls=":", lw=1, label=label if is_new else None)


def save(runs: list[Run], path: Path) -> None:
    """Write the plot to a PNG file, which appears complete or not at all."""
    save_png(draw(runs), path)
