"""The charts of the report that are made of the workers' counts, as inline SVG and HTML.

They draw what `tallied.measure_tally` and `measure.measure_report` counted; the same conventions
as in `charts` hold.
"""

import math
from collections.abc import Sequence
from typing import Any

from pipeline.report.html.svg import (
    FLOOR,
    LEFT,
    RIGHT,
    TOP,
    bars,
    column,
    figure,
    key_name,
    label,
    line,
    svg,
    text,
)
from pipeline.report.number_format import count, digits, share, short
from shards.gm import FAMILIES
from shards.vocabulary import PROGRAMS

LONGEST_SHOWN = 48
"""Steps; longer notes are one bar of the chart."""
MOST_SOUNDING_SHOWN = 16
NAMED_FRACTIONS = {8: "1/8", 4: "1/4", 2: "1/2", 1: "1/1"}
ERROR_STEPS = (2, 5, 10, 20)
"""Milliseconds; the shares of onsets under each are drawn."""
HEAT_LEFT, HEAT_CELL, HEAT_ROW, HEAT_TOP = 132, 6.7, 17, 6


def heat_map(heat: dict[str, list[int]]) -> str:
    """Notes by family of instruments and pitch: the more, the darker, by logarithm."""
    most = max((notes for row in heat.values() for notes in row), default=0)
    tall = HEAT_TOP + HEAT_ROW * len(heat)
    cells = ""
    for place, (family, row) in enumerate(heat.items()):
        y = HEAT_TOP + HEAT_ROW * place
        cells += label(HEAT_LEFT - 8, y + 12, family, "end", "ink")
        for key, notes in enumerate(row):
            if notes:
                shade = (1 + math.log(notes)) / (1 + math.log(most))
                cells += (
                    f'<rect class="column" x="{HEAT_LEFT + HEAT_CELL * key:.1f}" y="{y}" '
                    f'width="{HEAT_CELL - 0.3:.1f}" height="{HEAT_ROW - 2}" '
                    f'fill-opacity="{0.08 + 0.92 * shade:.2f}"><title>{text(family)}, '
                    f"{key_name(key)}: {count(notes)} notes</title></rect>"
                )
    for key in range(0, 128, 12):
        x = HEAT_LEFT + HEAT_CELL * key
        cells += line(x, HEAT_TOP, x, tall + 3, "octave")
        cells += label(x, tall + 15, key_name(key), "start" if key == 0 else "middle")
    wide = HEAT_LEFT + HEAT_CELL * 128
    drawing = svg("Notes by family and pitch", cells, wide, tall + 20)
    return figure(
        "Which pitches each family plays",
        f'<div class="scroll"><div class="panorama">{drawing}</div></div>',
        "Notes by pitch, stronger where there are more, on a logarithmic scale. A family "
        "that is blank over most of its range, or strong far outside of it, is one that a "
        "model will play oddly; a bass far above C4 is a wrong program number.",
    )


def every_sound(instruments: Sequence[dict[str, Any]], songs: int) -> str:
    """Songs that each instrument class plays in: sixteen families, then drums by sound."""
    families = [(family, len(members)) for family, members in FAMILIES]
    families.append(("Drums, by sound", len(instruments) - PROGRAMS))
    longest = max((one["songs"] for one in instruments), default=0)
    blocks, at = "", 0
    for family, members in families:
        rows = [(one["name"], one["songs"], "") for one in instruments[at : at + members]]
        at += members
        kind = ' class="drums"' if at > PROGRAMS else ""
        blocks += f"<div{kind}><h3>{text(family)}</h3>{bars(rows, songs, longest=longest)}</div>"
    return f'<div class="families">{blocks}</div>'


def velocities(counts: dict[str, list[int]]) -> str:
    """Notes by loudness: programs upwards, drums downwards."""
    halves = (("of programs", counts["programs"], ""), ("of drums", counts["drums"], "quiet"))
    marks = [(n, str(4 * n)) for n in range(0, 32, 4)]
    return mirror(
        "How loud notes are",
        halves,
        marks,
        lambda n: f"velocity {4 * n} to {4 * n + 3}",
        "MIDI velocity, 0 to 127, in the bins that are stored; programs above the line, drums "
        "below. One tower, at 64, 100 or 127, is loudness that nobody played.",
    )


def mirror(
    title: str,
    halves: Sequence[tuple[str, Sequence[int], str]],
    marks: Sequence[tuple[int, str]],
    hint: Any,
    look_for: str,
    unit: str = "notes",
) -> str:
    """Two histograms over one axis, the first upwards, the second downwards.

    Args:
        title, look_for: of the figure.
        halves: what it is, its counts, and a class for its columns.
        marks: places on the axis with their labels.
        hint: place -> what is there, in words.
        unit: what is counted.
    """
    up, down = (max(counts, default=0) for _, counts, _ in halves)
    if not up + down:
        return figure(title, '<p class="none">No song to measure.</p>', look_for)
    cells = len(halves[0][1])
    cell, scale = (RIGHT - LEFT) / cells, 124 / (up + down)
    middle = 4 + scale * up
    drawing = ""
    for what, counts, kind in halves:
        for place, number in enumerate(counts):
            tall = max(number * scale, 1)
            y = middle + 16 if kind else middle - tall
            if number:
                drawing += column(
                    LEFT + cell * place, cell, y, tall, kind,
                    f"{hint(place)}: {count(number)} {unit} {what}",
                )  # fmt: skip
    for place, words in marks:
        drawing += label(LEFT + cell * (place + 0.5), middle + 12, words, "middle")
    return figure(title, svg(title, drawing), look_for)


def histogram_of(
    title: str,
    counts: Sequence[int],
    names: Sequence[str],
    marks: Sequence[tuple[int, str]],
    look_for: str,
    summary: str = "",
) -> str:
    """Columns of counts, each with a name of its own, some of them labelled on the axis."""
    top = max(counts, default=0)
    if not top:
        return figure(title, '<p class="none">No song to measure.</p>', look_for)
    cell = (RIGHT - LEFT) / len(counts)
    drawing = line(LEFT, FLOOR, RIGHT, FLOOR, "axis")
    for place, number in enumerate(counts):
        tall = max(number / top * (FLOOR - TOP), 1)
        if number:
            hint = f"{names[place]}: {count(number)}"
            drawing += column(LEFT + cell * place, cell, FLOOR - tall, tall, "", hint)
    for place, words in marks:
        x = LEFT + cell * (place + 0.5)
        anchor = "start" if x < LEFT + 16 else "end" if x > RIGHT - 16 else "middle"
        drawing += line(x, FLOOR, x, FLOOR + 3, "axis") + label(x, FLOOR + 15, words, anchor)
    return figure(title, svg(title, drawing), look_for, summary)


def sounding(steps: Sequence[int]) -> str:
    """How long how many notes sound at once, drums not counted."""
    shown = [*steps[:MOST_SOUNDING_SHOWN], sum(steps[MOST_SOUNDING_SHOWN:])]
    names = [f"{n} notes" for n in range(MOST_SOUNDING_SHOWN)] + [f"{MOST_SOUNDING_SHOWN} and more"]
    marks = [(n, str(n)) for n in range(0, MOST_SOUNDING_SHOWN, 2)]
    marks.append((MOST_SOUNDING_SHOWN, f"{MOST_SOUNDING_SHOWN}+"))
    return histogram_of(
        "Notes sounding at once, over time",
        shown,
        names,
        marks,
        "Grid steps by the number of notes that sound, drums not counted. A tall first column "
        "is rests; a long tail is pedals held down.",
    )


def durations(notes: Sequence[int], steps_per_beat: int) -> str:
    """Notes by how long they are held, in steps."""
    longest = min(LONGEST_SHOWN, len(notes) - 1)
    shown = [*notes[1 : longest + 1], sum(notes[longest + 1 :])]
    names = [f"{n} steps" for n in range(1, longest + 1)] + [f"over {longest} steps"]
    whole = 4 * steps_per_beat
    marks = [
        (whole // part - 1, name)
        for part, name in NAMED_FRACTIONS.items()
        if whole % part == 0 and whole // part <= longest
    ]
    top = max(range(len(shown)), key=shown.__getitem__)
    return histogram_of(
        "How long notes are held",
        shown,
        names,
        marks,
        f"In steps, {steps_per_beat} a quarter note, drums not counted; the last column is all "
        "that are longer. Spikes at the named lengths are music written to a grid; a spike just "
        "below one is a sequencer that cuts its notes short.",
        f"Most often {names[top]}",
    )


def grids(rows: Sequence[dict[str, Any]], steps_per_beat: int) -> str:
    """Onset errors by grid: how far the files' onsets lie from each grid's steps."""
    lines = ""
    for row in rows:
        onsets, below = row["onsets"], [sum(row["errors"][:ms]) for ms in ERROR_STEPS]
        parts = [row["exact"], *below, onsets]
        shades = "".join(
            f'<i class="e{n}" style="width:{100 * (part - before) / max(onsets, 1):.2f}%"></i>'
            for n, (before, part) in enumerate(zip([0, *parts], parts, strict=False))
            if part > before
        )
        mine = ' class="main"' if row["steps"] == steps_per_beat else ""
        mean = "-" if row["mean_ms"] is None else f"{digits(row['mean_ms'])} ms"
        lines += (
            f'<tr{mine}><th scope="row">{row["steps"]}</th><td class="bar">'
            f'<span class="stack">{shades}</span></td><td class="n">'
            f'{share(row["exact"], onsets)}</td><td class="n">{mean}</td></tr>'
        )
    words = ["on a step", *(f"under {ms} ms" for ms in ERROR_STEPS), "further off"]
    legend = "".join(f'<span><i class="e{n}"></i>{word}</span>' for n, word in enumerate(words))
    return (
        '<table class="bars grids"><thead><tr><th scope="col">steps a quarter note</th>'
        '<th scope="col"></th><th class="n" scope="col">on a step</th>'
        f'<th class="n" scope="col">mean error</th></tr></thead><tbody>{lines}</tbody></table>'
        f'<p class="legend">{legend}</p>'
    )


def blocks(rows: Sequence[dict[str, int]]) -> str:
    """What crop, pad and join make of songs, by block length."""
    lines = ""
    for row in rows:
        inputs, padded, cropped = row["inputs"], row["padded"], row["cropped"]
        figures = (
            ("crop", inputs - cropped, inputs),
            ("pad", inputs, inputs + padded),
            ("join", inputs, inputs),
        )
        for n, (mode, used, whole) in enumerate(figures):
            head = f"<b>{count(row['block'])}</b>" if n == 0 else ""
            what = {
                "crop": f"{short(cropped)} tokens and {count(row['songs_cropped'])} whole songs "
                "never seen",
                "pad": f"{short(padded)} places empty",
                "join": "nothing lost, nothing empty",
            }[mode]
            lines += (
                f'<tr class="{"first" if n == 0 else ""}"><th scope="row">{head}</th>'
                f'<td class="mode">{mode}</td><td class="bar">'
                f'<i class="{mode}" style="width:{100 * used / max(whole, 1):.2f}%"></i></td>'
                f'<td class="n">{share(used, whole)}</td><td class="what">{what}</td></tr>'
            )
    return f'<table class="bars blocks"><tbody>{lines}</tbody></table>'


def vocabulary(tokens: dict[str, Any]) -> str:
    """How much of the vocabulary is in use, by kind; the rarest tokens, and those never used."""
    rows = "".join(
        f'<tr><th scope="row">{text(one["kind"])}</th><td class="bar">'
        f'<i style="width:{100 * one["used"] / one["tokens"]:.2f}%"></i></td>'
        f'<td class="n">{count(one["used"])} of {count(one["tokens"])}</td>'
        f'<td class="n">{share(one["times"], tokens["total"])}</td></tr>'
        for one in tokens["kinds"]
    )
    rarest = "".join(
        f"<span><code>{text(one['name'])}</code> {count(one['times'])}</span>"
        for one in tokens["rarest"]
    )
    never = " ".join(f"<code>{text(name)}</code>" for name in tokens["never"])
    return (
        '<table class="bars vocabulary"><thead><tr><th scope="col">kind of token</th>'
        '<th scope="col"></th><th class="n" scope="col">in use</th>'
        f'<th class="n" scope="col">of all tokens</th></tr></thead><tbody>{rows}</tbody></table>'
        f'<h3>The rarest that occur, with how often</h3><p class="tokens">{rarest}</p>'
        f"<details><summary><b>Never used</b> {count(len(tokens['never']))} tokens</summary>"
        f'<p class="tokens">{never or "none"}</p></details>'
    )
