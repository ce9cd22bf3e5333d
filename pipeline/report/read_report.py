"""Read report.json back, which may come from somebody else: it must be what `schema` says."""

from itertools import chain
from pathlib import Path
from typing import Any, cast

from pipeline.report.compute.histograms import MEASURES
from pipeline.report.schema import LOSSES, REPORT_VERSION, Report
from shards.errors import ShardError
from shards.gm import FAMILY_NAMES
from shards.json_types import type_fault
from shards.layout import REPORT, SPLITS
from shards.reader import read_json

STAGES = ("found", "readable", "kept", "representative")
KEYS = {
    "totals": ("kept", "representative", *SPLITS),
    "distributions": tuple(measure.name for measure in MEASURES),
    "losses": tuple(LOSSES),
    "controls": ("bends", "modulations"),
}
"""What the objects with keys of their own must hold."""


def read_report(dataset: Path) -> Report:
    """The contents of a dataset's report.json.

    Raises:
        ShardError: it is missing or damaged, or written by another version of this program.
    """
    report = read_json(dataset / REPORT)
    version = report.get("report_version") if isinstance(report, dict) else None
    if version != REPORT_VERSION:
        raise ShardError(
            f"{dataset / REPORT} is a report of version {version}, this program reads "
            f"{REPORT_VERSION}: make the dataset again with `pipeline run`"
        )
    if fault := _fault(report):
        raise ShardError(f"{dataset / REPORT} is damaged ({fault}): make the dataset again")
    return cast(Report, report)


def _fault(report: Any) -> str | None:
    if fault := type_fault(report, Report):
        return fault
    for name, keys in KEYS.items():
        if lacking := [key for key in keys if key not in report[name]]:
            return f"{name} lacks {lacking[0]!r}"
    families = report["programs"]["family_songs"].keys()
    if families != {*FAMILY_NAMES, "Drums"}:
        return "programs.family_songs does not hold the families of programs"
    funnel = report["funnel"]
    if tuple(stage["stage"] for stage in funnel) != STAGES:
        return f"funnel does not have the stages {', '.join(STAGES)}"
    files = [stage["files"] for stage in funnel]
    lost = (reason["files"] for reason in chain(*(stage["lost"] for stage in funnel)))
    if max(*files, *lost) > files[0]:
        return "funnel has more files in a stage than were found"
    return None
