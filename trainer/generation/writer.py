"""One song in the making: its arrays so far, where it stands in time, and what may come next.

Whatever keeps to what is allowed here is a canonical song: it decodes, and encoding it again
gives the same tokens. The grammar (`shards.grammar`) sees to pairs and rests, this file to the
order of the notes of a chord, to who may play, and to when.

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
from trainer.generation.repetition_guard import LoopGuard

USUAL_VELOCITY = 20
"""Velocity bin of an instrument's first note, MIDI 82, where no head predicts it: about the mean
of Lakh."""
PITCHES = 128


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a song is held to.

    Attributes:
        band: shape (I,), bool; who may play.
        most_programs: how many different programs may play; None: any number.
        may_change: whether meter and tempo may change once the song has begun.
        may_end: whether the song may end by itself.
        max_loop_bars: bars for which a loop may run; None: for ever.
    """

    band: np.ndarray
    most_programs: int | None = None
    may_change: bool = True
    may_end: bool = False
    max_loop_bars: int | None = None


class Writer:
    """Writes one song.

    Args:
        vocabulary: of the model.
        rules: what new tokens are held to.

    Attributes:
        rows: what has been written, the prompt included.
        seconds: from the song's start to the last token.
        ended: whether the song has ended by itself.
    """

    def __init__(self, vocabulary: Vocabulary, rules: Rules) -> None:
        self.vocabulary, self.rules = vocabulary, rules
        self.cursor = Cursor(vocabulary)
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.seconds, self.ended = 0.0, False
        self._kinds = vocabulary.kind(np.arange(len(vocabulary)))
        self._kind = self._kinds.tolist()
        self._steady = (self._kinds != Kind.METER) & (self._kinds != Kind.TEMPO)
        self._fits = np.stack([vocabulary.instrument_allows(pitch) for pitch in range(PITCHES)])
        self._tempo = DEFAULT_TEMPO[1]
        self._last_note: tuple[int, int] | None = None  # class and pitch, at this step
        self._heard: set[int] = set()  # programs of the band
        self._velocity: dict[int, int] = {}
        self._rest = self._not_before = self._whole = self._prompted = 0
        self._loops = LoopGuard(rules.max_loop_bars) if rules.max_loop_bars is not None else None

    @property
    def has_notes(self) -> bool:
        """Whether there is a whole note that is not the prompt's."""
        return self._whole > self._prompted

    def start(self, prompt: EncodedSong | None = None, *, not_before: int = 0) -> None:
        """Begin with <sos>, or with all of a prompt but its <eos>.

        Args:
            prompt: the song's beginning.
            not_before: the step before which nothing new is played.
        """
        if prompt is None:
            self.add(self.vocabulary.sos, NO_INSTRUMENT, NO_VELOCITY)
            return
        columns = prompt.tokens[:-1], prompt.instruments[:-1], prompt.velocities[:-1]
        for row in zip(*(column.tolist() for column in columns), strict=True):
            self.add(*row)
        self._not_before, self._prompted = not_before, len(self.rows)

    def add(self, token: int, instrument: int, velocity: int) -> None:
        """Write a token that the grammar allows."""
        before = self.cursor.time
        bar, step = self.cursor.push(token)
        beat = self.vocabulary.settings.steps_per_beat
        self.seconds += (self.cursor.time - before) * self._tempo / (1e6 * beat)
        self.rows.append((token, instrument, velocity, bar, step))
        self._note(token, instrument, velocity)
        if self._loops:
            self._loops.push(token * (NO_INSTRUMENT + 1) + instrument, bar)

    def _note(self, token: int, instrument: int, velocity: int) -> None:
        """Keep what the next token depends on."""
        kind = self._kind[token]
        after_sep = len(self.rows) > 1 and self._kind[self.rows[-2][0]] == Kind.SEP
        self._rest = 0
        if kind == Kind.PITCH:
            self._last_note = instrument, token - self.vocabulary.pitch0
            self._velocity[instrument] = velocity
            if instrument < PROGRAMS and self.rules.band[instrument]:
                self._heard.add(instrument)
        elif kind == Kind.DURATION and after_sep:
            self._rest = token - self.vocabulary.duration1 + 1
        elif kind == Kind.DURATION:
            self._whole = len(self.rows)
        elif kind == Kind.SEP:
            self._last_note = None
        elif kind == Kind.TEMPO:
            self._tempo = int(self.vocabulary.tempos[token - self.vocabulary.tempo0])
        elif kind == Kind.EOS:
            self.ended = True

    def add_next(self, token: int, instrument: int, velocity: int | None = None) -> None:
        """Write a drawn token; instrument and velocity are looked at where it is a pitch,
        the instrument of a control too.

        Without a velocity the note is as loud as its instrument's last one.
        """
        if self._kind[token] == Kind.PITCH:
            if velocity is None:
                velocity = self._velocity.get(instrument, USUAL_VELOCITY)
            self.add(token, instrument, velocity)
            return
        if self.vocabulary.has_instrument(token):  # a control
            self.add(token, instrument, NO_VELOCITY)
            return
        last, player, *_ = self.rows[-1]
        of_note = self._kind[last] == Kind.PITCH
        self.add(token, player if of_note else NO_INSTRUMENT, NO_VELOCITY)

    def has_instrument(self, token: int) -> bool:
        """Whether an instrument class comes with a token: a pitch's, or a control's."""
        return bool(self.vocabulary.has_instrument(token))

    def players_of(self, token: int) -> np.ndarray:
        """Which classes may come with a token that names one, shape (I,), bool."""
        players = self.players()
        if self._kind[token] == Kind.PITCH:
            return players[token - self.vocabulary.pitch0]
        programs = np.arange(players.shape[1]) < PROGRAMS
        return players.any(axis=0) & programs

    def tokens(self, *, note_due: bool = False) -> np.ndarray:
        """Which tokens may come next, shape (V,), bool; never none.

        Args:
            note_due: whether only a note will do, where one may come.
        """
        allowed = self.cursor.allowed().copy()
        first = self.vocabulary.pitch0
        if allowed[first]:
            allowed[first : first + PITCHES] = self.players().any(axis=1)
        if not self.players()[:, :PROGRAMS].any():  # nobody to bend
            allowed[self.vocabulary.bend0 : self.vocabulary.unused0] = False
        if not self.rules.may_end or not self.has_notes:
            allowed[self.vocabulary.eos] = False
        now = self.cursor.time + self._rest
        if now < self._not_before:
            return self._wait(allowed, self._not_before - now)
        if note_due:
            allowed = prefer(allowed, self._kinds == Kind.PITCH)
        if not self.rules.may_change:  # the opening is no change: there nothing else may come
            allowed = prefer(allowed, self._steady)
        return self._break_loops(allowed)

    def _wait(self, allowed: np.ndarray, steps: int) -> np.ndarray:
        """Only rests, and none that ends before so many steps."""
        tokens = np.arange(len(allowed))
        shortest = self.vocabulary.duration1 - 1 + min(steps, self.vocabulary.max_duration)
        resting = self._kind[self.rows[-1][0]] == Kind.SEP
        wanted = tokens >= shortest if resting else tokens == self.vocabulary.sep
        return prefer(allowed, wanted)

    def _break_loops(self, allowed: np.ndarray) -> np.ndarray:
        """Without what would go on with a tired loop; a note once begun keeps its duration."""
        if self._loops is None or self._kind[self.rows[-1][0]] in (Kind.PITCH, Kind.SEP):
            return allowed
        fresh = np.ones(len(allowed), bool)
        fresh[self._loops.tired() // (NO_INSTRUMENT + 1)] = False
        return prefer(allowed, fresh)

    def players(self) -> np.ndarray:
        """Which classes may play which pitch now, shape (128, I), bool.

        Within a step notes go up by class, and within a class down by pitch.
        """
        fits = self._fits & self.rules.band
        most = self.rules.most_programs
        if most is not None and len(self._heard) >= most:
            heard = [*self._heard]
            known = np.arange(fits.shape[1]) >= PROGRAMS
            known[heard] = True
            fits &= known
        if self._last_note is not None:
            instrument, pitch = self._last_note
            fits[:, :instrument] = False
            fits[pitch:, instrument] = False
        return fits

    def inputs(self, first: int = 0) -> np.ndarray:
        """Rows from `first` on as a model's inputs, shape (5, tokens), int64.

        In this order: tokens, instruments (I for none), bars, steps, velocities (the number of
        bins for none).
        """
        tokens, instruments, velocities, bars, steps = np.array(self.rows[first:], np.int64).T
        none = instruments == NO_INSTRUMENT
        classes = np.where(none, self.vocabulary.instruments, instruments)
        bins = np.where(velocities == NO_VELOCITY, VELOCITY_BINS, velocities)
        return np.stack([tokens, classes, bars, steps, bins])

    def finish(self) -> EncodedSong:
        """The song up to its last whole note, ended."""
        rows = self.rows[: self._whole]
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
    """Of what is allowed only what is wanted, if there is any of it."""
    both = allowed & wanted
    return both if both.any() else allowed
