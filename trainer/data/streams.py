"""The stream of tokens that one playing of a song is: as in the dataset, or varied.

A model sees a song again in each epoch. What is drawn anew each time is a function of (seed, epoch,
song) alone, so that resumed runs, several devices and any order of reading see the same.

What every song needs is drawn for all songs of an epoch at once: a random generator of its own
costs a song as much time as the copying of two thousand tokens, and few songs need one.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from shards.codec import EncodedSong
from shards.reader import SongSource
from shards.vocabulary import PROGRAMS
from trainer.config import Config
from trainer.data.augment import change_tempo, drop_parts, transpose
from trainer.data.conditions import (
    INDEX_COLUMNS,
    NO_CONDITIONS,
    PLAIN,
    SHIFTS,
    TEMPOS_PER_OCTAVE,
    WRITTEN,
    ConditionCodes,
    Conditions,
    bars_left_field,
    condition_fields,
    draw_given,
    encode_conditions,
    only,
    transposed_key,
    with_band,
)
from trainer.data.sections import Rearranged, draw_plan, hidden_classes, parts_of, rearrange

MAX_CACHED_STREAMS = 4096
"""Streams that are kept. Those of a dataset are views, which take a kilobyte each; varied ones take
ten bytes a token and more, so of those an eighth."""
MAX_EPOCHS = 4
"""Epochs of which the draws are kept: a song may begin in one and end in the next."""
DOWN, UP = 5, 6
"""Transposition reaches each of the other eleven keys."""


class Stream(NamedTuple):
    """One playing of a song.

    Attributes:
        song: its arrays.
        codes: its conditions; all 0 where there are none.
        fields: of the song's bars, or of its tokens where it is rearranged, int64; None where all
            are those of `codes`.
        kinds: of `Rearranged`; None where the song is not rearranged.
        written_codes: the conditions of sections that are written: their band is that of the hidden
            parts.
    """

    song: EncodedSong
    codes: ConditionCodes = NO_CONDITIONS
    fields: np.ndarray | None = None
    kinds: np.ndarray | None = None
    written_codes: ConditionCodes = NO_CONDITIONS

    @classmethod
    def plain(cls, song: EncodedSong, codes: ConditionCodes) -> "Stream":
        """A song that is not rearranged."""
        if codes.last_bar is None:
            return cls(song, codes)
        bars = np.arange(int(song.bars.max()) + 1)
        return cls(song, codes, np.asarray(condition_fields(codes, bars)))

    @classmethod
    def of_sections(
        cls, rearranged: Rearranged, codes: ConditionCodes, written_codes: ConditionCodes
    ) -> "Stream":
        """A song that is rearranged."""
        song, kinds, stops = rearranged
        fields = section_fields(codes, written_codes, song.bars.astype(np.int64), kinds, stops)
        return cls(song, codes, fields, kinds.astype(np.uint8), written_codes)

    @property
    def has_conditions(self) -> bool:
        """Whether any of its tokens may have a field or a band."""
        return self.fields is not None or self.codes != NO_CONDITIONS

    def condition_fields(self, part: slice) -> np.ndarray | int:
        """The fields of some of its tokens, int64; see `trainer.data.conditions`."""
        if self.fields is None:
            return self.codes.fields
        is_rearranged = self.kinds is not None
        return self.fields[part] if is_rearranged else self.fields.take(self.song.bars[part])

    def band(self, part: slice) -> tuple[np.ndarray | int, np.ndarray | int]:
        """The lower and the upper half of the band of some of its tokens, int64."""
        if self.kinds is None:
            return self.codes.band
        is_written = self.kinds[part] == WRITTEN
        halves = zip(self.written_codes.band, self.codes.band, strict=True)
        low, high = (np.where(is_written, *half) for half in halves)
        return low, high


def section_fields(
    codes: ConditionCodes,
    written_codes: ConditionCodes,
    bars: np.ndarray,
    kinds: np.ndarray,
    stop_bars: np.ndarray,
) -> np.ndarray:
    """The fields of tokens of a rearranged song, int64: how many bars its section has left."""
    fields = np.where(kinds == WRITTEN, written_codes.fields, codes.fields)
    in_section = fields + bars_left_field(stop_bars - 1 - bars) + (kinds << SHIFTS["section"])
    return np.where(kinds == PLAIN, condition_fields(codes, bars), in_section)


def with_parts(codes: ConditionCodes, parts: np.ndarray) -> ConditionCodes:
    """The same conditions with a band of these parts, as of `parts_of`."""
    return with_band(codes, parts[parts < PROGRAMS].tolist(), bool((parts == PROGRAMS).any()))


@dataclass(frozen=True, kw_only=True)
class Variation:
    """What is drawn anew in each playing of a song; see `TrainConfig` for each."""

    seed: int = 0
    transpose: bool = False
    tempo_range: int = 0
    drop_parts: float = 0.0
    rearranged: float = 0.0
    conditions: bool = False
    condition_dropout: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "Variation":
        """What a run's settings say."""
        train = config.train
        return cls(
            seed=train.seed,
            transpose=train.transpose,
            tempo_range=train.tempo_range,
            drop_parts=train.drop_parts,
            rearranged=train.rearranged,
            conditions=config.model.conditions,
            condition_dropout=train.condition_dropout,
        )

    @property
    def is_none(self) -> bool:
        """Whether every playing is the song as it is, without conditions."""
        return replace(self, seed=0, condition_dropout=0.0) == Variation()


class Draws(NamedTuple):
    """What is drawn for each song of a dataset in one epoch, shape (songs,).

    Attributes:
        semitones, tempo_bins: how far its pitches and its tempos move, int8.
        has_conditions, drops_parts, is_rearranged: bool. What then remains to be drawn takes a
            generator of the song's own.
    """

    semitones: np.ndarray
    tempo_bins: np.ndarray
    has_conditions: np.ndarray
    drops_parts: np.ndarray
    is_rearranged: np.ndarray

    @classmethod
    def of(cls, variation: Variation, epoch: int, songs: int) -> "Draws":
        """Draw them."""
        rng = np.random.default_rng([variation.seed, epoch])
        conditions, drops, rearranged = rng.random((3, songs), np.float32)
        return cls(
            rng.integers(-DOWN, UP + 1, songs, np.int8) * variation.transpose,
            rng.integers(-variation.tempo_range, variation.tempo_range + 1, songs, np.int8),
            (conditions >= variation.condition_dropout) & variation.conditions,
            drops < variation.drop_parts,
            rearranged < variation.rearranged,
        )


class Streams:
    """The playings of the songs that a sampler numbers.

    Args:
        dataset: where the songs are.
        numbers: shape (songs,); the dataset's number of each of the sampler's songs.
        variation: what is drawn anew; None: nothing, and no conditions are given.
    """

    def __init__(
        self, dataset: SongSource, numbers: np.ndarray, variation: Variation | None = None
    ) -> None:
        self.dataset, self.variation = dataset, variation or Variation()
        self.numbers: list[int] = numbers.tolist()
        self._is_varied = not self.variation.is_none
        self._index = {
            name: dataset.index[name].combine_chunks()
            for name in (INDEX_COLUMNS if self.variation.conditions else ())
        }
        self._most = MAX_CACHED_STREAMS // (8 if self._is_varied else 1)
        self._cache: OrderedDict[int, Stream] = OrderedDict()
        self._draws: dict[int, Draws] = {}

    def get(self, song: int, segment_id: int) -> Stream:
        """A playing of a song.

        Args:
            song: the sampler's number of it.
            segment_id: of the playing; its epoch is part of it.
        """
        key = segment_id if self._is_varied else song
        stream = self._cache.get(key)
        if stream is None:
            stream = self._make(self.numbers[song], segment_id // len(self.numbers))
            self._cache[key] = stream
            if len(self._cache) > self._most:
                self._cache.popitem(last=False)
        elif self._is_varied:
            self._cache.move_to_end(key)
        return stream

    def _make(self, number: int, epoch: int) -> Stream:
        song = self.dataset.song(number)
        if not self._is_varied:
            return Stream(song)
        draws, length = self._draws_of(epoch), len(song)
        drops_parts, is_rearranged = draws.drops_parts[number], draws.is_rearranged[number]
        conditions = self._conditions(number) if draws.has_conditions[number] else None
        moves = int(draws.semitones[number]), int(draws.tempo_bins[number])
        song, conditions = self._move(song, conditions, *moves)
        if conditions is None and not (drops_parts or is_rearranged):
            return Stream(song)
        rng = np.random.default_rng([self.variation.seed, epoch, number])
        if drops_parts:
            song, conditions = self._drop_parts(song, conditions, rng)
        codes = NO_CONDITIONS
        if conditions:
            given = draw_given(rng, self.variation.condition_dropout)
            codes = encode_conditions(only(conditions, given), self.dataset.vocabulary)
        if not is_rearranged:
            return Stream.plain(song, codes)
        plan, parts = draw_plan(song, rng), parts_of(song)
        written_codes = with_parts(codes, parts[plan.hidden[parts]])
        song, kinds, stops = rearrange(song, plan, self.dataset.codec)
        song = EncodedSong(*(array[:length] for array in vars(song).values()))
        cut = Rearranged(song, kinds[:length], stops[:length])
        return Stream.of_sections(cut, codes, written_codes)

    def _draws_of(self, epoch: int) -> Draws:
        if epoch not in self._draws:
            known = sorted(self._draws)[-MAX_EPOCHS + 1 :]  # lanes end one after the other
            self._draws = {each: self._draws[each] for each in known}
            self._draws[epoch] = Draws.of(self.variation, epoch, len(self.dataset))
        return self._draws[epoch]

    def _move(
        self, song: EncodedSong, conditions: Conditions | None, semitones: int, bins: int
    ) -> tuple[EncodedSong, Conditions | None]:
        """Move a song's pitches and tempos, and those that it is said to have."""
        vocabulary = self.dataset.vocabulary
        if semitones:
            changed = transpose(song, vocabulary, semitones)
            if conditions and changed is not song:
                conditions = replace(conditions, key=transposed_key(conditions.key, semitones))
            song = changed
        if bins:
            changed = change_tempo(song, vocabulary, bins)
            if conditions and conditions.tempo and changed is not song:
                factor = 2 ** (bins / (2 * TEMPOS_PER_OCTAVE))
                conditions = replace(conditions, tempo=conditions.tempo * factor)
            song = changed
        return song, conditions

    def _drop_parts(
        self, song: EncodedSong, conditions: Conditions | None, rng: np.random.Generator
    ) -> tuple[EncodedSong, Conditions | None]:
        """Leave out each part with one half, and say so."""
        parts = parts_of(song)
        dropped = parts[rng.random(len(parts)) < 0.5]
        song = drop_parts(song, self.dataset.codec, hidden_classes(dropped))
        if conditions is None:
            return song, None
        left = parts_of(song)
        bars = int(song.bars[-1]) + 1
        conditions = replace(
            conditions,
            bars=bars,
            notes_per_bar=int(self.dataset.vocabulary.is_note(song.tokens).sum()) / bars,
            programs=tuple(left[left < PROGRAMS].tolist()),
            drums=bool((left == PROGRAMS).any()),
        )
        return song, conditions

    def _conditions(self, number: int) -> Conditions:
        """What the index says of a song."""
        row = {name: column[number].as_py() for name, column in self._index.items()}
        return Conditions.of_song(row)
