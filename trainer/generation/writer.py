"""One unfinished song: its arrays so far, its position in time, and what may come next.

Every song written from allowed tokens is canonical: it decodes, and encoding it again gives the
same tokens. The grammar (`shards.grammar`) checks pairs and rests; this file checks the order of
the notes of a chord, which instruments may play, and when.

Conventions
    V tokens in the vocabulary, I instrument classes
    row   token, instrument, velocity, bar, step, as in the arrays of an `EncodedSong`
"""

from dataclasses import dataclass

import numpy as np

from shards.codec import EncodedSong
from shards.grammar import Cursor
from shards.song import DEFAULT_TEMPO
from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, PROGRAMS, VELOCITY_BINS, Kind, Vocabulary
from trainer.generation.repetition_guard import RepetitionGuard

DEFAULT_VELOCITY = 20
"""Velocity bin of an instrument's first note where no head predicts it: MIDI 82, about the mean
of Lakh."""
PITCHES = 128


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What new tokens must respect, besides the grammar.

    Attributes:
        instruments: shape (I,), bool; which instruments may play.
        max_programs: how many different programs may play; None: any number.
        allow_changes: whether meter and tempo may change after the song's opening.
        allow_ending: whether the song may end by itself.
        max_loop_bars: how many bars an exact repetition may run; None: any number.
    """

    instruments: np.ndarray
    max_programs: int | None = None
    allow_changes: bool = True
    allow_ending: bool = False
    max_loop_bars: int | None = None


class SongWriter:
    """Writes one song, one token at a time.

    Args:
        vocabulary: of the model.
        constraints: what new tokens must respect.

    Attributes:
        rows: everything written, the prompt included.
        seconds: from the song's start to the last token.
        ended: whether the song has ended by itself.
    """

    def __init__(self, vocabulary: Vocabulary, constraints: Constraints) -> None:
        self.vocabulary, self.constraints = vocabulary, constraints
        self.cursor = Cursor(vocabulary)
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.seconds, self.ended = 0.0, False
        tokens = np.arange(len(vocabulary))
        self._kinds = vocabulary.kind(tokens)
        self._kind = self._kinds.tolist()
        self._has_instrument = vocabulary.has_instrument(tokens).tolist()
        self._no_change = (self._kinds != Kind.METER) & (self._kinds != Kind.TEMPO)
        self._playable = np.stack([vocabulary.instrument_allows(pitch) for pitch in range(PITCHES)])
        self._tempo = DEFAULT_TEMPO[1]
        self._last_note: tuple[int, int] | None = None  # class and pitch, at this step
        self._used_programs: set[int] = set()  # only those that `constraints` allows
        self._last_velocities: dict[int, int] = {}
        self._rest_steps = self._not_before = 0
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
        time_before = self.cursor.time
        bar, step = self.cursor.push(token)
        steps_per_beat = self.vocabulary.settings.steps_per_beat
        self.seconds += (self.cursor.time - time_before) * self._tempo / (1e6 * steps_per_beat)
        self.rows.append((token, instrument, velocity, bar, step))
        self._update(token, instrument, velocity)
        if self._guard:
            self._guard.push(token * (NO_INSTRUMENT + 1) + instrument, bar)

    def _update(self, token: int, instrument: int, velocity: int) -> None:
        """Update what the next token depends on."""
        kind = self._kind[token]
        after_sep = len(self.rows) > 1 and self._kind[self.rows[-2][0]] == Kind.SEP
        self._rest_steps = 0
        if kind == Kind.PITCH:
            self._last_note = instrument, token - self.vocabulary.pitch0
            self._last_velocities[instrument] = velocity
            if instrument < PROGRAMS and self.constraints.instruments[instrument]:
                self._used_programs.add(instrument)
        elif kind == Kind.DURATION and after_sep:
            self._rest_steps = token - self.vocabulary.duration1 + 1
        elif kind == Kind.DURATION:
            self._complete_rows = len(self.rows)
        elif kind == Kind.SEP:
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
            velocity: ignored unless the token is a pitch; None: that of the instrument's last note.
        """
        if self._kind[token] == Kind.PITCH:
            if velocity is None:
                velocity = self._last_velocities.get(instrument, DEFAULT_VELOCITY)
            self.append(token, instrument, velocity)
        elif self._has_instrument[token]:  # a control
            self.append(token, instrument, NO_VELOCITY)
        else:
            last_token, last_instrument, *_ = self.rows[-1]
            is_note = self._kind[last_token] == Kind.PITCH  # then this is its duration
            self.append(token, last_instrument if is_note else NO_INSTRUMENT, NO_VELOCITY)

    def has_instrument(self, token: int) -> bool:
        """Whether a token comes with an instrument class: a pitch or a control."""
        return self._has_instrument[token]

    def allowed_instruments(self, token: int) -> np.ndarray:
        """Which instruments may come with a pitch or a control, shape (I,), bool."""
        allowed = self.allowed_notes()
        if self._kind[token] == Kind.PITCH:
            return allowed[token - self.vocabulary.pitch0]
        programs = np.arange(allowed.shape[1]) < PROGRAMS
        return allowed.any(axis=0) & programs

    def allowed_tokens(self, *, note_due: bool = False, due_bar: int | None = None) -> np.ndarray:
        """Which tokens may come next, shape (V,), bool; at least one.

        Args:
            note_due: allow only pitches, if one may come next.
            due_bar: a bar that must not end before the next note starts; None: there is none.
        """
        allowed, notes = self.cursor.allowed().copy(), self.allowed_notes()
        pitch0 = self.vocabulary.pitch0
        if allowed[pitch0]:
            allowed[pitch0 : pitch0 + PITCHES] = notes.any(axis=1)
        if not notes[:, :PROGRAMS].any():  # no instrument left that a control could apply to
            allowed[self.vocabulary.bend0 : self.vocabulary.unused0] = False
        if not self.constraints.allow_ending or not self.has_notes:
            allowed[self.vocabulary.eos] = False
        if due_bar is not None:
            allowed = self._within(allowed, due_bar)
        now = self.cursor.time + self._rest_steps
        if now < self._not_before:
            return self._only_rests(allowed, self._not_before - now)
        if note_due:
            allowed = prefer(allowed, self._kinds == Kind.PITCH)
        if not self.constraints.allow_changes:  # in the opening nothing else is allowed
            allowed = prefer(allowed, self._no_change)
        return self._without_loops(allowed)

    def _within(self, allowed: np.ndarray, due_bar: int) -> np.ndarray:
        """Remove rests and changes of meter that would lead beyond the end of a bar."""
        vocabulary, cursor = self.vocabulary, self.cursor
        bars = due_bar + 1 - cursor.bar
        left = bars * cursor.bar_steps - cursor.step - self._rest_steps
        inside = np.ones(len(allowed), bool)
        if self._kind[self.rows[-1][0]] == Kind.SEP:
            inside[vocabulary.duration1 - 1 + left : vocabulary.meter0] = False
        else:
            inside[vocabulary.sep] = left > 1
            inside[self._kinds == Kind.METER] = left > cursor.bar_steps
        return prefer(allowed, inside)

    def _only_rests(self, allowed: np.ndarray, steps: int) -> np.ndarray:
        """Allow only rests, and none shorter than `steps` (or than the longest possible)."""
        tokens = np.arange(len(allowed))
        shortest = self.vocabulary.duration1 - 1 + min(steps, self.vocabulary.max_duration)
        in_rest = self._kind[self.rows[-1][0]] == Kind.SEP
        return prefer(allowed, tokens >= shortest if in_rest else tokens == self.vocabulary.sep)

    def _without_loops(self, allowed: np.ndarray) -> np.ndarray:
        """Remove what would continue a long loop; any duration may follow a pitch or <sep>."""
        if self._guard is None or self._kind[self.rows[-1][0]] in (Kind.PITCH, Kind.SEP):
            return allowed
        unblocked = np.ones(len(allowed), bool)
        unblocked[self._guard.blocked_symbols() // (NO_INSTRUMENT + 1)] = False
        return prefer(allowed, unblocked)

    def allowed_notes(self) -> np.ndarray:
        """Which instrument may play which pitch now, shape (128, I), bool.

        Within a step, notes are ordered by ascending class, then by descending pitch.
        """
        allowed = self._playable & self.constraints.instruments
        max_programs = self.constraints.max_programs
        if max_programs is not None and len(self._used_programs) >= max_programs:
            may_enter = np.arange(allowed.shape[1]) >= PROGRAMS
            may_enter[[*self._used_programs]] = True
            allowed &= may_enter
        if self._last_note is not None:
            instrument, pitch = self._last_note
            allowed[:, :instrument] = False
            allowed[pitch:, instrument] = False
        return allowed

    def inputs(self, first: int = 0) -> np.ndarray:
        """The model's inputs for the rows from `first` on, shape (5, tokens), int64.

        In this order: tokens, instruments (I for none), bars, steps, velocities (the number of
        bins for none).
        """
        tokens, instruments, velocities, bars, steps = np.array(self.rows[first:], np.int64).T
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
