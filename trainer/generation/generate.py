"""Write songs with a trained model, one token at a time, several songs at once.

Each step samples one token per song; for a pitch or a control also the program; for a pitch or a
drum also the velocity, if the model predicts it. Tokens and instruments that are not allowed get
probability 0. If the instrument head does not depend on the next token, pitch and instrument are
sampled from the product of both distributions, restricted to pairs that are allowed: the
probability of a pitch is multiplied by the probability that a sampled instrument may play it.

Conventions
    B songs, one per lane; V tokens in the vocabulary, P = 128 programs
"""

from collections.abc import Callable

import numpy as np

from shards.codec import EncodedSong
from shards.vocabulary import Vocabulary
from trainer.generation.incremental import IncrementalModel
from trainer.generation.instruments import parse_instruments
from trainer.generation.logits import (
    keep_min_p,
    keep_top_k,
    keep_top_p,
    sample,
    softmax,
    with_temperature,
)
from trainer.generation.prompt import Prompt
from trainer.generation.settings import SampleConfig
from trainer.generation.writer import Constraints, SongWriter
from trainer.model.transformer import TransformerXL


class SongSampler:
    """One lane: samples the tokens of one song until the song is done.

    Args:
        vocabulary: of the model.
        config: how to sample, and for how long.
        number: of the song; added to the seed.
        prompt: how the song begins.
    """

    def __init__(
        self, vocabulary: Vocabulary, config: SampleConfig, number: int, prompt: Prompt | None
    ) -> None:
        self.config, self.vocabulary = config, vocabulary
        constraints = _constraints(vocabulary, config, prompted=prompt is not None)
        self.writer = SongWriter(vocabulary, constraints)
        self.done = False
        self._random = np.random.default_rng(config.seed + number)
        if prompt is None:
            self._first_bar, self._first_second = 0, 0.0
            self.writer.start()
        else:
            self._first_bar, self._first_second = prompt.bars, prompt.seconds
            self.writer.start(prompt.song, not_before=prompt.end)
        self._first_row = len(self.writer.rows)

    def sample_token(self, logits: np.ndarray, instrument_logits: np.ndarray | None) -> int:
        """Sample the next token.

        Args:
            logits: shape (V,).
            instrument_logits: shape (P,), where they do not depend on the next token.
        """
        due = self.is_long_enough()
        allowed = self.writer.allowed_tokens(note_due=due, due_bar=self._due_bar())
        logits = np.where(allowed, logits, -np.inf)
        pitches = slice(self.vocabulary.pitch0, self.vocabulary.drum0)
        if instrument_logits is not None and allowed[pitches].any():
            logits[pitches] += self._log_prob_playable(allowed[pitches], instrument_logits)
        return self._sample(logits, self.config.top_p)

    def _due_bar(self) -> int | None:
        """A bar that must have a note: the first after a prompt, or the last one asked for."""
        if self._first_bar and not self.writer.has_notes:  # there is a prompt
            return self._first_bar
        goal, unit = self.config.goal
        last = self._first_bar + int(goal) - 1
        return last if unit == "bar" and self.writer.last_note_bar < last else None

    def _log_prob_playable(self, pitches: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Log probability that a sampled instrument may play each pitch, shape (128,).

        Args:
            pitches: shape (128,), bool; the allowed ones. Only instruments that may play at least
                one of them are sampled.
            logits: shape (P,), of the programs.
        """
        allowed = self.writer.allowed_notes() & pitches[:, None]
        logits = np.where(allowed.any(axis=0), logits, -np.inf)
        with np.errstate(divide="ignore"):
            probs = _probs(logits, self.config, self.config.instrument_top_p)
            return np.log(allowed @ probs)

    def sample_instrument(self, token: int, logits: np.ndarray) -> int:
        """Sample the program of a pitch or a control, by logits of shape (P,)."""
        allowed = self.writer.allowed_instruments(token)
        return self._sample(np.where(allowed, logits, -np.inf), self.config.instrument_top_p)

    def sample_velocity(self, logits: np.ndarray) -> int:
        """Sample the velocity bin of a note, by logits of shape (bins,)."""
        return self._sample(logits, self.config.velocity_top_p)

    def _sample(self, logits: np.ndarray, top_p: float) -> int:
        return sample(_probs(logits, self.config, top_p), self._random.random())

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled."""
        self.writer.append_sampled(token, instrument, velocity)
        self.done = self.writer.ended or (self.is_long_enough() and self.writer.has_notes)

    @property
    def progress(self) -> float:
        """How much of the goal is written, in its unit."""
        goal, unit = self.config.goal
        bars, seconds = self._written()
        return goal if self.done else min(max(bars if unit == "bar" else seconds, 0), goal)

    def _written(self) -> tuple[int, float]:
        """Bars and seconds from the end of the prompt to the next token."""
        return (
            self.writer.cursor.next_bar() - self._first_bar,
            self.writer.seconds - self._first_second,
        )

    def is_long_enough(self) -> bool:
        """Whether the song has reached its bars, its seconds or its limit of tokens."""
        config, (bars, seconds) = self.config, self._written()
        goal, unit = config.goal
        return (
            (unit == "bar" and bars >= goal)
            or (config.seconds is not None and seconds >= config.seconds)
            or len(self.writer.rows) - self._first_row >= config.tokens
        )


def _constraints(vocabulary: Vocabulary, config: SampleConfig, *, prompted: bool) -> Constraints:
    every = np.ones(vocabulary.instruments, bool)
    return Constraints(
        instruments=parse_instruments(config.instruments, vocabulary)
        if config.instruments
        else every,
        max_programs=config.max_instruments or None,
        allow_changes=not prompted if config.changes is None else config.changes,
        allow_ending=config.ending,
        max_loop_bars=config.max_loop_bars or None,
    )


def _probs(logits: np.ndarray, config: SampleConfig, top_p: float) -> np.ndarray:
    """Probabilities after temperature, top-k, top-p and min-p."""
    logits = with_temperature(logits, config.temperature)
    logits = keep_top_k(logits, config.top_k)
    logits = keep_top_p(logits, top_p)
    return softmax(keep_min_p(logits, config.min_p))


def generate(
    model: TransformerXL,
    vocabulary: Vocabulary,
    config: SampleConfig,
    *,
    block_size: int,
    prompt: Prompt | None = None,
    progress: Callable[[float], object] = lambda written: None,
) -> list[EncodedSong]:
    """Write songs.

    Args:
        model: in evaluation mode.
        vocabulary: of the model.
        config: how to sample, how long, how many songs.
        block_size: T of the training.
        prompt: how every song begins.
        progress: called after each step with how much of all songs is written, in the goal's unit.

    Returns:
        `config.count` songs, each beginning with the prompt and with at least one note after it.
    """
    samplers = [SongSampler(vocabulary, config, n, prompt) for n in range(config.count)]
    incremental = IncrementalModel(model, block_size, lanes=len(samplers))
    incremental.feed(np.stack([sampler.writer.inputs() for sampler in samplers], axis=1))
    while True:
        sample_step(samplers, incremental)
        progress(sum(sampler.progress for sampler in samplers))
        if all(sampler.done for sampler in samplers):
            return [sampler.writer.finish() for sampler in samplers]
        incremental.feed(np.stack([sampler.writer.inputs(-1) for sampler in samplers], axis=1))


def sample_step(samplers: list[SongSampler], model: IncrementalModel) -> None:
    """Sample and append one token for every song that is not done."""
    token_logits, instrument_logits = model.token_logits(), model.instrument_logits()
    tokens = np.zeros(len(samplers), np.int64)
    instruments = np.zeros_like(tokens)
    velocities: list[int | None] = [None] * len(samplers)
    active = [n for n, sampler in enumerate(samplers) if not sampler.done]
    for n in active:
        known = None if instrument_logits is None else instrument_logits[n]
        tokens[n] = samplers[n].sample_token(token_logits[n], known)
    with_program = [n for n in active if samplers[n].writer.has_instrument(int(tokens[n]))]
    if with_program and instrument_logits is None:
        instrument_logits = model.instrument_logits_given(tokens)
    for n in with_program:
        assert instrument_logits is not None
        instruments[n] = samplers[n].sample_instrument(int(tokens[n]), instrument_logits[n])
    notes = [n for n in active if samplers[n].vocabulary.is_note(tokens[n])]
    if notes:
        velocity_logits = model.velocity_logits(tokens, instruments)
        if velocity_logits is not None:
            for n in notes:
                velocities[n] = samplers[n].sample_velocity(velocity_logits[n])
    for n in active:
        samplers[n].append(int(tokens[n]), int(instruments[n]), velocities[n])
