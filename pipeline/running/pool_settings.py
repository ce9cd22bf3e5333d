"""Settings of how a run is executed: its workers, and what each may use."""

import os
from dataclasses import dataclass

from shards.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class PoolSettings(Settings):
    """How a run is executed; none of this changes what a dataset holds of good files."""

    workers: int | None = setting(
        None, "Worker processes; by default one per core.", low=1, high=1024
    )
    file_timeout: float = setting(
        60.0,
        "Seconds that a file may take before its worker is killed. A normal file takes "
        "milliseconds.",
        low=0.1,
    )
    soft_timeout: float = setting(
        20.0,
        "Seconds of CPU time that a file may take before its worker stops processing it. This "
        "costs less than --file-timeout, because the worker lives on.",
        low=0.1,
    )
    memory_limit: int = setting(
        2000,
        "Megabytes that a worker may allocate; it needs about 200 itself.",
        low=400,
        high=10_000_000,
    )
    spool_limit: int = setting(
        1000,
        "Megabytes of a compressed archive that may be unpacked next to the unfinished dataset, "
        "waiting for workers.",
        low=1,
    )
    engine: str = setting(
        "processes",
        "What runs the slices: processes of this machine, or the nodes of a Ray cluster that "
        "share the source and output folders (needs the extra `ray`; --workers is then per node).",
        choices=("processes", "ray"),
    )
    ray_address: str = setting(
        "auto", "Address of the Ray cluster; by default the one running on this machine."
    )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that get a file quarantined."""
        return {
            "file_timeout": self.file_timeout,
            "soft_timeout": self.soft_timeout,
            "memory_limit": self.memory_limit,
        }

    @property
    def processes(self) -> int:
        """Number of workers."""
        return self.workers or len(os.sched_getaffinity(0))
