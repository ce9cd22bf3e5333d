"""Settings of `trainer generate`; they load without torch, so that its --help is quick."""

from dataclasses import dataclass

from shards.settings import Settings, setting

DEFAULT_BARS = 32
WEIGHTS = ("auto", "float32", "bfloat16", "int8")


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Settings):
    """How tokens are sampled, how long a song may be, and which instruments may play."""

    bars: int | None = setting(
        None, f"Bars after the prompt.  [{DEFAULT_BARS}, without --seconds]", low=1, high=10_000
    )
    seconds: float | None = setting(None, "Seconds after the prompt.", low=0, high=36_000)
    tokens: int = setting(
        16_384, "Stop a song after this many tokens, even before its last bar or second.", low=8
    )
    count: int = setting(1, "Songs to write; song n has the seed --seed + n.", low=1, high=1024)
    temperature: float = setting(
        1.0, "Below 1 favours likely tokens; 0 takes only the likeliest.", low=0, high=100
    )
    top_k: int = setting(0, "Sample from this many of the likeliest tokens; 0: from all.", low=0)
    top_p: float = setting(
        1.0,
        "Sample from the likeliest tokens of this total probability; 1: all. Less makes loops: in "
        "8 songs of the small model 67 % of bars repeat an earlier one at 0.95, 2 % at 1 (median).",
        low=0,
        high=1,
    )
    instrument_top_p: float = setting(
        0.8,
        "The same for the instrument of a note: at 1 instruments come for a few notes and go.",
        low=0,
        high=1,
    )
    velocity_top_p: float = setting(0.95, "The same for the velocity of a note.", low=0, high=1)
    min_p: float = setting(
        0.0, "Keep tokens at least this fraction as likely as the likeliest; 0: all.", low=0, high=1
    )
    instruments: str | None = setting(
        None,
        "Instruments that play, and no others: names, families or numbers, as in piano,bass,drums. "
        "All are in after a quarter of the song, 4 bars at most.  [free]",
    )
    tempo: float | None = setting(
        None, "Tempo, in quarter notes per minute; it does not change.  [free]", low=15, high=480
    )
    meter: str | None = setting(None, "Meter, as 3/4; it does not change.  [free]")
    key: str | None = setting(
        None,
        "Key, as C, F#m or 'D minor'; pitches that it lacks are favoured while the song is not "
        "clearly in it.  [free]",
    )
    notes_per_bar: float | None = setting(
        None, "How dense the music is, drums included.  [free]", low=0.1, high=1000
    )
    guidance: float = setting(
        1.0,
        "How strongly key, density, length and band are asked for: above 1 the model moves further "
        "from what it would write without, and takes twice as long.",
        low=0,
        high=10,
    )
    max_instruments: int = setting(
        12,
        "Most programs in one song, drums not counted; 94 of 100 real songs have no more. "
        "0: no limit.",
        low=0,
    )
    max_loop_bars: int = setting(
        16,
        "Bars for which the music may repeat itself exactly; 53 of 60 real songs never do for "
        "longer. 0: no limit.",
        low=0,
    )
    weights: str = setting(
        "auto",
        "Type of the weights while sampling: float32, bfloat16, int8, or auto: int8 on CPUs that "
        "multiply it fast, where it is over twice as fast and the loss of real songs changes by "
        "0.001; bfloat16 on GPUs, as they train.",
        choices=WEIGHTS,
    )
    changes: bool | None = setting(
        None, "Allow changes of meter and tempo.  [yes; after a prompt no, to keep the prompt's]"
    )
    ending: bool = setting(
        False,
        "Let the song come to its end in the last bar but one or the last. The model is told how "
        "many bars are left; one that was trained without conditions may end in any bar.",
    )
    seed: int = setting(0, "Seed of the random numbers; the same seed gives the same song.", low=0)

    @property
    def goal(self) -> tuple[float, str]:
        """The length asked for and its unit: seconds, or bars."""
        if self.bars is None and self.seconds is not None:
            return self.seconds, "s"
        return self.bars or DEFAULT_BARS, "bar"
