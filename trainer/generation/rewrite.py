"""Write bars or parts of a song anew, to what is left of it: infilling and accompaniment.

The song is rearranged as in training (`trainer.data.sections`). What is given is fed to the model,
what is to be written is sampled, section by section.
"""

import re
from dataclasses import replace

import numpy as np

from shards.bars import Bars
from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError, SettingError
from shards.grammar import Cursor
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, PROGRAMS, Kind, Vocabulary
from trainer.data.conditions import WRITTEN
from trainer.data.sections import (
    CLASSES,
    MAX_BARS_AHEAD,
    Plan,
    Rearranged,
    accompaniment_plan,
    infilling_plan,
    merge_sections,
    parts_of,
    rearrange,
)
from trainer.data.streams import section_fields, with_parts
from trainer.generation.asked import asked_conditions
from trainer.generation.instruments import choose_instruments, parse_instruments
from trainer.generation.prompt import first_bars
from trainer.generation.settings import SampleConfig
from trainer.generation.token_sampler import Sampler
from trainer.generation.writer import Constraints, Row, SongWriter, prefer, rows_of, song_of

BARS_AT_A_TIME = 2
"""Bars that are given before an accompaniment of them is written; training has 1, 2 and 4."""


def infilling(
    song: EncodedSong, bars: str, parts: str | None, vocabulary: Vocabulary, *, memory: int
) -> Plan:
    """Plan to write some bars of a song anew.

    Args:
        song: the song.
        bars: as users count them: 9-16, or 9.
        parts: instrument names, of which only the notes in those bars are written; None: all.
        vocabulary: of the song.
        memory: of the model, in tokens. As many bars are given after the gap as fill half of it at
            most, so that what comes before the gap is remembered too; at least 1, at most 8.

    Raises:
        SettingError: the song has no such bars, or there is no such instrument.
    """
    last, match = int(song.bars[-1]) + 1, re.fullmatch(r" *(\d{1,6}) *(?:- *(\d{1,6}))? *", bars)
    first, stop = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= stop <= last:
        raise SettingError(f"--infill {bars!r}: expected bars of the song's {last}, as 9-16")
    gap = first - 1, stop, min(stop + bars_ahead(song, stop, memory), last)
    return infilling_plan(last, [gap], _hidden(parts, vocabulary, "--parts"))


def bars_ahead(song: EncodedSong, bar: int, memory: int) -> int:
    """How many bars from a bar on fill half of a memory at most; 1 to MAX_BARS_AHEAD."""
    begins = np.searchsorted(song.bars, bar + np.arange(MAX_BARS_AHEAD + 1))
    fitting = int((begins[1:] - begins[0] <= memory // 2).sum())
    return max(fitting, 1)


def accompaniment(song: EncodedSong, parts: str, vocabulary: Vocabulary) -> Plan:
    """Plan to write parts to a song; those that it has already are left out.

    Raises:
        SettingError: there is no such instrument, or they are all that the song has.
    """
    hidden = _hidden(parts, vocabulary, "--accompany")
    played = np.unique(song.instruments[song.instruments != NO_INSTRUMENT])
    if hidden[played].all():
        raise SettingError(f"--accompany {parts}: the song has no other parts to accompany")
    return accompaniment_plan(int(song.bars[-1]) + 1, BARS_AT_A_TIME, hidden)


def _hidden(parts: str | None, vocabulary: Vocabulary, option: str) -> np.ndarray:
    hidden = np.zeros(CLASSES, bool)
    hidden[: vocabulary.instruments] = (
        True if parts is None else parse_instruments(parts, vocabulary, option=option)
    )
    return hidden


def rewrite_samplers(
    codec: Codec, config: SampleConfig, song: EncodedSong, plan: Plan
) -> "list[RewriteSampler]":
    """Samplers that write the hidden notes of a song anew.

    Args:
        codec: of the model's vocabulary.
        config: how to sample, how many songs; its lengths are not read.
        song: the song.
        plan: what is hidden, and in which order it is written.
    """
    stream = rearrange(song, plan, codec)
    return [RewriteSampler(codec, config, n, song, stream, plan) for n in range(config.count)]


def written_bars(plan: Plan) -> int:
    """How many bars a plan writes."""
    return int((plan.stop_bars - plan.first_bars)[plan.kinds == WRITTEN].sum())


class RewriteSampler(Sampler):
    """Feeds the sections that are given and samples those that are written.

    Args:
        codec: of the model's vocabulary.
        config: how to sample.
        number: of the song; added to the seed.
        song: the song.
        stream: the same, rearranged.
        plan: by which.
    """

    def __init__(
        self,
        codec: Codec,
        config: SampleConfig,
        number: int,
        song: EncodedSong,
        stream: Rearranged,
        plan: Plan,
    ) -> None:
        self._codec, self._plan, self._bar_lines = codec, plan, codec.bar_lines(song)
        self._sections = _split(stream.song, codec.vocabulary)
        self._last = int(np.flatnonzero(plan.kinds == WRITTEN)[-1])
        self._number, self._stops, self._kinds = -1, list[int](), list[int]()
        allowed = _allowed(config, codec.vocabulary, song, plan)
        writer = SectionWriter(
            codec.vocabulary,
            Constraints(instruments=allowed, max_programs=config.max_instruments or None),
            self._bar_lines,
        )
        codes = asked_conditions(replace(config, instruments=None), codec.vocabulary, None)
        played = parts_of(song)
        written = _parts_to_write(config, allowed, played)
        self._written_codes = with_parts(codes, written)
        codes = with_parts(codes, np.union1d(played[~plan.hidden[played]], written))
        super().__init__(codec.vocabulary, config, number, writer, codes)
        self._most_tokens = config.tokens
        self._open_sections()

    def _open_sections(self) -> None:
        """Go on to the next section that is written; append what is given before it."""
        writer = self.writer
        assert isinstance(writer, SectionWriter)
        while self._number < self._last:
            self._number += 1
            first, stop, kind = (int(column[self._number]) for column in self._plan[3:])
            if kind == WRITTEN:
                writer.open_section(first, stop)
            else:
                writer.rows += self._sections[self._number]
            count = len(writer.rows) - len(self._kinds)
            self._kinds += [kind] * count
            self._stops += [stop] * count
            if kind == WRITTEN:
                return
        self.done = True

    def condition_fields(self, first: int, stop: int) -> np.ndarray:
        """See `Sampler`."""
        columns = self._kinds[first:stop], self._stops[first:stop]
        bars = np.array([row[3] for row in self.writer.rows[first:stop]], np.int64)
        return section_fields(self.codes, self._written_codes, bars, *map(np.array, columns))

    def band(self, row: int) -> tuple[int, int]:
        """See `Sampler`."""
        return (self._written_codes if self._kinds[row] == WRITTEN else self.codes).band

    def merge_logits(self, logits: np.ndarray) -> np.ndarray:
        """Let <eos> stand for the end of the section, before another or with the song."""
        v, merged = self.vocabulary, logits.copy()
        merged[v.eos] = np.logaddexp(logits[v.sos], logits[v.eos])
        return merged

    def allowed_tokens(self) -> np.ndarray:
        """See `Sampler`."""
        is_full = len(self.writer.rows) - self._section_row >= self._most_tokens
        return self.writer.allowed_tokens(note_due=is_full)

    @property
    def _section_row(self) -> int:
        writer = self.writer
        assert isinstance(writer, SectionWriter)
        return writer.first_row

    def append(self, token: int, instrument: int, velocity: int | None) -> None:
        """Append what has been sampled; the end of a section is where the next one opens."""
        if token == self.vocabulary.eos:
            self._end_section()
            return
        super().append(token, instrument, velocity)
        self._kinds.append(WRITTEN)
        self._stops.append(self._stops[-1])

    def _end_section(self) -> None:
        self._sections[self._number] = self.writer.rows[self._section_row :]
        self._open_sections()

    @property
    def progress(self) -> float:
        """Bars that are written."""
        plan, number = self._plan, self._number
        sizes = np.where(plan.kinds == WRITTEN, plan.stop_bars - plan.first_bars, 0)
        if self.done:
            return float(sizes.sum())
        here = self.writer.rows[-1][3] - int(plan.first_bars[number])
        return float(sizes[:number].sum() + min(max(here, 0), sizes[number]))

    @property
    def is_time_for_all(self) -> bool:
        """See `Sampler`; what is written to a song may rest."""
        return False

    @property
    def finished_bars(self) -> int:
        """See `Sampler`; all before the section that is being written."""
        return len(self._plan.given) if self.done else int(self._plan.first_bars[self._number])

    def song(self) -> EncodedSong | None:
        """See `Sampler`."""
        song = self._merged(None if self.done else self._number)
        return song and first_bars(song, self.finished_bars, self.vocabulary)

    def finish(self) -> EncodedSong:
        """The song with what was written.

        Raises:
            LakhxlError: it has no note.
        """
        if (song := self._merged(None)) is None:
            raise LakhxlError("the model wrote no note: try another --seed")
        return song

    def _merged(self, sections: int | None) -> EncodedSong | None:
        """The song of the first sections, or of all; None if they hold no note."""
        rows = [row for section in self._sections[:sections] for row in section]
        if not rows:
            return None
        song = merge_sections(song_of(rows, self.vocabulary), self._codec, self._bar_lines)
        return self._codec.encode(song.until_last_onset()) if len(song.notes) else None


def _allowed(
    config: SampleConfig, vocabulary: Vocabulary, song: EncodedSong, plan: Plan
) -> np.ndarray:
    """Which instrument classes may be written, shape (instruments,), bool."""
    allowed = plan.hidden[: vocabulary.instruments]
    if config.instruments is not None:
        allowed = allowed & choose_instruments(config.instruments, vocabulary, song)
    if not allowed.any():
        raise SettingError(f"--instruments {config.instruments}: none of them is to be written")
    return allowed


def _parts_to_write(config: SampleConfig, allowed: np.ndarray, played: np.ndarray) -> np.ndarray:
    """The parts that the model is told to write, as of `parts_of`.

    Those asked for; or, of those allowed, those that the song plays; or else all that are allowed.
    """
    parts = np.flatnonzero(allowed[: PROGRAMS + 1])
    if allowed[PROGRAMS:].any():
        parts = np.union1d(parts, PROGRAMS)
    of_song = np.intersect1d(parts, played)
    return parts if config.instruments is not None or not len(of_song) else of_song


def _split(song: EncodedSong, vocabulary: Vocabulary) -> list[list[Row]]:
    """The rows of each section, with its <sos>, without <eos>."""
    rows = rows_of(song)[:-1]
    openings = np.flatnonzero(song.tokens == vocabulary.sos).tolist()
    return [
        rows[first:stop] for first, stop in zip(openings, [*openings[1:], len(rows)], strict=True)
    ]


class SectionCursor(Cursor):
    """A cursor within a song whose bar lines are known."""

    def __init__(self, vocabulary: Vocabulary, bar_lines: Bars) -> None:
        super().__init__(vocabulary)
        self._bar_lines = bar_lines

    def open_section(self, bar: int) -> None:
        """Go to the start of a bar, before the section's <sos>."""
        self.time = int(self._bar_lines.first_steps(np.array([bar]))[0])
        self.bar, self.step, self.due = bar, 0, 0
        self._next = np.arange(len(self.vocabulary)) == self.vocabulary.sos

    def push(self, token: int, instrument: int) -> tuple[int, int]:
        """Read the next token and its instrument class; returns its bar and step."""
        super().push(token, instrument)
        bars, steps = self._bar_lines.locate(np.array([self.time]))
        self.bar, self.step = int(bars[0]), int(steps[0])
        return self.bar, self.step

    def _read_sos(self, token: int) -> None:
        self._next = self._after_change.copy()
        self._next[self.vocabulary.eos] = True


class SectionWriter(SongWriter):
    """Writes sections of one song; its rows are those of the whole stream.

    Args:
        vocabulary: of the model.
        constraints: what new tokens must respect.
        bar_lines: of the song.

    Attributes:
        first_row: the <sos> of the section that is being written.
    """

    def __init__(self, vocabulary: Vocabulary, constraints: Constraints, bar_lines: Bars) -> None:
        super().__init__(vocabulary, constraints)
        self._bar_lines = bar_lines
        self._section_cursor = self.cursor = SectionCursor(vocabulary, bar_lines)
        self._stop, self.first_row = 0, 0
        self._is_change = (self._kinds == Kind.METER) | (self._kinds == Kind.TEMPO)

    def open_section(self, first_bar: int, stop_bar: int) -> None:
        """Begin a section of bars [first_bar, stop_bar)."""
        self._section_cursor.open_section(first_bar)
        self._stop = int(self._bar_lines.first_steps(np.array([stop_bar]))[0])
        self._last_note, self.first_row = None, len(self.rows)
        self.append(self.vocabulary.sos, NO_INSTRUMENT, NO_VELOCITY)

    def allowed_tokens(self, *, note_due: bool = False, due_bar: int | None = None) -> np.ndarray:
        """Which tokens may come next; <eos> stands for the end of the section.

        Args:
            note_due: the section is to end, as soon as it may.
            due_bar: not read.
        """
        v, cursor = self.vocabulary, self.cursor
        allowed = self.playable_tokens() & ~self._is_change
        left = self._stop - cursor.time - cursor.due
        allowed[v.rest0 : v.rest0 + len(v.rests)] &= v.rests < left
        ends = np.arange(len(allowed)) == v.eos
        return prefer(allowed, ends | self._is_of_note) if note_due else allowed
