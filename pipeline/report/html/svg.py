"""The report's charts, as inline SVG and HTML: no script, no picture, nothing to fetch.

Conventions
    box         a chart is drawn in a box of WIDTH by HEIGHT units and scaled to its column, so
                its labels keep about the size of the text
    classes     colours come from the page's style sheet, by class, for light and dark alike
    text        every string from outside goes through `text`; numbers need not
"""

import html
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.build.histograms import Measure
from pipeline.report.number_format import count, digits, share, short
from shards.console import visible

WIDTH, HEIGHT = 400, 150
LEFT, RIGHT, TOP, FLOOR = 6, 394, 22, 124
MOST_TICKS = 7


def text(value: Any) -> str:
    """Anything as text that a browser shows and never obeys.

    Markup is escaped; for control and formatting characters see `shards.console.visible`.
    """
    return html.escape(visible(value))


def name(value: str) -> str:
    """A file's name as text of its own direction."""
    return f'<bdi class="name">{text(value)}</bdi>'


def bars(
    rows: Iterable[tuple[str, int, str]],
    whole: int,
    *,
    longest: int | None = None,
    kind: str = "",
) -> str:
    """A table of horizontal bars.

    Args:
        rows: label, number, and a class for the row: main, lost, or none.
        whole: what 100 % is.
        longest: the number whose bar fills the column; the whole by default.
        kind: a class for the table; wide leaves more room for labels.
    """
    full = max(longest or whole, 1)
    lines = [
        f'<tr class="{row}"><th scope="row">{text(label)}</th><td class="bar">'
        f"{_bar(number / full)}</td>"
        f'<td class="n">{count(number)}</td><td class="p">{share(number, whole)}</td></tr>'
        for label, number, row in rows
    ]
    return f'<table class="bars {kind}"><tbody>{"".join(lines)}</tbody></table>'


def _bar(part: float) -> str:
    """A bar of a table; nothing for nothing, but never nothing for something."""
    return f'<i style="width:{100 * part:.2f}%"></i>' if part else ""


def histogram(measure: Measure, spread: dict[str, Any]) -> str:
    """One distribution: bars, its median, and what to look for."""
    if not spread["songs"]:
        return figure(measure.title, '<p class="none">No song to measure.</p>', measure.look_for)
    drawing = _drawing(measure, spread)
    unit = f" {measure.unit}" if measure.unit else ""
    summary = (
        f"Median {_value(spread['median'])}{unit}, 90 % of songs from {_value(spread['p5'])} "
        f"to {_value(spread['p95'])}"
    )
    return figure(
        measure.title, svg(f"{measure.title}: {summary}", drawing), measure.look_for, summary
    )


def _drawing(measure: Measure, spread: dict[str, Any]) -> str:
    edges, counts = spread["edges"], spread["counts"]
    cells = [("outside", f"under {_value(edges[0])}", spread["below"])] if spread["below"] else []
    first = len(cells)
    for low, high, songs in zip(edges, edges[1:], counts, strict=False):
        hint = _value(low) if measure.whole else f"{_value(low)} to {_value(high)}"
        cells.append(("", hint, songs))
    if spread["above"]:
        cells.append(("outside", f"{_value(edges[-1])} and more", spread["above"]))
    cell = (RIGHT - LEFT) / len(cells)
    top = max(songs for _, _, songs in cells)
    columns = "".join(
        column(LEFT + cell * n, cell, FLOOR - tall, tall, kind, f"{hint}: {count(songs)} songs")
        for n, (kind, hint, songs) in enumerate(cells)
        for tall in [max(songs / top * (FLOOR - TOP), 1)]
        if songs
    )
    axis = Axis(measure, edges, LEFT + cell * first, cell)
    room = RIGHT
    marks = ""
    if spread["above"]:
        marks, room = label(RIGHT, FLOOR + 15, f"{_value(edges[-1])}+", "end"), RIGHT - 50
    marks += _ticks(axis, room) + _median(axis, spread["median"])
    return columns + line(LEFT, FLOOR, RIGHT, FLOOR, "axis") + marks


@dataclass(frozen=True)
class Axis:
    """Where values lie: bin k is drawn from left + k * cell on; whole numbers at its middle."""

    measure: Measure
    edges: Sequence[float]
    left: float
    cell: float

    def x(self, value: float) -> float:
        """Place of a value inside the edges."""
        k = min(bisect_right(self.edges, value), len(self.edges) - 1) - 1
        within = (value - self.edges[k]) / (self.edges[k + 1] - self.edges[k])
        return self.left + self.cell * (k + within + self.measure.whole / 2)

    def labelled(self) -> list[float]:
        """The edges to label: powers of two, or round multiples, as many as there is room for."""
        if self.measure.is_log:
            powers = [edge for edge in self.edges if edge & (edge - 1) == 0]
            return powers[:: -(-len(powers) // MOST_TICKS) or 1]
        spread, width = self.edges[-1] - self.edges[0], self.edges[1] - self.edges[0]
        steps = [step for step in self.measure.label_every if _is_multiple(step, width)]
        step = next((step for step in steps if spread / step <= MOST_TICKS), steps[-1])
        last = len(self.edges) - self.measure.whole
        return [edge for edge in self.edges[:last] if _is_multiple(edge, step)]


def _is_multiple(value: float, step: float) -> bool:
    return abs(value / step - round(value / step)) < 1e-6 and (value == 0 or value >= step)


def column(x: float, cell: float, y: float, tall: float, kind: str, hint: str) -> str:
    """One column of a chart, `cell` wide with a little air, and what it says when pointed at."""
    gap = min(1.0, cell / 4)
    return (
        f'<rect class="column {kind}" x="{x + gap / 2:.1f}" y="{y:.1f}" '
        f'width="{cell - gap:.1f}" height="{tall:.1f}"><title>{text(hint)}</title></rect>'
    )


def _ticks(axis: Axis, room: float) -> str:
    """Labels under the axis, as far as there is room."""
    marks = ""
    for value in axis.labelled():
        x = axis.x(value)
        if x <= room:
            anchor = "start" if x < LEFT + 12 else "end" if x > RIGHT - 12 else "middle"
            marks += line(x, FLOOR, x, FLOOR + 3, "axis")
            marks += label(x, FLOOR + 15, _value(value), anchor)
    return marks


def _median(axis: Axis, median: float) -> str:
    """A line at the median, where it lies inside the bins, with its value above."""
    if not axis.edges[0] <= median < axis.edges[-1]:
        return ""
    x = axis.x(median)
    anchor = "start" if x < WIDTH / 4 else "end" if x > 3 * WIDTH / 4 else "middle"
    words = label(x, TOP - 9, f"median {_value(median)}", anchor, "median")
    return line(x, TOP - 5, x, FLOOR, "median") + words


def key_name(key: int) -> str:
    """C4 is middle C, key 60."""
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[key % 12]}{key // 12 - 1}"


def _value(number: float) -> str:
    return short(number) if number >= 1_000_000 else digits(number)


def svg(title: str, drawing: str, wide: float = WIDTH, tall: float = HEIGHT) -> str:
    """A drawing with its title, for those who hear the page."""
    return (
        f'<svg viewBox="0 0 {wide:g} {tall:g}" role="img" aria-label="{text(title)}">'
        f"{drawing}</svg>"
    )


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A line of a class of the style sheet."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def label(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    """Words inside a drawing; anchor is start, middle or end."""
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text(words)}</text>'
    )


def figure(title: str, drawing: str, look_for: str, summary: str = "") -> str:
    """A drawing with its title, a figure or two, and the sentence that says what to look for."""
    under = f'<span class="summary">{text(summary)}.</span> ' if summary else ""
    return (
        f"<figure><h3>{text(title)}</h3>{drawing}"
        f"<figcaption>{under}{text(look_for)}</figcaption></figure>"
    )
