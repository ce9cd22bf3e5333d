"""Small piano rolls: one path for each family of instruments, so that many notes stay small."""

from collections import defaultdict

from markupsafe import Markup

from pipeline.report.html.svg import HEIGHT, LEFT, RIGHT, svg
from pipeline.report.number_format import count
from pipeline.report.schema import Roll
from shards.text import visible
from shards.vocabulary import PROGRAMS

COLOURS = 8
"""Of the sixteen families; two share one."""
PITCHED_TOP, PITCHED_FLOOR, DRUMS_TOP, DRUMS_FLOOR = 4.0, 116.0, 122.0, 146.0
BEATS_PER_LINE = 4
LONGEST_NAME = 60
MIN_WIDTH = 1.0
"""Of a note, so that none is invisible."""


def roll_chart(roll: Roll) -> Markup:
    """The beginning of a song: pitched notes above, drums below."""
    notes = roll["notes"]
    end = max((start + duration for start, duration, _, _ in notes), default=1)
    scale = (RIGHT - LEFT) / max(end, 1)
    drums = sorted({instrument for _, _, _, instrument in notes if instrument >= PROGRAMS})
    pitches = [pitch for _, _, pitch, instrument in notes if instrument < PROGRAMS]
    low, high = min(pitches, default=0), max(pitches, default=0)
    semitone = (PITCHED_FLOOR - PITCHED_TOP) / max(high - low + 1, 24)
    row = (DRUMS_FLOOR - DRUMS_TOP) / max(len(drums), 1)
    moves: dict[str, list[str]] = defaultdict(list)
    for start, duration, pitch, instrument in notes:
        x, width = LEFT + scale * start, max(scale * duration * 0.9, MIN_WIDTH)
        if instrument < PROGRAMS:
            kind, y = (
                f"f{instrument // 8 % COLOURS}",
                PITCHED_FLOOR - semitone * (pitch - low + 0.5),
            )
        else:
            kind, y = "drums", DRUMS_FLOOR - row * (drums.index(instrument) + 0.5)
            width = min(width, 2 * MIN_WIDTH)
        moves[kind].append(f"M{x:.1f} {y:.1f}h{width:.1f}")
    lines = range(0, end, BEATS_PER_LINE * max(roll["steps_per_beat"], 1))
    bars = "".join(f"M{LEFT + scale * at:.1f} {PITCHED_TOP}V{DRUMS_FLOOR}" for at in lines)
    parts = [_path("beats", bars, 1)]
    for kind in sorted(moves):
        thickness = 0.75 * row if kind == "drums" else max(0.8 * semitone, MIN_WIDTH)
        parts.append(_path(kind, "".join(moves[kind]), thickness))
    name = visible(roll["path"], LONGEST_NAME)
    drawing = svg(f"{name}: the first {count(len(notes))} notes", parts, height=HEIGHT)
    return Markup('<div class="roll">{}</div>').format(drawing)


def _path(kind: str, moves: str, thickness: float) -> Markup:
    return Markup('<path class="{}" d="{}" stroke-width="{:.1f}"/>').format(kind, moves, thickness)
