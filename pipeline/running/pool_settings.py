"""How a run is carried out: workers and what each may take."""

import os
from dataclasses import dataclass

from shards import settings
from shards.settings import setting


@dataclass(frozen=True, kw_only=True)
class PoolSettings:
    """How a run is carried out; none of it changes what the dataset holds of good files."""

    workers: int | None = setting(None, "Worker processes; by default one for each core.", low=1)
    file_timeout: float = setting(
        60.0,
        "Seconds a file may take before its worker is killed. A real one takes milliseconds.",
        low=0.1,
    )
    soft_timeout: float = setting(
        20.0,
        "Seconds of processor time a file may take before its worker gives it up by itself, "
        "which costs no more than that file.",
        low=0.1,
    )
    memory_limit: int = setting(
        2000, "Megabytes a worker may allocate; it needs about 200 itself.", low=400
    )
    spool_limit: int = setting(
        1000,
        "Megabytes that a compressed archive may lie unpacked beside the unfinished dataset, "
        "waiting for workers.",
        low=1,
    )

    engine: str = setting(
        "processes",
        "What runs the slices: processes of this machine, or the nodes of a Ray cluster that "
        "share the folders named (the extra `ray`); --workers is then for each node.",
        choices=("processes", "ray"),
    )
    ray_address: str = setting(
        "auto", "Where the Ray cluster is; by default the one that runs on this machine."
    )

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        settings.check(self)

    @property
    def limits(self) -> dict[str, float]:
        """What a file may be condemned for breaking."""
        return {
            "file_timeout": self.file_timeout,
            "soft_timeout": self.soft_timeout,
            "memory_limit": self.memory_limit,
        }

    @property
    def processes(self) -> int:
        """How many workers there will be."""
        return self.workers or len(os.sched_getaffinity(0))
