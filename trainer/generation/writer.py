"""One unfinished song: its arrays so far, its position in time, and what may come next.

Every song written from allowed tokens is canonical: it decodes, and encoding it again gives the
same tokens. The grammar (`shards.grammar`) checks durations and rests; this file checks the order
of the notes of a chord, which instruments may play, and when.

Conventions
    V tokens in the vocabulary, P = 128 programs, D drums
    row   token, instrument, velocity, bar, step, as in the arrays of an `EncodedSong`
"""

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
        self.rows: list[tuple[int, int, int, int, int]] = []
        self._seconds, self.ended = 0.0, False  # to the last token
        tokens = np.arange(len(vocabulary))
        self._kinds = vocabulary.kind(tokens)
        self._kind = self._kinds.tolist()
        self._has_instrument = vocabulary.has_instrument(tokens).tolist()
        self._no_change = (self._kinds != Kind.METER) & (self._kinds != Kind.TEMPO)
        self._is_note = vocabulary.is_note(tokens)
        self._tempo = DEFAULT_TEMPO[1]
        self._last_note: tuple[int, int] | None = None  # class and pitch, at this step
        self._used_programs: set[int] = set()  # only those that `constraints` allows
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
        columns = prompt.tokens[:-1], prompt.instruments[:-1], prompt.velocities[:-1]
        for row in zip(*(column.tolist() for column in columns), strict=True):
            self.append(*row)
        self._not_before, self._prompt_rows = not_before, len(self.rows)

    def append(self, token: int, instrument: int, velocity: int) -> None:
        """Append a token that the grammar allows."""
        self._seconds = self.seconds
        bar, step = self.cursor.push(token)
        self.rows.append((token, instrument, velocity, bar, step))
        self._update(token, instrument, velocity)
        if self._guard:
            self._guard.push(token * (NO_INSTRUMENT + 1) + instrument, bar)

    def _update(self, token: int, instrument: int, velocity: int) -> None:
        """Update what the next token depends on."""
        kind = self._kind[token]
        if kind in (Kind.DRUM, Kind.DURATION):
            self._complete_rows = len(self.rows)
        if kind in (Kind.DRUM, Kind.PITCH):
            self._last_note = instrument, token - self.vocabulary.pitch0
            self._last_velocities[instrument] = velocity
        if kind == Kind.PITCH and self.constraints.instruments[instrument]:
            self._used_programs.add(instrument)
        elif kind == Kind.REST:
            self._last_note = None
        elif kind == Kind.TEMPO:
            self._tempo = int(self.vocabulary.tempos[token - self.vocabulary.tempo0])
        elif kind == Kind.EOS:
            self.ended = True

    def append_sampled(self, token: int, instrument: int, velocity: int | None = None) -> None:
        """Append a sampled token.

        Args:
            token: its id.
            instrument: ignored unless the token is a pitch or a control.
            velocity: ignored unless the token is a pitch or a drum; None: that of the instrument's
                last note.
        """
        if self._kind[token] == Kind.DRUM:
            instrument = PROGRAMS + token - self.vocabulary.drum0
        elif self._kind[token] == Kind.DURATION:
            instrument = self.rows[-1][1]
        elif not self._has_instrument[token]:
            instrument = NO_INSTRUMENT
        if not self._is_note[token]:
            velocity = NO_VELOCITY
        elif velocity is None:
            velocity = self._last_velocities.get(instrument, DEFAULT_VELOCITY)
        self.append(token, instrument, velocity)

    def completed_note(self) -> tuple[int, int, int] | None:
        """Class, pitch and duration of the note that the last token ended; None if it ended none.

        The pitch of a drum has no meaning.
        """
        v, (token, instrument, *_) = self.vocabulary, self.rows[-1]
        if self._kind[token] == Kind.DRUM:
            return instrument, 0, v.drum_duration
        if self._kind[token] == Kind.DURATION:
            return instrument, self.rows[-2][0] - v.pitch0, int(v.durations[token - v.duration0])
        return None

    def is_note(self, token: int) -> bool:
        """Whether a token starts a note."""
        return bool(self._is_note[token])

    def has_instrument(self, token: int) -> bool:
        """Whether a token comes with a program to be sampled: a pitch or a control."""
        return self._has_instrument[token]

    def allowed_instruments(self, token: int) -> np.ndarray:
        """Which programs may come with a pitch or a control, shape (P,), bool."""
        allowed = self.allowed_notes()
        if self._kind[token] == Kind.PITCH:
            return allowed[token - self.vocabulary.pitch0]
        return np.asarray(allowed.any(axis=0))

    def allowed_tokens(self, *, note_due: bool = False, due_bar: int | None = None) -> np.ndarray:
        """Which tokens may come next, shape (V,), bool; at least one.

        Args:
            note_due: allow only notes, if one may come next.
            due_bar: a bar that must not end before the next note starts; None: there is none.
        """
        allowed, notes = self.cursor.allowed().copy(), self.allowed_notes()
        pitch0, drum0 = self.vocabulary.pitch0, self.vocabulary.drum0
        allowed[pitch0:drum0] &= notes.any(axis=1)
        allowed[drum0 : self.vocabulary.duration0] &= self.allowed_drums()
        if not notes.any():  # no program left that a control could apply to
            allowed[self.vocabulary.bend0 : self.vocabulary.unused0] = False
        if not self._may_end():
            allowed[self.vocabulary.eos] = False
        now = self.cursor.time + self.cursor.due
        for token in (self.constraints.meter, self.constraints.tempo):
            if token is not None and now == self._not_before and allowed[token]:
                allowed = np.arange(len(allowed)) == token
        if due_bar is not None:
            allowed = self._within(allowed, due_bar)
        if now < self._not_before:
            return self._only_rests(allowed, self._not_before - now)
        if note_due:
            allowed = prefer(allowed, self._is_note)
        if not self.constraints.allow_changes:  # in the opening nothing else is allowed
            allowed = prefer(allowed, self._no_change)
        return self._without_loops(allowed)

    def _may_end(self) -> bool:
        constraints = self.constraints
        in_time = self.last_note_bar >= constraints.ending_bar
        return constraints.allow_ending and self.has_notes and in_time

    def _within(self, allowed: np.ndarray, due_bar: int) -> np.ndarray:
        """Remove rests and changes of meter that would lead beyond the end of a bar."""
        vocabulary, cursor = self.vocabulary, self.cursor
        bars = due_bar + 1 - cursor.bar
        left = bars * cursor.bar_steps - cursor.step - cursor.due
        inside = np.ones(len(allowed), bool)
        inside[vocabulary.rest0 : vocabulary.rest0 + len(vocabulary.rests)] = (
            vocabulary.rests < left
        )
        inside[self._kinds == Kind.METER] = left > cursor.bar_steps
        return prefer(allowed, inside)

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
        """Remove what would continue a long loop; any duration may follow a pitch."""
        if self._guard is None or self._kind[self.rows[-1][0]] == Kind.PITCH:
            return allowed
        unblocked = np.ones(len(allowed), bool)
        unblocked[self._guard.blocked_symbols() // (NO_INSTRUMENT + 1)] = False
        return prefer(allowed, unblocked)

    def allowed_notes(self) -> np.ndarray:
        """Which program may play which pitch now, shape (128, P), bool.

        Within a step, notes are ordered by ascending class, then by descending pitch.
        """
        allowed = np.tile(self.constraints.instruments[:PROGRAMS], (PITCHES, 1))
        max_programs = self.constraints.max_programs
        if max_programs is not None and len(self._used_programs) >= max_programs:
            used = np.zeros(PROGRAMS, bool)
            used[[*self._used_programs]] = True
            allowed &= used
        if self._last_note is not None:
            instrument, pitch = self._last_note
            allowed[:, :instrument] = False
            if instrument < PROGRAMS:
                allowed[pitch:, instrument] = False
        return allowed

    def allowed_drums(self) -> np.ndarray:
        """Which drums may play now, shape (D,), bool."""
        allowed = self.constraints.instruments[PROGRAMS:].copy()
        if self._last_note is not None:
            allowed[: max(self._last_note[0] + 1 - PROGRAMS, 0)] = False
        return allowed

    def inputs(self, first: int = 0, stop: int | None = None) -> np.ndarray:
        """The model's inputs for some rows, shape (5, tokens), int64.

        In this order: tokens, instruments (I for none), bars, steps, velocities (the number of
        bins for none).
        """
        tokens, instruments, velocities, bars, steps = np.array(self.rows[first:stop], np.int64).T
        none = instruments == NO_INSTRUMENT
        classes = np.where(none, self.vocabulary.instruments, instruments)
        bins = np.where(velocities == NO_VELOCITY, VELOCITY_BINS, velocities)
        return np.stack([tokens, classes, bars, steps, bins])

    def finish(self) -> EncodedSong:
        """The song up to its last complete note, then <eos>."""
        rows = self.rows[: self._complete_rows]
        *_, bar, step = rows[-1]
        rows = [*rows, (self.vocabulary.eos, NO_INSTRUMENT, NO_VELOCITY, bar, step)]
        tokens, instruments, velocities, bars, steps = np.array(rows, np.int64).T
        return EncodedSong(
            tokens.astype(np.uint16),
            instruments.astype(np.uint8),
            velocities.astype(np.uint8),
            bars.astype(np.uint16),
            steps.astype(self.vocabulary.step_dtype),
        )


def prefer(allowed: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Restrict `allowed` to `wanted`, unless nothing would be left."""
    both = allowed & wanted
    return both if both.any() else allowed
