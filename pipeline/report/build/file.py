"""report.json: its version, and how it is read back; `pipeline.report.build.report` makes what is in it.

Apart, as whoever prints a report need not load the compiler that counting takes.
"""

from pathlib import Path
from typing import Any

from shards.errors import ShardError
from shards.layout import REPORT
from shards.reader import read_json

REPORT_VERSION = 4


def read_report(dataset: Path) -> dict[str, Any]:
    """The contents of a dataset's report.json.

    Raises:
        ShardError: it is missing, or written by another version of this program.
    """
    report = read_json(dataset / REPORT)
    version = report.get("report_version") if isinstance(report, dict) else None
    if version != REPORT_VERSION:
        raise ShardError(
            f"{dataset / REPORT} is a report of version {version}, this program reads "
            f"{REPORT_VERSION}: make the dataset again with `pipeline run`"
        )
    return report
