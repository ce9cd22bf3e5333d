"""How reports write numbers (counts, shares, lengths of time), and the names of stages and reasons.

report.json holds exact values.
"""

import math
from collections.abc import Mapping
from typing import Any

STAGES = {
    "found": "files found",
    "readable": "readable",
    "kept": "kept",
    "representative": "different songs",
}
"""Of the funnel, as pages and terminal call them."""


def count(number: int) -> str:
    """A whole number with thousands separators: 178,561."""
    return f"{number:,}"


def short(number: float) -> str:
    """Three digits and a letter: 1,234,567 is 1.23 M."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * power:
            return f"{digits(number / power)} {letter}"
    return digits(number)


def digits(number: float) -> str:
    """Three significant digits, never an exponent: 0.0123, 1.5, 60, 1,234."""
    if number == 0 or not math.isfinite(number):
        return f"{number:g}"
    places = max(0, 2 - math.floor(math.log10(abs(number))))
    text = f"{number:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def figure(number: float | None) -> str:
    """Three significant digits, from a million on with a letter; - for no number."""
    if number is None:
        return "-"
    return short(number) if number >= 1_000_000 else digits(number)


def share(part: float, whole: float) -> str:
    """A part in per cent; a part too small to round up is < 0.1 %, never 0.0 %."""
    if not whole:
        return "-"
    per_cent = 100 * part / whole
    if 0 < per_cent < 0.05:
        return "< 0.1 %"
    if 99.95 <= per_cent < 100:
        return "> 99.9 %"
    return f"{per_cent:.1f} %"


def hours(number: float) -> str:
    """A duration given in hours; in minutes where it is under an hour."""
    return f"{digits(number)} h" if number >= 1 else f"{digits(60 * number)} min"


def words(code: str) -> str:
    """A code of the ledger in words: too_few_notes is too few notes."""
    return code.replace("_", " ").replace("midi", "MIDI")


def reason_name(reason: Mapping[str, Any]) -> str:
    """Why a file was not kept: its rule, or where it has none, its outcome."""
    return words(reason["rule"] or reason["outcome"])


def significant(number: float) -> float:
    """Six significant digits: the same on machines that sum in another order."""
    return float(f"{number:.6g}")
