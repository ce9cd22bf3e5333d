"""Settings of `trainer judge`; they load without torch, so that its --help is quick."""

from dataclasses import dataclass

from shards.errors import SettingError
from shards.settings import setting
from trainer.generation.settings import SampleConfig


@dataclass(frozen=True, kw_only=True)
class JudgeConfig(SampleConfig):
    """How samples are generated, how many, and how long they are."""

    bars: int = setting(
        16, "Bars of each sample; held-out songs are cut to as many.", low=1, high=10_000
    )
    count: int = setting(
        32, "Samples to generate; sample n is the one of seed + n.", low=1, high=1024
    )

    def __post_init__(self) -> None:
        """Refuse a length in seconds, to which held-out songs cannot be cut."""
        super().__post_init__()
        if self.seconds is not None:
            raise SettingError("samples are compared by bars: give --bars, not --seconds")
