"""What a page asks for: how much to write, from what, and how; every number has a bound."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from shards import settings
from shards.errors import SettingError
from shards.plain_file import parse_json
from shards.settings import Settings, setting
from trainer.generation.settings import SampleConfig

MAX_DEPTH = 4
MAX_BARS, MAX_TAKES, MAX_TOKENS = 256, 4, 16_384
STEERING = (
    "bars", "count", "instruments", "tempo", "meter", "key", "notes_per_bar", "ending",
    "guidance", "temperature", "seed",
)  # fmt: skip
"""Settings of `trainer generate` that a page may choose; the others keep their defaults."""


@dataclass(frozen=True, kw_only=True)
class Order(Settings):
    """What to write."""

    page: str = setting("", "Which page asks; another order of the same page ends this one.")
    take: str | None = setting(None, "The take to go on from, or to rewrite.")
    keep_bars: int | None = setting(None, "Go on after so many bars of it.  [all]", low=1)
    infill: str | None = setting(None, "Rewrite these of its bars, as 9-16.")
    accompany: str | None = setting(None, "Write these parts anew, to the others: bass,drums.")
    parts: str | None = setting(None, "With infill, only these parts.  [all]")
    config: SampleConfig = dataclasses.field(default_factory=SampleConfig)

    def __post_init__(self) -> None:
        """Check what depends on more than one value."""
        super().__post_init__()
        if (self.infill or self.accompany or self.keep_bars) and not self.take:
            raise SettingError("infill, accompany and keep_bars need a take")
        if (self.config.bars or 0) > MAX_BARS or self.config.count > MAX_TAKES:
            raise SettingError(f"expected at most {MAX_BARS} bars and {MAX_TAKES} takes")


def parse_order(body: bytes) -> Order:
    """Read an order from a request.

    Raises:
        SettingError: it is no JSON object, has an unknown name, or a value that is not allowed.
    """
    try:
        values: Any = parse_json(body.decode(), MAX_DEPTH)
    except ValueError as error:
        raise SettingError(f"the request is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise SettingError("the request is not a JSON object")
    if "config" in values:
        raise SettingError("the request: unknown setting 'config'")
    chosen = {name: values.pop(name) for name in STEERING if values.get(name) is not None}
    values["config"] = {"bars": 16, **chosen, "tokens": MAX_TOKENS}
    return settings.from_json(Order, values, where="the request")
