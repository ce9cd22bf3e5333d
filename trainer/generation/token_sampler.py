"""One song that is being sampled: what the model is fed, what may come next, what has come.

Conventions
    V tokens in the vocabulary, P = 128 programs
"""

from abc import ABC, abstractmethod

import numpy as np

from shards.codec import EncodedSong
from shards.vocabulary import PROGRAMS, Vocabulary
from trainer.data.conditions import ConditionCodes, condition_fields, parse_key
from trainer.generation.instruments import parse_instruments
from trainer.generation.logits import filtered_probs, sample
from trainer.generation.settings import SampleConfig
from trainer.generation.steering import KeyPull, MissingParts
from trainer.generation.writer import SongWriter


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
        probs = filtered_probs(logits + due, self.config, self.config.top_p)
        return int(sample(probs, self.random()))

    def allowed_instruments(self, token: int) -> np.ndarray:
        """Which programs may come with a pitch or a control, shape (P,), bool."""
        allowed = self.writer.allowed_instruments(token)
        return (
            allowed if self._due is None else allowed & self._due[0][token - self.vocabulary.pitch0]
        )

    def pitch_bias(self) -> np.ndarray | None:
        """What to add to the logits of the pitches, shape (128,); None: nothing."""
        return None if self._pull is None else self._pull.bias()

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled."""
        self.writer.append_sampled(token, instrument, velocity)
        for instrument, pitch, duration in self.writer.completed_notes():
            self._missing.push(instrument)
            if self._pull is not None and instrument < PROGRAMS:
                self._pull.push(pitch, duration)
