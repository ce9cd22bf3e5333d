"""Charts as inline SVG: no script, nothing to fetch.

Conventions
    box       a chart is drawn in a box of WIDTH by HEIGHT units and scaled to its column, so its
              labels are about as large as the text
    classes   colours come from style.css, by class, for light and dark alike
    Markup    strings that are put into Markup are escaped
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from pipeline.report.compute.histograms import Measure
from pipeline.report.number_format import figure
from pipeline.report.schema import Distribution

WIDTH, HEIGHT = 400, 150
LEFT, RIGHT, TOP, FLOOR = 6, 394, 22, 124
MAX_TICKS = 7
NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


@dataclass(frozen=True)
class Chart:
    """A drawing, its title, what to look for in it, and a summary of its figures.

    `drawing` is None where there is nothing to draw; a `wide` one keeps its size and scrolls.
    """

    title: str
    drawing: Markup | None
    look_for: str
    summary: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Column:
    """A column of a histogram: its height, what it shows when pointed at, and its class."""

    number: float
    hint: str
    kind: str = ""


def histogram(
    title: str,
    columns: Sequence[Column],
    ticks: Sequence[tuple[float, str]],
    look_for: str,
    summary: str = "",
    median: tuple[float, str] | None = None,
    outline: Sequence[float] = (),
) -> Chart:
    """Columns over an axis.

    Args:
        title, look_for, summary: of the chart.
        columns: from left to right.
        ticks: labels of the axis by their position, in columns.
        median: the position of a dashed line, and its label.
        outline: the heights of other columns, of which only the outline is drawn.
    """
    top = max((*(column.number for column in columns), *outline), default=0)
    if not top:
        return Chart(title, None, look_for)
    width = (RIGHT - LEFT) / len(columns)
    parts = []
    for n, column in enumerate(columns):
        height = max(column.number / top * (FLOOR - TOP), 1)
        if column.number:
            parts.append(rectangle(LEFT + width * n, width, FLOOR - height, height, column))
    parts.append(line(LEFT, FLOOR, RIGHT, FLOOR, "axis"))
    if outline:
        parts.append(_outline([FLOOR - number / top * (FLOOR - TOP) for number in outline], width))
    for position, words in ticks:
        x = LEFT + width * position
        anchor = "start" if x < LEFT + 16 else "end" if x > RIGHT - 16 else "middle"
        parts += line(x, FLOOR, x, FLOOR + 3, "axis"), label(x, FLOOR + 15, words, anchor)
    if median:
        x = LEFT + width * median[0]
        anchor = "start" if x < WIDTH / 4 else "end" if x > 3 * WIDTH / 4 else "middle"
        parts.append(label(x, TOP - 9, f"median {median[1]}", anchor, "median"))
        parts.append(line(x, TOP - 5, x, FLOOR, "median"))
    description = f"{title}: {summary}" if summary else title
    return Chart(title, svg(description, parts), look_for, summary)


def mirrored_histograms(
    title: str,
    up: Sequence[Column],
    down: Sequence[Column],
    ticks: Sequence[tuple[int, str]],
    look_for: str,
) -> Chart:
    """Two histograms on one axis, the first upwards, the second downwards.

    Args:
        title, look_for: of the chart.
        up, down: as many columns each.
        ticks: labels between the two, by the column that they stand at.
    """
    above, below = (max((column.number for column in half), default=0) for half in (up, down))
    if not above + below:
        return Chart(title, None, look_for)
    width, scale = (RIGHT - LEFT) / len(up), 124 / (above + below)
    middle = 4 + scale * above
    parts = []
    for half, is_up in ((up, True), (down, False)):
        for n, column in enumerate(half):
            height = max(column.number * scale, 1)
            y = middle - height if is_up else middle + 16
            if column.number:
                parts.append(rectangle(LEFT + width * n, width, y, height, column))
    for n, words in ticks:
        parts.append(label(LEFT + width * (n + 0.5), middle + 12, words, "middle"))
    return Chart(title, svg(title, parts), look_for)


def distribution_chart(measure: Measure, spread: Distribution) -> Chart:
    """The histogram of one measure of the songs, with its median."""
    median, edges = spread["median"], spread["edges"]
    if median is None:
        return Chart(measure.title, None, measure.look_for)
    numbers = [spread["below"], *spread["counts"], spread["above"]]
    columns = [
        Column(number, f"{name}: {number:,} songs", "" if inside else "outside")
        for number, (name, inside) in zip(numbers, _bins(measure, edges), strict=True)
    ]
    has_below, has_above = spread["below"] > 0, spread["above"] > 0
    shown = columns[not has_below : len(columns) - (not has_above)]
    line_at = has_below + _position(measure, edges, median)
    return histogram(
        measure.title,
        shown,
        _ticks(measure, edges, has_below, has_above),
        measure.look_for,
        f"Median {figure(median)}{_unit(measure)}, 90 % of songs from {figure(spread['p5'])} "
        f"to {figure(spread['p95'])}",
        (line_at, figure(median)) if edges[0] <= median < edges[-1] else None,
    )


def overlaid_chart(measure: Measure, a: Distribution, b: Distribution) -> Chart:
    """One measure of two sets of songs in one frame: A as columns, B as an outline.

    Heights are shares of the songs of each, so that the two can be compared whatever their sizes.
    """
    both = [*a["edges"], *b["edges"]]
    known = [edge for edge in measure.edges if both and min(both) <= edge <= max(both)]
    if a["median"] is None or b["median"] is None or len(known) < 2:
        return Chart(measure.title, None, measure.look_for)
    shares = [_shares(spread, known) for spread in (a, b)]
    has_below, has_above = (any(of_side[at] for of_side in shares) for at in (0, -1))
    kept = slice(not has_below, len(known) + 1 - (not has_above))
    of_a, of_b = (of_side[kept] for of_side in shares)
    names = _bins(measure, known)[kept]
    columns = [
        Column(x, f"{name}: A {100 * x:.1f} %, B {100 * y:.1f} % of songs")
        for x, y, (name, _) in zip(of_a, of_b, names, strict=True)
    ]
    apart = sum(abs(x - y) for x, y in zip(*shares, strict=True)) / 2
    return histogram(
        measure.title,
        columns,
        _ticks(measure, known, has_below, has_above),
        measure.look_for,
        f"Median {figure(a['median'])} and {figure(b['median'])}{_unit(measure)}; 90 % of songs "
        f"from {figure(a['p5'])} to {figure(a['p95'])} and from {figure(b['p5'])} to "
        f"{figure(b['p95'])}; {100 * apart:.1f} % of songs lie in other columns",
        outline=of_b,
    )


def _shares(spread: Distribution, edges: Sequence[float]) -> list[float]:
    """The share of songs below the edges, in each bin, and above."""
    counted = dict(zip(spread["edges"], spread["counts"], strict=False))
    numbers = [spread["below"], *(counted.get(edge, 0) for edge in edges[:-1]), spread["above"]]
    return [number / (spread["songs"] or 1) for number in numbers]


def _bins(measure: Measure, edges: Sequence[float]) -> list[tuple[str, bool]]:
    """The name of each bin, and whether it lies on the axis: the first and the last do not."""
    inside = [
        figure(low) if measure.whole else f"{figure(low)} to {figure(high)}"
        for low, high in pairwise(edges)
    ]
    below, above = (
        (f"under {figure(edges[0])}", f"{figure(edges[-1])} and more") if edges else ("", "")
    )
    return [(below, False), *((name, True) for name in inside), (above, False)]


def _ticks(
    measure: Measure, edges: Sequence[float], has_below: bool, has_above: bool
) -> list[tuple[float, str]]:
    """Labels by their position, in columns."""
    ticks = [
        (has_below + _position(measure, edges, value), figure(value))
        for value in _labelled(measure, edges)
    ]
    if has_above:
        columns = has_below + len(edges)
        room = columns * (1 - 50 / (RIGHT - LEFT))  # for the label of the last column
        ticks = [tick for tick in ticks if tick[0] <= room]
        ticks.append((columns, f"{figure(edges[-1])}+"))
    return ticks


def _unit(measure: Measure) -> str:
    return f" {measure.unit}" if measure.unit else ""


def _position(measure: Measure, edges: Sequence[float], value: float) -> float:
    """Where a value inside the edges lies, in bins; a whole number in the middle of its bin."""
    bin_ = min(bisect_right(edges, value), len(edges) - 1) - 1
    within = (value - edges[bin_]) / (edges[bin_ + 1] - edges[bin_])
    return bin_ + within + measure.whole / 2


def _labelled(measure: Measure, edges: Sequence[float]) -> Sequence[float]:
    """The values to label: powers of two, or round multiples, as many as there is room for."""
    if measure.labels:
        return [value for value in measure.labels if edges[0] <= value <= edges[-1]]
    if measure.is_log:
        powers = [edge for edge in edges if int(edge) & (int(edge) - 1) == 0]
        return powers[:: -(-len(powers) // MAX_TICKS) or 1]
    spread, width = edges[-1] - edges[0], edges[1] - edges[0]
    steps = [step for step in measure.label_every if _is_multiple(step, width)]
    step = next((step for step in steps if spread / step <= MAX_TICKS), steps[-1])
    return [edge for edge in edges[: len(edges) - measure.whole] if _is_multiple(edge, step)]


def _is_multiple(value: float, step: float) -> bool:
    return abs(value / step - round(value / step)) < 1e-6 and (value == 0 or value >= step)


def note_name(pitch: int) -> str:
    """C4 is middle C, MIDI pitch 60."""
    return f"{NOTE_NAMES[pitch % 12]}{pitch // 12 - 1}"


def octave_ticks() -> list[tuple[int, str]]:
    """Every C of the 128 pitches, with its name."""
    return [(pitch, note_name(pitch)) for pitch in range(0, 128, 12)]


def columns_of(
    numbers: Sequence[float], names: Sequence[str], unit: str, kind: str = ""
) -> list[Column]:
    """Columns whose hints are their name, number and unit."""
    return [
        Column(number, f"{name}: {number:,} {unit}", kind)
        for name, number in zip(names, numbers, strict=True)
    ]


def rectangle(x: float, width: float, y: float, height: float, column: Column) -> Markup:
    """A column at its place, `width` wide with a little space to the next."""
    gap = min(1.0, width / 4)
    return Markup(
        '<rect class="column {}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
        "<title>{}</title></rect>"
    ).format(column.kind, x + gap / 2, y, width - gap, height, column.hint)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A line of a class of the style sheet."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _outline(heights: Sequence[float], width: float) -> Markup:
    """The upper edge of columns that lie side by side, from axis to axis."""
    steps = "".join(f"V{y:.1f}H{LEFT + width * (n + 1):.1f}" for n, y in enumerate(heights))
    return Markup('<path class="outline" d="M{} {}{}V{}"/>').format(LEFT, FLOOR, steps, FLOOR)


def label(x: float, y: float, words: str, anchor: str, kind: str = "") -> Markup:
    """Text inside a drawing; anchor is start, middle or end."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, words
    )


def svg(
    description: str, parts: Sequence[Markup], width: float = WIDTH, height: float = HEIGHT
) -> Markup:
    """A drawing, with a description for screen readers."""
    return Markup('<svg viewBox="0 0 {:g} {:g}" role="img" aria-label="{}">{}</svg>').format(
        width, height, description, Markup("").join(parts)
    )
