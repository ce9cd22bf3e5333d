"""Every setting that decides what a dataset holds; they are stored with it in dataset.json.

Settings of a run (workers, timeouts, memory), which may change without changing a byte of the
dataset, are in `pipeline.running.pool_settings`.
"""

from dataclasses import dataclass, field

from pipeline.clean.loop_settings import LoopSettings
from pipeline.clean.rules import Limits
from pipeline.clean.silence_settings import SilenceSettings
from pipeline.duplicates.settings import DuplicateSettings
from pipeline.duplicates.splits import SplitSettings
from pipeline.sources.folders import FOLLOW_LINKS
from shards.settings import Settings, setting
from shards.vocabulary import CodecSettings


@dataclass(frozen=True, kw_only=True)
class IngestSettings(Settings):
    """How input files are divided and read."""

    slice_files: int = setting(
        1024,
        "Input files per slice, at most: one task, one shard, the unit of resuming. 1,024 files "
        "give about 60 MB of arrays and take a few seconds. Corpora of fewer than 131,072 files "
        "get a 128th of their files per slice, but at least 256, so that all workers have work.",
        low=1,
    )
    max_file_size: int = setting(
        8_000_000,
        "Bytes; larger files are refused without reading them. The largest of 2,500 real songs "
        "has 0.9 MB.",
        low=1,
    )
    follow_links: str = setting(
        "none",
        "Links in source folders. none: links are rows of the ledger, because they may lead "
        "anywhere; inside: those to files within the sources are followed; anywhere: all are, to "
        "folders too. A source that is a link itself is always followed.",
        choices=tuple(FOLLOW_LINKS),
    )
    sustain: str = setting(
        "auto",
        "Sustain pedal. ignore: a note ends where its key is released, the duration that was "
        "written; extend: it sounds until the pedal is released; auto: extend where only "
        "keyboards play, of whose notes two thirds are otherwise too short by 2 to 4 times.",
        choices=("auto", "ignore", "extend"),
    )
    beat_repair: str = setting(
        "all",
        "What may be done to a beat that does not fit. exact: double or halve tempos that no song "
        "has, below 40 or above 300 beats per minute; all: also find the constant tempo of songs "
        "whose onsets follow no beat, or a tempo for each beat, where there are any, and shift "
        "songs that lie beside the grid as a whole; none: keep the file's beat. A song that "
        "fits its beat is never changed.",
        choices=("all", "exact", "none"),
    )
    infer_meter: bool = setting(
        True,
        "Put songs whose files state no meter into 3/4 where their onsets clearly repeat after "
        "three beats, not four. Without it they are in 4/4. Of 1,931 real songs in a stated 4/4 or "
        "2/4 0.6 % look like 3/4, most of them because they are; of 109 in 3/4 or 6/8, 94 % do.",
    )
    round_trip_check: float = setting(
        0.01,
        "Fraction of songs that are round-trip checked (decoded and compared) right after "
        "encoding. A sample is enough to notice a bug: of 2,405 real songs none failed.",
        low=0.0,
    )


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """All settings of a dataset, grouped by the stage that uses them."""

    ingest: IngestSettings = field(default_factory=IngestSettings)
    codec: CodecSettings = field(default_factory=CodecSettings)
    silence: SilenceSettings = field(default_factory=SilenceSettings)
    loops: LoopSettings = field(default_factory=LoopSettings)
    limits: Limits = field(default_factory=Limits)
    duplicates: DuplicateSettings = field(default_factory=DuplicateSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
