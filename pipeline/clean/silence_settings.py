"""How much silence a song may keep; apart from silence.py, which loads the compiler."""

from dataclasses import dataclass

from shards.settings import Settings, setting


@dataclass(frozen=True, kw_only=True)
class SilenceSettings(Settings):
    """How much silence a song may keep."""

    max_silence: int = setting(
        2,
        "Whole bars of silence that may stay inside a song; longer ones are shortened to this. Two "
        "bars is a general pause that composers write; longer ones are faults of the file.",
        low=0,
    )
    max_silence_seconds: float = setting(
        4.0,
        "Seconds of whole silent bars that may stay as well, where bars are short: in a fast 2/4, "
        "four bars of rest are music. The longer of the two counts.",
        low=0,
    )
    max_leading_silence: int = setting(
        0, "Whole bars of silence that may stay before the first note; none is music.", low=0
    )
    max_strays: int = setting(
        8,
        "Notes at either end of a song that are dropped if a silence that is too long separates "
        "them from the rest. Of 89 such silences in 2,500 songs, 6 have up to 7 notes after them, "
        "5 have up to 7 before; the next numbers, 11 and 25, are endings and introductions.",
        low=0,
    )
