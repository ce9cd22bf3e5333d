"""Write songs with a trained model, one token at a time, several songs at once.

Each step samples one token per song; for a pitch or a control also the program; for a pitch or a
drum also the velocity, if the model predicts it. Tokens and instruments that are not allowed get
probability 0. If the instrument head does not depend on the next token, pitch and instrument are
sampled from the product of both distributions, restricted to pairs that are allowed: the
probability of a pitch is multiplied by the probability that a sampled instrument may play it.

Conventions
    B songs, one per lane; V tokens in the vocabulary, P = 128 programs
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from shards.codec import EncodedSong
from shards.vocabulary import PITCHES, PROGRAMS, Vocabulary
from trainer.data.conditions import ConditionCodes, condition_fields, parse_key
from trainer.generation.asked import asked_conditions, nearest_tempo, parse_meter
from trainer.generation.guided import GuidedModel
from trainer.generation.incremental import IncrementalModel
from trainer.generation.instruments import parse_instruments
from trainer.generation.int8 import for_sampling
from trainer.generation.logits import (
    keep_min_p,
    keep_top_k,
    keep_top_p,
    sample,
    softmax,
    with_temperature,
)
from trainer.generation.prompt import Prompt, first_bars
from trainer.generation.settings import SampleConfig
from trainer.generation.steering import KeyPull, MissingParts
from trainer.generation.writer import Constraints, SongWriter
from trainer.model.transformer import TransformerXL

BARS_TILL_ALL, SHARE_TILL_ALL = 4, 0.25
"""After so many bars, or so much of a song, every part that was asked for should play."""


class Sampler(ABC):
    """One lane: samples the tokens of one song until the song is done.

    Args:
        vocabulary: of the model.
        config: how to sample, and for how long.
        number: of the song; added to the seed.
        writer: of what is being sampled.
        codes: the conditions of the song.

    Attributes:
        done: whether nothing is left to sample.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        config: SampleConfig,
        number: int,
        writer: SongWriter,
        codes: ConditionCodes,
    ) -> None:
        self.config, self.vocabulary, self.writer, self.codes = config, vocabulary, writer, codes
        self.done = False
        self._pull = None if config.key is None else KeyPull(parse_key(config.key))
        names = [] if config.instruments is None else config.instruments.split(",")
        self._missing = MissingParts([parse_instruments(name, vocabulary) for name in names])
        self._due: tuple[np.ndarray, np.ndarray] | None = None  # pitches x programs, drums
        self._random = np.random.default_rng(config.seed + number)
        self._fed = 0

    @property
    def pending(self) -> int:
        """How many tokens the model has not been fed."""
        return len(self.writer.rows) - self._fed

    def take(self, count: int) -> np.ndarray:
        """The next inputs of the model, shape (8, count), int64; of a song that is done its last.

        In this order: those of `SongWriter.inputs`, then the conditions' fields and both halves of
        the band.
        """
        first, self._fed = self._fed, min(self._fed + count, len(self.writer.rows))
        inputs = self.writer.inputs(first, self._fed) if first < self._fed else self._last_input
        inputs = np.concatenate([inputs, np.repeat(inputs[:, -1:], count - inputs.shape[1], 1)], 1)
        self._last_input = inputs[:, -1:]
        given = np.empty((3, count), np.int64)
        given[0] = self.condition_fields(inputs[2])
        given[1:] = np.array(self.codes.band)[:, None]
        return np.concatenate([inputs, given])

    def condition_fields(self, bars: np.ndarray) -> np.ndarray | int:
        """The fields of the conditions in given bars."""
        return condition_fields(self.codes, bars)

    @abstractmethod
    def allowed_tokens(self) -> np.ndarray:
        """Which tokens may come next, shape (V,), bool."""

    @property
    @abstractmethod
    def progress(self) -> float:
        """How much is written, in bars or seconds."""

    @property
    @abstractmethod
    def is_time_for_all(self) -> bool:
        """Whether every part that was asked for should play by now."""

    @property
    @abstractmethod
    def finished_bars(self) -> int:
        """How many bars of the song, from its first, have all their notes."""

    @abstractmethod
    def song(self) -> EncodedSong | None:
        """The finished bars as a song of their own; None while they hold no note."""

    @abstractmethod
    def finish(self) -> EncodedSong:
        """The song, once it is done."""

    def sample_token(self, logits: np.ndarray, instrument_logits: np.ndarray | None) -> int:
        """Sample the next token.

        Args:
            logits: shape (V,).
            instrument_logits: shape (P,), where they do not depend on the next token.
        """
        allowed = self.allowed_tokens()
        logits = np.where(allowed, logits, -np.inf)
        pitches = slice(self.vocabulary.pitch0, self.vocabulary.drum0)
        if self._pull is not None:
            logits[pitches] += self._pull.bias()
        if instrument_logits is not None and allowed[pitches].any():
            logits[pitches] += self._log_prob_playable(allowed[pitches], instrument_logits)
        return self._sample(logits, self.config.top_p)

    def part_is_due(self, token: int) -> bool:
        """Whether, in place of a note that was sampled, one of a missing part is to be sampled."""
        self._due = None
        missing = self._missing.classes()
        if missing is None or not self.is_time_for_all or not self.writer.is_note(token):
            return False
        v, allowed = self.vocabulary, self.allowed_tokens()
        notes = self.writer.allowed_notes() & missing[:PROGRAMS] & allowed[v.pitch0 : v.drum0, None]
        drums = allowed[v.drum0 : v.duration0] & missing[PROGRAMS:]
        if notes.any() or drums.any():
            self._due = notes, drums
        return self._due is not None

    def sample_note_of_part(self, logits: np.ndarray, instrument_logits: np.ndarray) -> int:
        """Sample a note of a missing part: of those that may play, by what the model expects.

        Args:
            logits: shape (V,).
            instrument_logits: shape (128, P), after each pitch.
        """
        assert self._due is not None
        v, (notes, drums) = self.vocabulary, self._due
        log_probs = instrument_logits - np.logaddexp.reduce(instrument_logits, 1, keepdims=True)
        wanted = np.where(notes, log_probs, -np.inf)
        if self._pull is not None:
            wanted += self._pull.bias()[:, None]
        due = np.full_like(logits, -np.inf)
        due[v.pitch0 : v.drum0] = np.logaddexp.reduce(wanted, axis=1)
        due[v.drum0 : v.duration0] = np.where(drums, 0.0, -np.inf)
        return self._sample(logits + due, self.config.top_p)

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
        if self._due is not None:
            allowed = allowed & self._due[0][token - self.vocabulary.pitch0]
        return self._sample(np.where(allowed, logits, -np.inf), self.config.instrument_top_p)

    def sample_velocity(self, logits: np.ndarray) -> int:
        """Sample the velocity bin of a note, by logits of shape (bins,)."""
        return self._sample(logits, self.config.velocity_top_p)

    def _sample(self, logits: np.ndarray, top_p: float) -> int:
        return sample(_probs(logits, self.config, top_p), self._random.random())

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled."""
        self.writer.append_sampled(token, instrument, velocity)
        note = self.writer.completed_note()
        if note is not None:
            instrument, pitch, duration = note
            self._missing.push(instrument)
            if self._pull is not None and instrument < PROGRAMS:
                self._pull.push(pitch, duration)


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
            codes = asked_conditions(config, vocabulary, last_bar)
        constraints = _constraints(vocabulary, config, prompted=prompt is not None)
        if has_conditions and last_bar is not None:
            constraints = replace(constraints, ending_bar=last_bar - 1)
        writer = SongWriter(vocabulary, constraints)
        super().__init__(vocabulary, config, number, writer, codes)
        self._first_bar, self._first_second = first_bar, prompt.seconds if prompt else 0.0
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
        goal, unit = self.config.goal
        last = self._first_bar + int(goal) - 1
        return last if unit == "bar" and self.writer.last_note_bar < last else None

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled."""
        super().append(token, instrument, velocity)
        self.done = self.writer.ended or (self.is_long_enough() and self.writer.has_notes)

    @property
    def progress(self) -> float:
        """How much of the goal is written, in its unit."""
        goal, unit = self.config.goal
        bars, seconds = self._written()
        return goal if self.done else min(max(bars if unit == "bar" else seconds, 0), goal)

    @property
    def is_time_for_all(self) -> bool:
        """See `Sampler`."""
        is_late = self._written()[0] >= BARS_TILL_ALL
        return is_late or self.progress >= int(SHARE_TILL_ALL * self.config.goal[0])

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
        instruments=every
        if config.instruments is None
        else parse_instruments(config.instruments, vocabulary),
        max_programs=config.max_instruments or None,
        allow_changes=_may_change(config, prompted=prompted),
        allow_ending=config.ending,
        meter=None if config.meter is None else parse_meter(config.meter, vocabulary),
        tempo=nearest_tempo(config.tempo, vocabulary) if config.tempo else None,
        max_loop_bars=config.max_loop_bars or None,
    )


def _may_change(config: SampleConfig, *, prompted: bool) -> bool:
    if config.changes is not None:
        return config.changes
    return not prompted and config.meter is None and config.tempo is None


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
    samplers = song_samplers(model, vocabulary, config, prompt)
    for written in write_songs(samplers, model, config, block_size=block_size):
        progress(written)
    return [sampler.finish() for sampler in samplers]


def song_samplers(
    model: TransformerXL, vocabulary: Vocabulary, config: SampleConfig, prompt: Prompt | None
) -> list[SongSampler]:
    """The samplers of `generate`."""
    return [
        SongSampler(vocabulary, config, number, prompt, has_conditions=model.config.conditions)
        for number in range(config.count)
    ]


def write_songs(
    samplers: Sequence[Sampler], model: TransformerXL, config: SampleConfig, *, block_size: int
) -> Iterator[float]:
    """Let samplers sample until all are done.

    Between two steps the samplers' finished bars may be looked at; who iterates no further has
    stopped the writing.

    Args:
        samplers: new ones.
        model, config, block_size: as for `generate`.

    Yields:
        After each step of at most one token a song: how much of all songs is written.
    """
    model = for_sampling(model, config.weights)
    lanes, is_guided = len(samplers), model.config.conditions and config.guidance != 1
    incremental = (
        GuidedModel(model, block_size, lanes, config.guidance)
        if is_guided
        else IncrementalModel(model, block_size, lanes)
    )
    while active := [sampler for sampler in samplers if not sampler.done]:
        count = min(sampler.pending for sampler in active)
        incremental.feed(np.stack([sampler.take(count) for sampler in samplers], axis=1))
        sample_step(samplers, incremental)
        yield sum(sampler.progress for sampler in samplers)


def sample_step(samplers: Sequence[Sampler], model: IncrementalModel | GuidedModel) -> None:
    """Sample and append one token for every song that is neither done nor has tokens to feed."""
    token_logits, instrument_logits = model.token_logits(), model.instrument_logits()
    tokens = np.zeros(len(samplers), np.int64)
    instruments = np.zeros_like(tokens)
    velocities: list[int | None] = [None] * len(samplers)
    active = [n for n, each in enumerate(samplers) if not each.done and not each.pending]
    for n in active:
        known = None if instrument_logits is None else instrument_logits[n]
        tokens[n] = samplers[n].sample_token(token_logits[n], known)
        if samplers[n].part_is_due(int(tokens[n])):
            after_pitches = (
                model.instrument_logits_after_pitches(n, samplers[n].vocabulary.pitch0)
                if known is None
                else np.tile(known, (PITCHES, 1))
            )
            tokens[n] = samplers[n].sample_note_of_part(token_logits[n], after_pitches)
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
