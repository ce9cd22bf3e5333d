"""How much of a loop a song may keep; apart from loops.py, which loads the compiler."""

from dataclasses import dataclass

from shards.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class LoopSettings(Settings):
    """How much of a loop a song may keep."""

    max_turns: int = setting(
        2,
        "Turns of a loop that stay, of a song that is mostly one loop; 0 keeps all. Two show that "
        "it repeats; what leads into it and what ends it stays.",
        low=0,
    )
    min_turn_bars: int = setting(
        8,
        "Bars of a turn, at least: a shorter loop counts as one of so many bars. A groove of one "
        "bar then keeps 16.",
        low=1,
    )
