"""Progress bars on stderr, while archives are listed and while a run is executed."""

import sys
from contextlib import AbstractContextManager

from pipeline.running.status import RunStatus
from shards.console import print_note, progress_bar
from shards.text import visible

MAX_NAME_LENGTH = 60
"""File names are cut to about this many characters."""
LONG_SECONDS = 1.0
"""The current file is named once it has taken this long."""
SHOWN_REASONS = 4
"""Reasons shown, most frequent first; the report shows all."""


def describe(status: RunStatus) -> str:
    """Say how many files were kept and dropped, why, and which file took longest."""
    counts = status.counts
    parts = [f"kept {counts.kept:,}, dropped {counts.dropped.total():,}"]
    if counts.dropped:
        reasons = sorted(counts.dropped.items(), key=lambda pair: (-pair[1], pair[0]))
        shown = [f"{reason} {count:,}" for reason, count in reasons[:SHOWN_REASONS]]
        other = sum(count for _, count in reasons[SHOWN_REASONS:])
        parts[0] += f" ({', '.join(shown)}{f', other {other:,}' if other else ''})"
    (current_seconds, current), (slowest_seconds, slowest) = status.current, status.slowest
    if current_seconds >= LONG_SECONDS:
        parts.append(f"on {visible(current, MAX_NAME_LENGTH)} for {current_seconds:.0f} s")
    elif slowest:
        parts.append(f"slowest {visible(slowest, MAX_NAME_LENGTH)} {slowest_seconds:.2f} s")
    return "; ".join(parts)


class RunBar(AbstractContextManager):
    """Files done, files per second and time left; on a second line, what `describe` says.

    Where stderr is no terminal but a log, both are on one line, printed now and then.
    """

    def __init__(self, files: int, done: int) -> None:
        self._bar = progress_bar(
            total=files, initial=done, unit=" files", smoothing=0.1, desc="starting"
        )
        self._told = 0
        self._second_line = None
        if sys.stderr.isatty():
            self._second_line = progress_bar(bar_format="{desc}", position=1, leave=False)

    def __exit__(self, *error: object) -> None:
        if self._second_line is not None:
            self._second_line.close()
        self._bar.close()

    def show(self, status: RunStatus) -> None:
        """Update the bar; the count falls when a worker is killed before it has published."""
        for note in status.notes[self._told :]:
            print_note(note)
        self._told = len(status.notes)
        all_done = status.counts.files == self._bar.total
        self._bar.set_description("finalizing" if all_done else "reading", refresh=False)
        if self._second_line is not None:
            self._second_line.set_description_str(describe(status))
        else:
            self._bar.set_postfix_str(describe(status), refresh=False)
        self._bar.update(status.counts.files - self._bar.n)


class ListingBar(AbstractContextManager):
    """Bytes of a compressed archive that have been read to list its files."""

    def __init__(self) -> None:
        self._bar = None

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, done: int, total: int) -> None:
        """Update the bar; called for one archive after another."""
        if self._bar is None:
            self._bar = progress_bar(total=total, unit="B", unit_scale=True, desc="listing")
        if done < self._bar.n:
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)
