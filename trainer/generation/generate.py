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
from trainer.generation.instruments import choose_instruments, parse_instruments
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

MIN_OVERLAPPED = 16
"""Songs from which on sampling takes a GPU's host longer than starting a second group."""

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
        self._last_input = np.zeros((8, 1), np.int64)
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
        inputs = self._last_input
        if first < self._fed:
            given = np.empty((3, self._fed - first), np.int64)
            given[0] = self.condition_fields(first, self._fed)
            given[1:] = np.array([self.band(row) for row in range(first, self._fed)]).T
            inputs = np.concatenate([self.writer.inputs(first, self._fed), given])
            self._last_input = inputs[:, -1:]
        return np.concatenate([inputs, np.repeat(inputs[:, -1:], count - inputs.shape[1], 1)], 1)

    def take_one(self) -> list[int]:
        """The next input alone, as `take` says."""
        if not self.pending:
            return self._last_input[:, 0].tolist()
        number, self._fed = self._fed, self._fed + 1
        given = self.condition_fields(number, self._fed)
        fields = given if isinstance(given, int) else int(given[0])
        inputs = [*self.writer.input(number), fields, *self.band(number)]
        if not self.pending:
            self._last_input = np.array(inputs, np.int64)[:, None]
        return inputs

    def condition_fields(self, first: int, stop: int) -> np.ndarray | int:
        """The fields of the conditions at rows [first, stop)."""
        if self.codes.last_bar is None:
            return self.codes.fields
        bars = [row[3] for row in self.writer.rows[first:stop]]
        return condition_fields(self.codes, np.array(bars, np.int64))

    def band(self, row: int) -> tuple[int, int]:
        """The band of the conditions at a row."""
        return self.codes.band

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

    def merge_logits(self, logits: np.ndarray) -> np.ndarray:
        """The logits, shape (V,), where one allowed token may stand for others; here none does."""
        return logits

    def random(self) -> float:
        """The next uniform number of the song, in [0, 1)."""
        return self._random.random()

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

    def allowed_instruments(self, token: int) -> np.ndarray:
        """Which programs may come with a pitch or a control, shape (P,), bool."""
        allowed = self.writer.allowed_instruments(token)
        return (
            allowed if self._due is None else allowed & self._due[0][token - self.vocabulary.pitch0]
        )

    def pitch_bias(self) -> np.ndarray | None:
        """What to add to the logits of the pitches, shape (128,); None: nothing."""
        return None if self._pull is None else self._pull.bias()

    def _sample(self, logits: np.ndarray, top_p: float) -> int:
        return int(_sampled([self], logits[None], top_p)[0])

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
    return Constraints(
        instruments=every
        if config.instruments is None
        else choose_instruments(config.instruments, vocabulary, prompt and prompt.song),
        max_programs=config.max_instruments or None,
        allow_changes=_may_change(config, prompted=prompt is not None),
        allow_ending=config.ending,
        meter=None if config.meter is None else parse_meter(config.meter, vocabulary),
        tempo=nearest_tempo(config.tempo, vocabulary) if config.tempo else None,
        max_loop_bars=config.max_loop_bars or None,
    )


def _may_change(config: SampleConfig, *, prompted: bool) -> bool:
    if config.changes is not None:
        return config.changes
    return not prompted and config.meter is None and config.tempo is None


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
    is_guided = model.config.conditions and config.guidance != 1
    groups = []
    for part in np.array_split(np.arange(len(samplers)), _groups(model, len(samplers))):
        lanes = len(part)
        incremental = (
            GuidedModel(model, block_size, lanes, config.guidance)
            if is_guided
            else IncrementalModel(model, block_size, lanes)
        )
        groups.append(([samplers[n] for n in part], incremental))
    for group in groups:
        _feed(*group)
    while open_ := [group for group in groups if not all(each.done for each in group[0])]:
        for group in open_:
            sample_step(*group)
            _feed(*group)
        yield sum(sampler.progress for sampler in samplers)


def _groups(model: TransformerXL, songs: int) -> int:
    """In how many groups songs are written: the GPU computes for one while the other is sampled."""
    return 2 if model.norm.weight.is_cuda and songs >= MIN_OVERLAPPED else 1


def _feed(samplers: Sequence[Sampler], model: IncrementalModel | GuidedModel) -> None:
    """Feed what all songs that are not done can be fed, if there is one."""
    if active := [sampler for sampler in samplers if not sampler.done]:
        model.feed(next_inputs(samplers, min(sampler.pending for sampler in active)))


def next_inputs(samplers: Sequence[Sampler], count: int) -> np.ndarray:
    """The next inputs of all songs, shape (8, songs, count), int64."""
    if count == 1:
        return np.array([each.take_one() for each in samplers], np.int64).T[:, :, None]
    return np.stack([each.take(count) for each in samplers], axis=1)


def sample_step(samplers: Sequence[Sampler], model: IncrementalModel | GuidedModel) -> None:
    """Sample and append one token for every song that is neither done nor has tokens to feed."""
    active = [n for n, each in enumerate(samplers) if not each.done and not each.pending]
    chosen = [samplers[n] for n in active]
    tokens, instruments, velocities = np.zeros((3, len(samplers)), np.int64)
    logits, known = model.token_logits(), model.instrument_logits()
    of_active = None if known is None else known[active]
    tokens[active] = sample_tokens(chosen, logits[active], of_active)
    for n in active:
        if samplers[n].part_is_due(int(tokens[n])):
            after_pitches = (
                model.instrument_logits_after_pitches(n, samplers[n].vocabulary.pitch0)
                if known is None
                else np.tile(known[n], (PITCHES, 1))
            )
            tokens[n] = samplers[n].sample_note_of_part(logits[n], after_pitches)
    wanting = [n for n in active if samplers[n].writer.has_instrument(int(tokens[n]))]
    if wanting:
        known = model.instrument_logits_given(tokens) if known is None else known
        with_program = [samplers[n] for n in wanting]
        instruments[wanting] = sample_instruments(with_program, tokens[wanting], known[wanting])
    notes = [n for n in active if samplers[n].writer.is_note(int(tokens[n]))]
    heard = model.velocity_logits(tokens, instruments) if notes else None
    if heard is not None:
        players = [samplers[n] for n in notes]
        velocities[notes] = _sampled(players, heard[notes], players[0].config.velocity_top_p)
    for n, token, instrument, velocity in zip(
        active, *(each[active].tolist() for each in (tokens, instruments, velocities)), strict=True
    ):
        samplers[n].append(token, instrument, None if heard is None else velocity)


def sample_tokens(
    samplers: Sequence[Sampler], logits: np.ndarray, instrument_logits: np.ndarray | None
) -> np.ndarray:
    """Sample the next token of each song.

    Args:
        samplers: of one configuration.
        logits: shape (songs, V).
        instrument_logits: shape (songs, P), where they do not depend on the next token.

    Returns:
        shape (songs,).
    """
    pairs = zip(samplers, logits, strict=True)
    allowed = np.stack([each.allowed_tokens() for each in samplers])
    logits = np.where(allowed, [each.merge_logits(row) for each, row in pairs], -np.inf)
    v = samplers[0].vocabulary
    pitches = slice(v.pitch0, v.drum0)
    for n, each in enumerate(samplers):
        if (bias := each.pitch_bias()) is not None:
            logits[n, pitches] += bias
    if instrument_logits is not None:
        for n in np.flatnonzero(allowed[:, pitches].any(axis=1)).tolist():
            playable = samplers[n].writer.allowed_notes() & allowed[n, pitches, None]
            logits[n, pitches] += _log_prob_playable(
                playable, instrument_logits[n], samplers[n].config
            )
    return _sampled(samplers, logits, samplers[0].config.top_p)


def _log_prob_playable(allowed: np.ndarray, logits: np.ndarray, config: SampleConfig) -> np.ndarray:
    """Log probability that a sampled instrument may play each pitch, shape (128,).

    Args:
        allowed: shape (128, P), bool; which program may play which pitch. Only instruments that may
            play at least one are sampled.
        logits: shape (P,), of the programs.
        config: how to sample.
    """
    logits = np.where(allowed.any(axis=0), logits, -np.inf)
    with np.errstate(divide="ignore"):
        return np.log(allowed @ _probs(logits, config, config.instrument_top_p))


def sample_instruments(
    samplers: Sequence[Sampler], tokens: np.ndarray, logits: np.ndarray
) -> np.ndarray:
    """Sample the program of each song's pitch or control.

    Args:
        samplers: of one configuration.
        tokens: shape (songs,).
        logits: shape (songs, P).

    Returns:
        shape (songs,).
    """
    pairs = zip(samplers, tokens.tolist(), strict=True)
    allowed = np.stack([each.allowed_instruments(token) for each, token in pairs])
    logits = np.where(allowed, logits, -np.inf)
    return _sampled(samplers, logits, samplers[0].config.instrument_top_p)


def _sampled(samplers: Sequence[Sampler], logits: np.ndarray, top_p: float) -> np.ndarray:
    """Sample a class for each song, with its own random number; (songs, classes) -> (songs,)."""
    probs = _probs(logits, samplers[0].config, top_p)
    return sample(probs, np.array([each.random() for each in samplers]))


def _probs(logits: np.ndarray, config: SampleConfig, top_p: float) -> np.ndarray:
    """Probabilities after temperature, top-k, top-p and min-p."""
    logits = with_temperature(logits, config.temperature)
    logits = keep_top_k(logits, config.top_k)
    logits = keep_top_p(logits, top_p)
    return softmax(keep_min_p(logits, config.min_p))
