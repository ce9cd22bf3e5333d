"""One unfinished song: its arrays so far, its position in time, and what may come next.

Every song written from allowed tokens is canonical: it decodes, and encoding it again gives the
same tokens. The grammar (`shards.grammar`) checks durations and rests; this file checks the order
of the notes of a chord, which instruments may play, and when.

Conventions
    V tokens in the vocabulary, P = 128 programs, D drums
    row   token, instrument, velocity, bar, step, as in the arrays of an `EncodedSong`
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from shards.codec import EncodedSong
from shards.grammar import Cursor
from shards.song import DEFAULT_TEMPO
from shards.vocabulary import (
    NO_INSTRUMENT,
    NO_VELOCITY,
    PITCHES,
    PROGRAMS,
    VELOCITY_BINS,
    Kind,
    Vocabulary,
)
from trainer.generation.repetition_guard import RepetitionGuard

PITCH, DRUM, DURATION, REST, TEMPO, EOS = (
    int(kind) for kind in (Kind.PITCH, Kind.DRUM, Kind.DURATION, Kind.REST, Kind.TEMPO, Kind.EOS)
)
"""Plain integers: members of an enumeration take longer to look up and compare."""

Row = tuple[int, int, int, int, int]

DEFAULT_VELOCITY = 20
"""Velocity bin of an instrument's first note where no head predicts it: MIDI 82, about the mean
of Lakh."""


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What new tokens must respect, besides the grammar.

    Attributes:
        instruments: shape (P + D,), bool; which instrument classes may play.
        max_programs: how many different programs may play; None: any number.
        allow_changes: whether meter and tempo may change after the song's opening.
        allow_ending: whether the song may end by itself.
        ending_bar: the first bar in which it may.
        meter, tempo: the tokens that the song opens with, or goes on with after a prompt; None:
            any.
        max_loop_bars: how many bars an exact repetition may run; None: any number.
    """

    instruments: np.ndarray
    max_programs: int | None = None
    allow_changes: bool = True
    allow_ending: bool = False
    ending_bar: int = 0
    meter: int | None = None
    tempo: int | None = None
    max_loop_bars: int | None = None


class SongWriter:
    """Writes one song, one token at a time.

    Args:
        vocabulary: of the model.
        constraints: what new tokens must respect.

    Attributes:
        rows: everything written, the prompt included.
        ended: whether the song has ended by itself.
    """

    def __init__(self, vocabulary: Vocabulary, constraints: Constraints) -> None:
        self.vocabulary, self.constraints = vocabulary, constraints
        self.cursor = Cursor(vocabulary)
        self.rows: list[Row] = []
        self._seconds, self.ended = 0.0, False  # to the last token
        tokens = np.arange(len(vocabulary))
        self._kinds = vocabulary.kind(tokens)
        self._kind = self._kinds.tolist()
        self._has_instrument = vocabulary.has_instrument(tokens).tolist()
        self._no_change = (self._kinds != Kind.METER) & (self._kinds != Kind.TEMPO)
        self._is_note = vocabulary.is_note(tokens)
        self._is_of_note = self._is_note | (self._kinds == Kind.DURATION)
        self._tempo = DEFAULT_TEMPO[1]
        self._last_note: tuple[int, int] | None = None  # class and pitch, at this step
        self._used_programs: set[int] = set()  # only those that `constraints` allows
        self._programs = constraints.instruments[:PROGRAMS]  # that may play
        self._drums = constraints.instruments[PROGRAMS:]
        self._highest = _highest(self._programs)
        self._rests = vocabulary.rests.tolist()
        self._duration = 0  # steps, of the last duration token
        self._last_velocities: dict[int, int] = {}
        self._not_before = 0
        self._complete_rows = self._prompt_rows = 0  # rows up to the last complete note
        max_bars = constraints.max_loop_bars
        self._guard = RepetitionGuard(max_bars) if max_bars is not None else None

    @property
    def last_note_bar(self) -> int:
        """The bar of the last complete note; -1 before the first."""
        return self.rows[self._complete_rows - 1][3] if self._complete_rows else -1

    @property
    def has_notes(self) -> bool:
        """Whether there is a complete note after the prompt."""
        return self._complete_rows > self._prompt_rows

    @property
    def seconds(self) -> float:
        """From the song's start to the next token."""
        steps_per_beat = self.vocabulary.settings.steps_per_beat
        return self._seconds + self.cursor.due * self._tempo / (1e6 * steps_per_beat)

    def start(self, prompt: EncodedSong | None = None, *, not_before: int = 0) -> None:
        """Begin with <sos>, or with all of a prompt but its <eos>.

        Args:
            prompt: the song's beginning.
            not_before: the step before which no new note may start.
        """
        if prompt is None:
            self.append(self.vocabulary.sos, NO_INSTRUMENT, NO_VELOCITY)
            return
        for token, instrument, velocity, *_ in rows_of(prompt)[:-1]:
            self.append(token, instrument, velocity)
        self._not_before, self._prompt_rows = not_before, len(self.rows)

    def append(self, token: int, instrument: int, velocity: int) -> None:
        """Append a token that the grammar allows."""
        self._seconds = self.seconds
        bar, step = self.cursor.push(token, instrument)
        self.rows.append((token, instrument, velocity, bar, step))
        self._update(token, instrument, velocity)
        if self._guard:
            self._guard.push(token * (NO_INSTRUMENT + 1) + instrument, bar)

    def _update(self, token: int, instrument: int, velocity: int) -> None:
        """Update what the next token depends on."""
        kind = self._kind[token]
        if kind in (DRUM, DURATION) or (kind == PITCH and self._may_share_duration()):
            self._complete_rows = len(self.rows)
        if kind in (DRUM, PITCH):
            self._last_note = instrument, token - self.vocabulary.pitch0
            self._last_velocities[instrument] = velocity
        if kind == PITCH:
            self._use(instrument)
        elif kind == DURATION:
            self._duration = int(self.vocabulary.durations[token - self.vocabulary.duration0])
        elif kind == REST:
            self._last_note = None
        elif kind == TEMPO:
            self._tempo = int(self.vocabulary.tempos[token - self.vocabulary.tempo0])
        elif kind == EOS:
            self.ended = True

    def _may_share_duration(self) -> bool:
        """Whether the last token, a pitch, needs no duration: the note above it has one."""
        return bool(self.cursor.allowed()[self.vocabulary.eos])

    def _use(self, program: int) -> None:
        """Count a program; once there are as many as may play, no other may."""
        used, most = self._used_programs, self.constraints.max_programs
        if program in used or not self.constraints.instruments[program]:
            return
        used.add(program)
        if most is not None and len(used) >= most:
            self._programs = np.zeros(PROGRAMS, bool)
            self._programs[[*used]] = True
            self._highest = _highest(self._programs)

    def append_sampled(self, token: int, instrument: int, velocity: int | None = None) -> None:
        """Append a sampled token.

        Args:
            token: its id.
            instrument: ignored unless the token is a pitch or a control.
            velocity: ignored unless the token is a pitch or a drum; None: that of the instrument's
                last note.
        """
        if self._kind[token] == DRUM:
            instrument = PROGRAMS + token - self.vocabulary.drum0
        elif self._kind[token] == DURATION:
            instrument = self.rows[-1][1]
        elif not self._has_instrument[token]:
            instrument = NO_INSTRUMENT
        if not self._is_note[token]:
            velocity = NO_VELOCITY
        elif velocity is None:
            velocity = self._last_velocities.get(instrument, DEFAULT_VELOCITY)
        self.append(token, instrument, velocity)

    def completed_notes(self) -> list[tuple[int, int, int]]:
        """Class, pitch and duration of each note that is known since the last token.

        A pitch is known once the token after it is: it may be its duration. The pitch of a drum has
        no meaning.
        """
        v, notes, (token, instrument, *_) = self.vocabulary, [], self.rows[-1]
        if len(self.rows) - 1 > self._prompt_rows:
            pitch, program, *_ = self.rows[-2]
            if self._kind[pitch] == PITCH:
                notes.append((program, pitch - v.pitch0, self._duration))
        if self._kind[token] == DRUM:
            notes.append((instrument, 0, v.drum_duration))
        return notes

    def has_instrument(self, token: int) -> bool:
        """Whether a token comes with a program to be sampled: a pitch or a control."""
        return self._has_instrument[token]

    def is_note(self, token: int) -> bool:
        """Whether a token starts a note."""
        return self._kind[token] in (PITCH, DRUM)

    def allowed_instruments(self, token: int) -> np.ndarray:
        """Which programs may come with a pitch or a control, shape (P,), bool."""
        allowed = self._programs.copy()
        if self._last_note is not None:
            instrument, pitch = self._last_note
            allowed[:instrument] = False
            lowest = self.vocabulary.pitch0 if self._kind[token] != PITCH else token
            if instrument < PROGRAMS and lowest - self.vocabulary.pitch0 >= pitch:
                allowed[instrument] = False
        return allowed

    def allowed_tokens(self, *, note_due: bool = False, due_bar: int | None = None) -> np.ndarray:
        """Which tokens may come next, shape (V,), bool; at least one.

        Args:
            note_due: allow only notes and their durations, if one may come next.
            due_bar: a bar that must not end before the next note starts; None: there is none.
        """
        if self._kind[self.rows[-1][0]] == PITCH and not self._may_share_duration():
            return self.cursor.allowed()  # any duration, whatever else
        allowed = self.playable_tokens()
        if not self._may_end():
            allowed[self.vocabulary.eos] = False
        now = self.cursor.time + self.cursor.due
        if now == self._not_before:
            for token in (self.constraints.meter, self.constraints.tempo):
                if token is not None and allowed[token]:
                    allowed = np.arange(len(allowed)) == token
        if due_bar is not None:
            allowed = self._within(allowed, due_bar)
        if now < self._not_before:
            return self._only_rests(allowed, self._not_before - now)
        if note_due:
            allowed = prefer(allowed, self._is_of_note)
        if not self.constraints.allow_changes:  # in the opening nothing else is allowed
            allowed = prefer(allowed, self._no_change)
        return self._without_loops(allowed)

    def playable_tokens(self) -> np.ndarray:
        """The tokens that the grammar allows, and of notes and controls those of an instrument.

        Equal to what `allowed_notes` says, without its array: a pitch that the last note's program
        may play or any program after it; and drums likewise.
        """
        v, allowed = self.vocabulary, self.cursor.allowed().copy()
        instrument, pitch = self._last_note or (-1, 0)
        if self._highest <= instrument or self._highest < 0:
            stop = pitch if self._highest == instrument else 0
            allowed[v.pitch0 + stop : v.drum0] = False
            if not stop:  # no program left that a control could apply to
                allowed[v.bend0 : v.unused0] = False
        allowed[v.drum0 : v.duration0] &= self._drums
        if instrument >= PROGRAMS:
            allowed[v.drum0 : v.drum0 + instrument + 1 - PROGRAMS] = False
        return allowed

    def _may_end(self) -> bool:
        constraints = self.constraints
        in_time = self.last_note_bar >= constraints.ending_bar
        return constraints.allow_ending and self.has_notes and in_time

    def _within(self, allowed: np.ndarray, due_bar: int) -> np.ndarray:
        """Remove rests and changes of meter that would lead beyond the end of a bar."""
        vocabulary, cursor = self.vocabulary, self.cursor
        bars = due_bar + 1 - cursor.bar
        left = bars * cursor.bar_steps - cursor.step - cursor.due
        if left > max(self._rests[-1], cursor.bar_steps):
            return allowed
        inside, rest0 = allowed.copy(), vocabulary.rest0
        inside[rest0 + bisect_left(self._rests, left) : vocabulary.meter0] = False
        if left <= cursor.bar_steps:
            inside[vocabulary.meter0 : vocabulary.tempo0] = False
        return inside if inside.any() else allowed

    def _only_rests(self, allowed: np.ndarray, steps: int) -> np.ndarray:
        """Allow only rests, and only those that reach `steps` with the rests that may follow.

        None goes beyond where the meter or the tempo is to be stated.
        """
        v, wanted = self.vocabulary, np.zeros(len(allowed), bool)
        reaching = v.rests + v.rest_room >= steps
        if self.constraints.meter is not None or self.constraints.tempo is not None:
            reaching &= v.rests <= steps
        wanted[v.rest0 : v.rest0 + len(v.rests)] = reaching
        return prefer(allowed, wanted)

    def _without_loops(self, allowed: np.ndarray) -> np.ndarray:
        """Remove what would continue a long loop."""
        if self._guard is None:
            return allowed
        blocked = self._guard.blocked_symbols()
        if not len(blocked):
            return allowed
        unblocked = np.ones(len(allowed), bool)
        unblocked[blocked // (NO_INSTRUMENT + 1)] = False
        return prefer(allowed, unblocked)

    def allowed_notes(self) -> np.ndarray:
        """Which program may play which pitch now, shape (128, P), bool.

        Within a step, notes are ordered by ascending class, then by descending pitch.
        """
        allowed = np.tile(self._programs, (PITCHES, 1))
        if self._last_note is not None:
            instrument, pitch = self._last_note
            allowed[:, :instrument] = False
            if instrument < PROGRAMS:
                allowed[pitch:, instrument] = False
        return allowed

    def input(self, number: int) -> Row:
        """The model's input for one row, as `inputs` says."""
        token, instrument, velocity, bar, step = self.rows[number]
        if instrument == NO_INSTRUMENT:
            instrument = self.vocabulary.instruments
        return token, instrument, bar, step, min(velocity, VELOCITY_BINS)

    def inputs(self, first: int = 0, stop: int | None = None) -> np.ndarray:
        """The model's inputs for some rows, shape (5, tokens), int64.

        In this order: tokens, instruments (I for none), bars, steps, velocities (the number of
        bins for none).
        """
        rows = range(len(self.rows))[first:stop]
        return np.array([self.input(number) for number in rows], np.int64).T

    def finish(self) -> EncodedSong:
        """The song up to its last complete note, then <eos>."""
        return song_of(self.rows[: self._complete_rows], self.vocabulary)


def rows_of(song: EncodedSong) -> list[Row]:
    """The rows of a song, <eos> included."""
    return [*zip(*(array.tolist() for array in vars(song).values()), strict=True)]


def song_of(rows: list[Row], vocabulary: Vocabulary) -> EncodedSong:
    """The song of these rows, at least one, then <eos>."""
    columns = np.array([*rows, (vocabulary.eos, NO_INSTRUMENT, NO_VELOCITY, *rows[-1][3:])]).T
    types = np.uint16, np.uint8, np.uint8, np.uint16, vocabulary.step_dtype
    return EncodedSong(
        *(column.astype(dtype) for column, dtype in zip(columns, types, strict=True))
    )


def prefer(allowed: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Restrict `allowed` to `wanted`, unless nothing would be left."""
    both = allowed & wanted
    return both if both.any() else allowed


def _highest(programs: np.ndarray) -> int:
    """The highest of the marked programs; -1 if there is none."""
    return int(np.flatnonzero(programs)[-1]) if programs.any() else -1
