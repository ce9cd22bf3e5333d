"""The report on a terminal: one screen of 80 columns and 40 lines, whatever is in the dataset."""

from collections.abc import Sequence
from typing import Any

from pipeline.report.build.histograms import MEASURES
from pipeline.report.number_format import count, digits, hours, share, short, words

COLUMNS = 80
BAR = 26
REASONS = 5
"""Reasons and copies shown by name; what is rarer is added up in one line."""
CURVE = 22
STAGES = {
    "found": "files found",
    "readable": "readable",
    "kept": "kept",
    "representative": "different songs",
}
SHOWN = ("tokens", "notes", "seconds", "bars", "bpm", "notes_per_second", "instruments",
         "polyphony", "onset_error_ms")  # fmt: skip
EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"


def report_text(report: dict[str, Any]) -> str:
    """The report of `pipeline.report.build.report.measure_report` in at most 40 lines of 80 columns."""
    blocks = (_funnel(report), _splits(report), _distributions(report), _remarks(report))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _funnel(report: dict[str, Any]) -> list[str]:
    found = report["funnel"][0]["files"]
    every = [reason for stage in report["funnel"] for reason in stage["lost"]]
    named = sorted(every, key=lambda reason: -reason["files"])[:REASONS]
    lines = []
    for stage in report["funnel"]:
        files = stage["files"]
        lines.append(_bar_line(STAGES[stage["stage"]], count(files), files, found))
        for why, lost in _losses(stage["lost"], named):
            lines.append(_bar_line(f"  {why}", f"- {count(lost)}", lost, found))
    return lines


def _losses(
    lost: Sequence[dict[str, Any]], named: Sequence[dict[str, Any]]
) -> list[tuple[str, int]]:
    """What one stage loses: the reasons that are named, and the others added up."""
    rows = [(words(why["rule"] or why["outcome"]), why["files"]) for why in lost if why in named]
    others = [why["files"] for why in lost if why not in named]
    return [*rows, (f"{len(others)} more", sum(others))] if others else rows


def _bar_line(label: str, number: str, files: int, found: int) -> str:
    line = f"{label[:26]:<26} {number:>11} {share(files, found):>9}  {bar(files, found)}"
    return line.rstrip()


def bar(part: float, whole: float, width: int = BAR) -> str:
    """A bar of `width` cells for the whole, to an eighth of a cell; never nothing for something."""
    if not part or not whole:
        return ""
    eighths = max(1, round(8 * width * part / whole))
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def _splits(report: dict[str, Any]) -> list[str]:
    totals = report["totals"]
    lines = [f"{'':<16}{'songs':>10}{'tokens':>12}{'notes':>12}{'music':>14}"]
    for name in ("train", "valid", "test"):
        part = totals[name]
        lines.append(
            f"{name:<16}{count(part['songs']):>10}{short(part['tokens']):>12}"
            f"{short(part['notes']):>12}{hours(part['hours']):>14}"
        )
    return lines


def _distributions(report: dict[str, Any]) -> list[str]:
    lines = [f"{'each song has':<26}{'5 %':>8}{'median':>9}{'95 %':>9}"]
    for measure in (m for m in MEASURES if m.name in SHOWN):
        spread = report["distributions"][measure.name]
        figures = [_figure(spread[name]) for name in ("p5", "median", "p95")]
        label = LABELS.get(measure.name, measure.unit)
        lines.append(
            f"{label:<26}{figures[0]:>8}{figures[1]:>9}{figures[2]:>9}   "
            f"{curve(spread['counts'])}".rstrip()
        )
    return lines


LABELS = {
    "seconds": "seconds",
    "bpm": "beats a minute",
    "notes_per_second": "notes a second",
    "polyphony": "notes sounding at once",
    "onset_error_ms": "onset error, ms",
}


def _figure(number: float | None) -> str:
    if number is None:
        return "-"
    return short(number) if number >= 1_000_000 else digits(number)


def curve(counts: Sequence[int], width: int = CURVE) -> str:
    """A histogram in one line: neighbours added up to fit, an empty place blank."""
    if not any(counts):
        return ""
    each = -(-len(counts) // width)
    sums = [sum(counts[at : at + each]) for at in range(0, len(counts), each)]
    top = max(sums)
    return "".join(LEVELS[-(-8 * number // top) - 1] if number else " " for number in sums)


def _remarks(report: dict[str, Any]) -> list[str]:
    representative, programs = report["totals"]["representative"], report["programs"]
    songs, losses = representative["songs"], report["losses"]
    families = {"Drums": programs["drum_songs"], **programs["family_songs"]}
    sounds = sorted(families.items(), key=lambda pair: -pair[1])[:5]
    doubled, outside = (losses[f"notes_{why}"]["times"] for why in ("doubled", "outside_map"))
    read = representative["notes"] + doubled + outside
    tiers, copies = report["reading"]["tiers"], report["duplicates"]
    leaks = copies["clusters_in_two_splits"] + copies["files_in_two_splits"]
    rows = (
        ("played by", [f"{n} {share(c, songs)}" for n, c in sounds if c]),
        ("meters", [f"{n} {share(c, songs)}" for n, c in report["meters"][:4]]),
        ("read as", [f"{tier} {count(files)}" for tier, files in tiers.items()]),
        ("notes lost", [f"{share(doubled, read)} doubled",
                        f"{share(outside, read)} drums outside the map"]),
        ("grid error, ms", _grids(report)),
        ("controls", _controls(report)),
        ("no click", [f"{count(report['unaligned'])} songs, {share(report['unaligned'], songs)}"]),
        ("silence removed", [f"{hours(report['silence']['hours'])} in "
                             f"{count(report['silence']['songs'])} songs"]),
        ("leakage", [f"{leaks} copies across splits" if leaks else "none: no copy across splits"]),
    )  # fmt: skip
    return [_list(name, items) for name, items in rows if items]


def _controls(report: dict[str, Any]) -> list[str]:
    """The songs that bend and modulate, and what that would cost."""
    songs, tokens = (report["totals"]["representative"][name] for name in ("songs", "tokens"))
    bend, mod = report["controls"]["bends"], report["controls"]["modulations"]
    return [
        f"bend {share(bend['songs'], songs)} of songs",
        f"mod {share(mod['songs'], songs)}",
        f"cost {share(bend['tokens'], tokens)}, {share(mod['tokens'], tokens)} tokens",
    ]


def _grids(report: dict[str, Any]) -> list[str]:
    """The mean distance of onsets from each grid's steps, this dataset's in brackets."""
    own = report["vocabulary"]["steps_per_beat"]
    errors = [(g["steps"], g["mean_ms"]) for g in report["counts"]["grids"]]
    return [
        f"[{steps}: {error:.1f}]" if steps == own else f"{steps}: {error:.1f}"
        for steps, error in errors
        if error is not None
    ]


def _list(name: str, items: Sequence[str]) -> str:
    """As many of the items as one line holds."""
    line = f"{name:<17}{', '.join(items)}"
    return line if len(line) <= COLUMNS else _list(name, items[:-1])
