"""How far a run is, told on stderr: a bar, and a line of what was thrown away and what is slow."""

import sys

from pipeline.running.status import Status
from shards.console import progress_bar

LONG = 1.0
"""Seconds on one file after which it is named while it is in hand."""
REASONS = 4
"""Reasons told, the commonest; the report tells them all."""


def describe(status: Status) -> str:
    """What became of the files so far, by reason, and the slowest of them."""
    parts = [f"kept {status.kept:,}, not {status.dropped.total():,}"]
    if status.dropped:
        reasons = sorted(status.dropped.items(), key=lambda pair: (-pair[1], pair[0]))
        told = [f"{reason} {count:,}" for reason, count in reasons[:REASONS]]
        more = sum(count for _, count in reasons[REASONS:])
        parts[0] += f" ({', '.join(told)}{f', other {more:,}' if more else ''})"
    seconds, name = status.in_hand
    if seconds >= LONG:
        parts.append(f"on {printable(name)} for {seconds:.0f} s")
    elif status.slowest[1]:
        parts.append(f"slowest {printable(status.slowest[1])} {status.slowest[0]:.2f} s")
    return "; ".join(parts)


def printable(name: str) -> str:
    """A file's name that keeps to its line, and to a reasonable part of it."""
    clean = "".join(char if char.isprintable() else "?" for char in name)
    return clean if len(clean) <= 60 else f"…{clean[-59:]}"


class RunProgress:
    """Files done of all, files a second and time left; below, what `describe` says.

    In a log, which is no terminal, both are one line, now and then.
    """

    def __init__(self, files: int, done: int) -> None:
        self._bar = progress_bar(
            total=files, initial=done, unit=" files", smoothing=0.1, desc="starting"
        )
        self._below = None
        if sys.stderr.isatty():
            self._below = progress_bar(bar_format="{desc}", position=1, leave=False)

    def __enter__(self) -> "RunProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._below is not None:
            self._below.close()
        self._bar.close()

    def show(self, status: Status) -> None:
        """Redraw; what a killed worker had not published is counted off again."""
        all_done = status.files == self._bar.total
        self._bar.set_description("finishing" if all_done else "reading", refresh=False)
        if self._below is not None:
            self._below.set_description_str(describe(status))
        else:
            self._bar.set_postfix_str(describe(status), refresh=False)
        self._bar.update(status.files - self._bar.n)


class ListingProgress:
    """Bytes of a compressed archive that have been looked through for its table of contents."""

    def __init__(self) -> None:
        self._bar = None

    def __enter__(self) -> "ListingProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Redraw; called for one archive after another."""
        if self._bar is None:
            self._bar = progress_bar(total=total, unit="B", unit_scale=True, desc="listing")
        if done < self._bar.n:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)
