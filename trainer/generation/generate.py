"""Write songs with a trained model, one token at a time, several songs side by side.

What is drawn for a song in one step: a token; if that is a pitch, who plays it; and how loud, if
the model says so. Instruments that may not play now are ruled out, and where the instrument head
does not look at the token, both are drawn from the product of their distributions, given that
the instrument may play the pitch: a pitch is as likely as its head says, times the share of the
instruments that could play it here.

Conventions
    B songs, each in a lane; V tokens in the vocabulary, I instrument classes, P = 128 pitches
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards import settings
from shards.codec import EncodedSong
from shards.errors import SettingError
from shards.settings import setting
from shards.vocabulary import Vocabulary
from trainer.generation.incremental import Stream
from trainer.generation.instruments import parse_band
from trainer.generation.logits import (
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    to_chances,
    with_temperature,
)
from trainer.generation.prompt import Prompt
from trainer.generation.writer import PITCHES, Rules, Writer
from trainer.model.transformer import TransformerXL

USUAL_BARS = 32


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """How the next token is drawn, how long the song may be, and who plays."""

    bars: int | None = setting(
        None, f"Bars to write, after those of the prompt.  [{USUAL_BARS}, without --seconds]", low=1
    )
    seconds: float | None = setting(None, "Seconds to write, after those of the prompt.", low=0)
    tokens: int = setting(16_384, "Tokens to write at most, bars or not.", low=8)
    count: int = setting(1, "Songs to write side by side; song n is that of seed + n.", low=1)
    temperature: float = setting(
        1.0, "Below 1 keeps to the likely, above 1 strays; 0 always takes the likeliest.", low=0
    )
    top_k: int = setting(0, "Draw from this many of the likeliest; 0 draws from all.", low=0)
    top_p: float = setting(
        0.95,
        "Draw from the likeliest that together have this probability; 1 draws from all.",
        low=0,
    )
    min_p: float = setting(
        0.0, "Draw from those at least this share as likely as the likeliest; 0 from all.", low=0
    )
    instruments: str | None = setting(
        None, "Who may play: names, families or numbers, such as piano,bass,drums.  [all]"
    )
    max_instruments: int = setting(
        12,
        "Programs in one song at most, drums not counted; then no other may enter. Of 100 real "
        "songs 94 have no more. 0: any number.",
        low=0,
    )
    max_loop_bars: int = setting(
        16,
        "Bars for which the music may repeat itself exactly before it must go on; of 60 real "
        "songs 53 never do for longer. 0: for ever.",
        low=0,
    )
    changes: bool | None = setting(
        None, "Let meter and tempo change.  [yes; after a prompt no: it sets them]"
    )
    ending: bool = setting(False, "Let a song end by itself before it has all its bars.")
    seed: int = setting(0, "Another seed, another song.", low=0)

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        settings.check(self)
        limits = {"top_p": 1, "min_p": 1, "temperature": 100, "bars": 10_000, "count": 1024}
        for name, most in limits.items():
            value = getattr(self, name)
            if value is not None and not value <= most:
                raise SettingError(f"{name} is {value}; expected at most {most}")

    @property
    def goal(self) -> tuple[float, str]:
        """How long a song is to be, and in what: bars or seconds, whichever was asked for."""
        if self.bars is None and self.seconds is not None:
            return self.seconds, "s"
        return self.bars or USUAL_BARS, "bar"


class Lane:
    """One song in the making: how it begins, what is drawn next, when it is over."""

    def __init__(
        self, vocabulary: Vocabulary, config: SampleConfig, number: int, prompt: Prompt | None
    ) -> None:
        self.config, self.vocabulary = config, vocabulary
        self.writer = Writer(vocabulary, _rules(vocabulary, config, prompted=prompt is not None))
        self.over = False
        self._random = np.random.default_rng(config.seed + number)
        if prompt is None:
            self._first_bar, self._first_second = 0, 0.0
            self.writer.start()
        else:
            self._first_bar, self._first_second = prompt.bars, prompt.seconds
            self.writer.start(prompt.song, not_before=prompt.end)
        self._opened = len(self.writer.rows)

    def draw_token(self, scores: np.ndarray, instrument_scores: np.ndarray | None) -> int:
        """Draw the next token.

        Args:
            scores: shape (V,), before the softmax.
            instrument_scores: shape (I,), likewise, where they are those of every token.
        """
        allowed = self.writer.tokens(note_due=self._is_long_enough())
        scores = np.where(allowed, scores, -np.inf)
        pitches = slice(self.vocabulary.pitch0, self.vocabulary.pitch0 + PITCHES)
        if instrument_scores is not None and allowed[pitches].any():
            scores[pitches] += self._log_share(allowed[pitches], instrument_scores)
        return draw(_filtered(scores, self.config), self._random.random())

    def _log_share(self, pitches: np.ndarray, instrument_scores: np.ndarray) -> np.ndarray:
        """Of the instruments that may play any of the pitches, the share that may play each."""
        able = self.writer.players() & pitches[:, None]
        band = np.where(able.any(axis=0), instrument_scores, -np.inf)
        with np.errstate(divide="ignore"):
            return np.log(able @ _filtered(band, self.config))

    def draw_player(self, token: int, scores: np.ndarray) -> int:
        """Draw who plays a pitch, or is bent, by scores of shape (I,)."""
        able = self.writer.players_of(token)
        chances = _filtered(np.where(able, scores, -np.inf), self.config)
        return draw(chances, self._random.random())

    def draw_velocity(self, scores: np.ndarray) -> int:
        """Draw how loud a note is, by scores of shape (bins,)."""
        return draw(_filtered(scores, self.config), self._random.random())

    def add(self, token: int, player: int, velocity: int | None) -> None:
        """Write what has been drawn."""
        self.writer.add_next(token, player, velocity)
        done = self._is_long_enough() and self.writer.has_notes
        self.over = done or self.writer.ended

    @property
    def progress(self) -> float:
        """What has been written of the goal, in its unit."""
        goal, unit = self.config.goal
        written = self._bars if unit == "bar" else self._seconds
        return goal if self.over else min(max(written, 0), goal)

    @property
    def _bars(self) -> int:
        return self.writer.cursor.bar - self._first_bar

    @property
    def _seconds(self) -> float:
        return self.writer.seconds - self._first_second

    def _is_long_enough(self) -> bool:
        config = self.config
        bars = USUAL_BARS if config.bars is None and config.seconds is None else config.bars
        return (
            (bars is not None and self._bars >= bars)
            or (config.seconds is not None and self._seconds >= config.seconds)
            or len(self.writer.rows) - self._opened >= config.tokens
        )


def _rules(vocabulary: Vocabulary, config: SampleConfig, *, prompted: bool) -> Rules:
    everybody = np.ones(vocabulary.instruments, bool)
    return Rules(
        band=parse_band(config.instruments, vocabulary) if config.instruments else everybody,
        most_programs=config.max_instruments or None,
        may_change=not prompted if config.changes is None else config.changes,
        may_end=config.ending,
        max_loop_bars=config.max_loop_bars or None,
    )


def _filtered(scores: np.ndarray, config: SampleConfig) -> np.ndarray:
    """Probabilities after temperature and all that keeps to the likely."""
    scores = with_temperature(scores, config.temperature)
    scores = keep_top_k(scores, config.top_k)
    scores = keep_top_p(scores, config.top_p)
    return to_chances(keep_min_p(scores, config.min_p))


def generate(
    model: TransformerXL,
    vocabulary: Vocabulary,
    config: SampleConfig,
    *,
    block_size: int,
    prompt: Prompt | None = None,
    progress: Callable[[float], None] = lambda written: None,
) -> list[EncodedSong]:
    """Write songs.

    Args:
        model: in evaluation mode.
        vocabulary: of the model.
        config: how to draw, how long, how many.
        block_size: T of the training.
        prompt: what all of them begin with.
        progress: told after each token how much is written of all songs, in the goal's unit.

    Returns:
        `config.count` songs, the prompt's part included, each with at least one note.
    """
    lanes = [Lane(vocabulary, config, number, prompt) for number in range(config.count)]
    stream = Stream(model, block_size, lanes=len(lanes))
    stream.feed(np.stack([lane.writer.inputs() for lane in lanes], axis=1))
    while True:
        add_next(lanes, stream)
        progress(sum(lane.progress for lane in lanes))
        if all(lane.over for lane in lanes):
            return [lane.writer.finish() for lane in lanes]
        stream.feed(np.stack([lane.writer.inputs(-1) for lane in lanes], axis=1))


def add_next(lanes: list[Lane], stream: Stream) -> None:
    """Draw and write a token for every song that is not over."""
    scores, instruments = stream.tokens(), stream.instruments()
    tokens = np.zeros(len(lanes), np.int64)
    players, velocities = np.zeros_like(tokens), [None] * len(lanes)
    going_on = [n for n, lane in enumerate(lanes) if not lane.over]
    for n in going_on:
        tokens[n] = lanes[n].draw_token(scores[n], None if instruments is None else instruments[n])
    notes = [n for n in going_on if lanes[n].writer.has_instrument(tokens[n])]
    if notes:
        of_notes = stream.instruments(tokens) if instruments is None else instruments
        for n in notes:
            players[n] = lanes[n].draw_player(int(tokens[n]), of_notes[n])
        loudness = stream.velocities(tokens, players)
        if loudness is not None:
            for n in notes:
                velocities[n] = lanes[n].draw_velocity(loudness[n])
    for n in going_on:
        lanes[n].add(int(tokens[n]), int(players[n]), velocities[n])
