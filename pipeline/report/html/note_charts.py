"""The report's charts of single notes, from the workers' counts."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from pipeline.report.html.svg import (
    Chart,
    columns_of,
    histogram,
    label,
    line,
    mirrored_histograms,
    note_name,
    octave_ticks,
    svg,
)
from pipeline.report.number_format import count

MAX_STEPS_SHOWN = 96
"""Longer notes are one column of the chart of durations."""
MAX_SOUNDING_SHOWN = 16
NOTE_VALUES = {8: "1/8", 4: "1/4", 2: "1/2", 1: "1/1"}
HEAT_LEFT, HEAT_CELL, HEAT_ROW, HEAT_TOP = 132, 6.7, 17, 6


def pitch_heat_map(pitches: dict[str, list[int]]) -> Chart:
    """Notes by family of instruments and pitch, darker for more, on a logarithmic scale."""
    top = max((notes for row in pitches.values() for notes in row), default=0)
    height = HEAT_TOP + HEAT_ROW * len(pitches)
    parts = []
    for n, (family, row) in enumerate(pitches.items()):
        y = HEAT_TOP + HEAT_ROW * n
        parts.append(label(HEAT_LEFT - 8, y + 12, family, "end", "ink"))
        for pitch, notes in enumerate(row):
            if notes:
                shade = (1 + math.log(notes)) / (1 + math.log(top))
                parts.append(_cell(pitch, y, shade, f"{family}, {note_name(pitch)}", notes))
    for pitch, name in octave_ticks():
        x = HEAT_LEFT + HEAT_CELL * pitch
        parts.append(line(x, HEAT_TOP, x, height + 3, "octave"))
        parts.append(label(x, height + 15, name, "start" if pitch == 0 else "middle"))
    drawing = svg("Notes by family and pitch", parts, HEAT_LEFT + HEAT_CELL * 128, height + 20)
    return Chart(
        "Pitches by family",
        drawing,
        "Notes by pitch, darker where there are more, on a logarithmic scale. A model will play "
        "a family badly where its range is mostly blank; notes far outside the range of an "
        "instrument, such as a bass far above C4, mean wrong program numbers.",
        wide=True,
    )


def _cell(pitch: int, y: float, shade: float, name: str, notes: int) -> Markup:
    return Markup(
        '<rect class="column" x="{:.1f}" y="{}" width="{:.1f}" height="{}" '
        'fill-opacity="{:.2f}"><title>{}: {} notes</title></rect>'
    ).format(
        HEAT_LEFT + HEAT_CELL * pitch,
        y,
        HEAT_CELL - 0.3,
        HEAT_ROW - 2,
        0.08 + 0.92 * shade,
        name,
        count(notes),
    )


def velocity_chart(velocities: dict[str, list[int]]) -> Chart:
    """Notes by velocity: programs upwards, drums downwards."""
    names = [f"velocity {low} to {low + 3}" for low in range(0, 128, 4)]
    return mirrored_histograms(
        "Velocities",
        columns_of(velocities["programs"], names, "notes of programs"),
        columns_of(velocities["drums"], names, "notes of drums", "quiet"),
        [(n, str(4 * n)) for n in range(0, 32, 4)],
        "MIDI velocity, 0 to 127, in the bins that are stored; programs above the axis, drums "
        "below. A single spike, at 64, 100 or 127, means velocities that nobody played.",
    )


def pitch_range_chart(pitch: dict[str, list[int]]) -> Chart:
    """Songs by highest pitch, upwards, and by lowest pitch, downwards."""
    names = [note_name(number) for number in range(128)]
    return mirrored_histograms(
        "Highest and lowest pitch per song",
        columns_of(pitch["pitch_high"], names, "songs by highest pitch"),
        columns_of(pitch["pitch_low"], names, "songs by lowest pitch", "quiet"),
        octave_ticks(),
        "Highest pitches above the axis, lowest below, without drums. Both should be hills "
        "over the natural range of instruments; spikes at the ends (C-1, G9) are sound effects "
        "and key switches.",
    )


def sounding_chart(steps: Sequence[int]) -> Chart:
    """Grid steps by the number of notes that sound."""
    shown = [*steps[:MAX_SOUNDING_SHOWN], sum(steps[MAX_SOUNDING_SHOWN:])]
    ticks = [(n + 0.5, str(n)) for n in range(0, MAX_SOUNDING_SHOWN, 2)]
    names = [f"{n} notes" for n in range(MAX_SOUNDING_SHOWN)] + [f"{MAX_SOUNDING_SHOWN} or more"]
    return histogram(
        "Notes sounding at once, by grid step",
        columns_of(shown, names, "steps"),
        [*ticks, (MAX_SOUNDING_SHOWN + 0.5, f"{MAX_SOUNDING_SHOWN}+")],
        "Grid steps by the number of notes that sound, without drums. A tall first column "
        "means rests; a long tail means pedals held down.",
    )


def duration_chart(notes: Sequence[int], steps_per_beat: int) -> Chart:
    """Notes by duration in steps."""
    longest = min(MAX_STEPS_SHOWN, len(notes) - 1)
    shown = [*notes[1 : longest + 1], sum(notes[longest + 1 :])]
    names = [f"{n} steps" for n in range(1, longest + 1)] + [f"over {longest} steps"]
    whole = 4 * steps_per_beat
    ticks = [
        (whole // part - 0.5, name)
        for part, name in NOTE_VALUES.items()
        if whole % part == 0 and whole // part <= longest
    ]
    most_frequent = max(range(len(shown)), key=shown.__getitem__)
    return histogram(
        "Note durations",
        columns_of(shown, names, "notes"),
        ticks,
        f"In steps, {steps_per_beat} per quarter note, without drums; the last column holds all "
        "longer notes. Spikes at the labelled note values mean music written to a grid; a spike "
        "just below one means a sequencer that shortens notes.",
        f"Most frequent: {names[most_frequent]}",
    )
