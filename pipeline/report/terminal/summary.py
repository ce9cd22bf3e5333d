"""The report on one screen of 80 columns and 40 lines, whatever the dataset holds."""

import textwrap
from collections.abc import Sequence

from pipeline.report.compute.histograms import MEASURES
from pipeline.report.number_format import (
    STAGES,
    count,
    figure,
    hours,
    reason_name,
    share,
    short,
)
from pipeline.report.schema import Reason, Report
from pipeline.sources.members import passed_over
from shards.layout import SPLITS
from shards.text import visible

COLUMNS = 80
BAR_WIDTH = 26
LABEL_WIDTH = 17
"""Of the remarks at the end."""
CURVE_WIDTH = 22
MAX_REASONS = 5
"""Reasons shown by name; the less frequent ones are added up in one line. Fewer are named where
what was not read takes lines of its own."""
MAX_FINDINGS = 3
LABELS = {
    "tokens": "tokens",
    "seconds": "seconds",
    "bpm": "beats per minute",
    "notes_per_second": "notes per second",
    "instruments": "instruments",
    "polyphony": "notes sounding at once",
    "onset_error_ms": "onset error, ms",
}
"""The distributions shown."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"


def report_text(report: Report) -> str:
    """The report in at most 40 lines of 80 columns."""
    not_read = _not_read(report)
    funnel = _funnel(report, MAX_REASONS - len(not_read))
    remarks = [*_remarks(report), *not_read]
    blocks = (funnel, _splits(report), _distributions(report), remarks, _findings(report))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _findings(report: Report) -> list[str]:
    """The findings of the greatest weight, and how many there are."""
    found = report["findings"]
    lines = [
        textwrap.shorten(f"- {visible(one['title'])}", COLUMNS, placeholder=" …")
        for one in found[:MAX_FINDINGS]
    ]
    more = "" if len(found) <= MAX_FINDINGS else f", the first {MAX_FINDINGS}"
    return [f"findings ({count(len(found))}{more})", *lines] if lines else []


def _funnel(report: Report, max_reasons: int) -> list[str]:
    found = report["funnel"][0]["files"]
    reasons = [reason for stage in report["funnel"] for reason in stage["lost"]]
    # duplicates always by name, so that at most two stages have a line for the others
    named = sorted(reasons, key=lambda reason: (reason["outcome"] != "kept", -reason["files"]))
    named = named[:max_reasons]
    lines = []
    for stage in report["funnel"]:
        files = stage["files"]
        lines.append(_bar_line(STAGES[stage["stage"]], count(files), files, found))
        for name, lost in _losses(stage["lost"], named):
            lines.append(_bar_line(f"  {name}", f"- {count(lost)}", lost, found))
    return lines


def _losses(lost: Sequence[Reason], named: Sequence[Reason]) -> list[tuple[str, int]]:
    """The files that one stage loses: the named reasons, and the others added up."""
    rows = [(reason_name(reason), reason["files"]) for reason in lost if reason in named]
    others = [reason["files"] for reason in lost if reason not in named]
    return [*rows, (f"{len(others)} more", sum(others))] if others else rows


def _bar_line(label: str, number: str, files: int, found: int) -> str:
    line = f"{label[:26]:<26} {number:>11} {share(files, found):>9}  {bar(files, found)}"
    return line.rstrip()


def bar(part: float, whole: float, width: int = BAR_WIDTH) -> str:
    """A bar to an eighth of a cell, `width` cells for the whole; not empty unless `part` is 0."""
    if not part or not whole:
        return ""
    eighths = max(1, round(8 * width * part / whole))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _splits(report: Report) -> list[str]:
    lines = [f"{'':<16}{'songs':>10}{'tokens':>12}{'notes':>12}{'music':>14}"]
    for name in SPLITS:
        total = report["totals"][name]
        lines.append(
            f"{name:<16}{count(total['songs']):>10}{short(total['tokens']):>12}"
            f"{short(total['notes']):>12}{hours(total['hours']):>14}"
        )
    return lines


def _distributions(report: Report) -> list[str]:
    lines = [f"{'per song':<26}{'5 %':>8}{'median':>9}{'95 %':>9}"]
    for name in (measure.name for measure in MEASURES if measure.name in LABELS):
        spread = report["distributions"][name]
        p5, median, p95 = (figure(spread[key]) for key in ("p5", "median", "p95"))
        line = f"{LABELS[name]:<26}{p5:>8}{median:>9}{p95:>9}   {curve(spread['counts'])}"
        lines.append(line.rstrip())
    return lines


def curve(counts: Sequence[int], width: int = CURVE_WIDTH) -> str:
    """A histogram in one line: neighbours added up to fit, an empty bin blank."""
    if not any(counts):
        return ""
    each = -(-len(counts) // width)
    sums = [sum(counts[at : at + each]) for at in range(0, len(counts), each)]
    top = max(sums)
    return "".join(LEVELS[-(-8 * number // top) - 1] if number else " " for number in sums)


def _remarks(report: Report) -> list[str]:
    total = report["totals"]["representative"]
    songs, losses = total["songs"], report["losses"]
    families = sorted(report["programs"]["family_songs"].items(), key=lambda pair: -pair[1])[:5]
    merged, outside = (losses[f"notes_{why}"]["occurrences"] for why in ("merged", "outside_map"))
    read = total["notes"] + merged + outside
    unaligned = report["unaligned_songs"]
    rows = (
        ("played by", [f"{name} {share(number, songs)}" for name, number in families if number]),
        ("meters", [f"{m} {share(n, songs)}" for m, n in [*report["meters"].items()][:4]]),
        ("notes lost", [f"{share(merged, read)} merged",
                        f"{share(outside, read)} drums outside the map"]),
        ("grid error, ms", _grids(report)),
        ("controls", _controls(report)),
        ("unaligned", [f"{count(unaligned)} songs, {share(unaligned, songs)}"]),
    )  # fmt: skip
    return [_list(name, items) for name, items in rows if items]


def _not_read(report: Report) -> list[str]:
    """What may hold music but was passed over, in at most two lines."""
    files = {reason["rule"]: reason["files"] for reason in report["reasons"] if reason["rule"]}
    text, width = ", ".join(passed_over(files)), COLUMNS - LABEL_WIDTH
    lines = textwrap.wrap(text, width, max_lines=2, placeholder=" …")
    return [f"{'' if n else 'not read':<{LABEL_WIDTH}}{line}" for n, line in enumerate(lines)]


def _controls(report: Report) -> list[str]:
    """The songs with pitch bend and modulation, and the tokens that encoding them costs."""
    total = report["totals"]["representative"]
    bend, mod = report["controls"]["bends"], report["controls"]["modulations"]
    return [
        f"bend {share(bend['songs'], total['songs'])} of songs",
        f"mod {share(mod['songs'], total['songs'])}",
        f"cost {share(bend['tokens'], total['tokens'])}, "
        f"{share(mod['tokens'], total['tokens'])} tokens",
    ]


def _grids(report: Report) -> list[str]:
    """The mean distance of onsets from each grid's steps, this dataset's in brackets."""
    own = report["vocabulary"]["steps_per_beat"]
    errors = [(g["steps_per_beat"], g["mean_ms"]) for g in report["note_counts"]["grids"]]
    return [
        f"[{steps}: {error:.1f}]" if steps == own else f"{steps}: {error:.1f}"
        for steps, error in errors
        if error is not None
    ]


def _list(name: str, items: Sequence[str]) -> str:
    """As many of the items as one line holds."""
    line = f"{name:<{LABEL_WIDTH}}{', '.join(items)}"
    return line if len(line) <= COLUMNS else _list(name, items[:-1])
