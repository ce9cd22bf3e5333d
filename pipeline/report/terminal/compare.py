"""The comparison of two datasets as text."""

from pipeline.report.compute.compare import Side, compare
from shards.text import visible

LABEL_WIDTH, COLUMN_WIDTH = 43, 13


def compare_text(a: Side, b: Side) -> str:
    """Every table of the comparison: one line per figure, with A, B and the change."""
    blocks = [_line("", _short_name(a.name), _short_name(b.name), "B to A").rstrip()]
    for title, rows in compare(a, b).items():
        lines = [_line("  " + row.label, row.a, row.b, row.change).rstrip() for row in rows]
        blocks.append("\n".join([title, *(lines or ["  none"])]))
    return "\n\n".join(blocks)


def _short_name(name: str) -> str:
    shown = visible(name)
    return shown if len(shown) < COLUMN_WIDTH else shown[: COLUMN_WIDTH - 2] + "…"


def _line(label: str, a: str, b: str, change: str) -> str:
    cells = f"{visible(a):>{COLUMN_WIDTH}}{visible(b):>{COLUMN_WIDTH}}{change:>11}"
    return f"{visible(label):<{LABEL_WIDTH}}{cells}"
