"""Every setting that decides what a dataset holds; it travels with it in dataset.json.

How a run is carried out (workers, timeouts, memory) is in `pipeline.running.pool_settings`: it
may change from one run to the next without changing a byte.
"""

from dataclasses import dataclass, field

from pipeline.clean.rules import Limits
from pipeline.clean.silence import SilenceSettings
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings
from shards import settings
from shards.settings import setting
from shards.vocabulary import CodecSettings


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    """How files are taken in."""

    slice_files: int = setting(
        256,
        "Input files in a slice: one task, one shard, the unit of resuming. 256 is about 15 MB "
        "of arrays and a few seconds of work.",
        low=1,
    )
    max_file_size: int = setting(
        8_000_000,
        "Bytes; larger files are refused unread. The largest of 2,500 real songs has 0.9 MB.",
        low=1,
    )
    sustain: str = setting(
        "ignore",
        "Sustain pedal: ignore keeps notes as they were struck, extend lets them ring until "
        "the pedal is up.",
        choices=("ignore", "extend"),
    )
    round_trip_check: float = setting(
        0.01,
        "Share of songs that are decoded again at once and held against what was encoded.",
        low=0.0,
    )

    def __post_init__(self) -> None:
        """Refuse values outside their bounds."""
        settings.check(self)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """All settings of a dataset, by the stage that reads them."""

    ingest: IngestSettings = field(default_factory=IngestSettings)
    codec: CodecSettings = field(default_factory=CodecSettings)
    silence: SilenceSettings = field(default_factory=SilenceSettings)
    limits: Limits = field(default_factory=Limits)
    duplicates: DuplicateSettings = field(default_factory=DuplicateSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
