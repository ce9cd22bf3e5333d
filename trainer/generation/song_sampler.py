"""Sample whole songs, or what follows a prompt: how long, with what conditions, within what."""

from dataclasses import replace

import numpy as np

from shards.codec import EncodedSong
from shards.vocabulary import Vocabulary
from trainer.data.conditions import ConditionCodes
from trainer.generation.asked import asked_conditions, nearest_tempo, parse_meter
from trainer.generation.instruments import choose_instruments
from trainer.generation.prompt import Prompt, first_bars
from trainer.generation.settings import SampleConfig
from trainer.generation.token_sampler import Sampler
from trainer.generation.writer import Constraints, SongWriter

BARS_TILL_ALL, SHARE_TILL_ALL = 4, 0.25
"""After so many bars, or so much of a song, every part that was asked for should play."""


class SongSampler(Sampler):
    """Samples a whole song, or what follows a prompt.

    Args:
        vocabulary: of the model.
        config: how to sample, and for how long.
        number: of the song; added to the seed.
        prompt: how the song begins.
        has_conditions: whether the model was trained with conditions.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: SampleConfig,
        number: int,
        prompt: Prompt | None,
        *,
        has_conditions: bool = False,
    ) -> None:
        first_bar = prompt.bars if prompt else 0
        goal, unit = config.goal
        last_bar = first_bar + int(goal) - 1 if unit == "bar" and config.ending else None
        codes = ConditionCodes()
        if has_conditions:
            codes = asked_conditions(config, vocabulary, last_bar, prompt and prompt.song)
        constraints = _constraints(vocabulary, config, prompt)
        if has_conditions and last_bar is not None:
            constraints = replace(constraints, ending_bar=last_bar - 1)
        writer = SongWriter(vocabulary, constraints)
        super().__init__(vocabulary, config, number, writer, codes)
        self._first_bar, self._first_second = first_bar, prompt.seconds if prompt else 0.0
        self._goal = goal, unit
        if prompt is None:
            self.writer.start()
        else:
            self.writer.start(prompt.song, not_before=prompt.end)
        self._first_row = len(self.writer.rows)

    def allowed_tokens(self) -> np.ndarray:
        """See `Sampler`."""
        return self.writer.allowed_tokens(note_due=self.is_long_enough(), due_bar=self._due_bar())

    def _due_bar(self) -> int | None:
        """A bar that must have a note: the first after a prompt, or the last one asked for."""
        if self._first_bar and not self.writer.has_notes:  # there is a prompt
            return self._first_bar
        goal, unit = self._goal
        last = self._first_bar + int(goal) - 1
        return last if unit == "bar" and self.writer.last_note_bar < last else None

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled."""
        super().append(token, instrument, velocity)
        self.done = self.writer.ended or (self.is_long_enough() and self.writer.has_notes)

    @property
    def progress(self) -> float:
        """How much of the goal is written, in its unit."""
        goal, unit = self._goal
        written = self._bars() if unit == "bar" else self._seconds()
        return goal if self.done else min(max(written, 0), goal)

    @property
    def is_time_for_all(self) -> bool:
        """See `Sampler`."""
        is_late = self._bars() >= BARS_TILL_ALL
        return is_late or self.progress >= int(SHARE_TILL_ALL * self._goal[0])

    @property
    def finished_bars(self) -> int:
        """See `Sampler`."""
        return self.writer.last_note_bar + 1 if self.done else self.writer.cursor.next_bar()

    def song(self) -> EncodedSong | None:
        """See `Sampler`."""
        whole = self.writer.finish() if self.writer.last_note_bar >= 0 else None
        return whole and first_bars(whole, self.finished_bars, self.vocabulary)

    def finish(self) -> EncodedSong:
        """See `Sampler`."""
        return self.writer.finish()

    def _bars(self) -> int:
        """Bars from the end of the prompt to the next token."""
        return self.writer.cursor.next_bar() - self._first_bar

    def _seconds(self) -> float:
        """The same in seconds."""
        return self.writer.seconds - self._first_second

    def is_long_enough(self) -> bool:
        """Whether the song has reached its bars, its seconds or its limit of tokens."""
        config, (goal, unit) = self.config, self._goal
        return (
            (unit == "bar" and self._bars() >= goal)
            or (config.seconds is not None and self._seconds() >= config.seconds)
            or len(self.writer.rows) - self._first_row >= config.tokens
        )


def _constraints(
    vocabulary: Vocabulary, config: SampleConfig, prompt: Prompt | None
) -> Constraints:
    every = np.ones(vocabulary.instruments, bool)
    is_free = prompt is None and config.meter is None and config.tempo is None
    return Constraints(
        instruments=every
        if config.instruments is None
        else choose_instruments(config.instruments, vocabulary, prompt and prompt.song),
        max_programs=config.max_instruments or None,
        allow_changes=is_free if config.changes is None else config.changes,
        allow_ending=config.ending,
        meter=None if config.meter is None else parse_meter(config.meter, vocabulary),
        tempo=nearest_tempo(config.tempo, vocabulary) if config.tempo else None,
        max_loop_bars=config.max_loop_bars or None,
    )
