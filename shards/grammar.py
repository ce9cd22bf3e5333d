"""Follow a token stream token by token: where it is in time, and which token may come next.

`shards.codec` encodes whole songs; generation needs the same after each token. Both agree: bars
and steps equal those of the arrays, and any stream of allowed tokens decodes.
"""

import numpy as np

from shards.vocabulary import Kind, Vocabulary


class Cursor:
    """Reads a stream, beginning with its <sos>.

    Attributes:
        bar, step: where the last token is, as in the arrays.
        time: the same in steps from the start of the song.
        bar_steps: steps in a bar of the meter in force.
        due: steps of rest between the last token, if that is a rest, and the next.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.bar = self.step = self.time = 0
        self.bar_steps = vocabulary.bar_steps[4, 4]
        self._meter = self._tempo = -1
        kinds = vocabulary.kind(np.arange(len(vocabulary)))
        self._readers = ["_read_" + Kind(kind).name.lower() for kind in kinds.tolist()]
        v = vocabulary
        notes = _range(v, v.pitch0, v.duration0 - v.pitch0)
        rests = _range(v, v.rest0, len(v.rests))
        controls = _range(v, v.bend0, len(v.bends))
        controls |= _range(v, v.modulation0, len(v.modulations))
        self._meters = _range(v, v.meter0, len(v.meters))
        self._tempos = _range(v, v.tempo0, len(v.tempos))
        self._durations = _range(v, v.duration0, len(v.durations))
        self._after_note = notes | rests | _range(v, v.eos, 1)
        self._after_shared = self._after_note | self._durations
        self._after_change = notes | rests | controls
        self._after_rests = notes | controls | self._meters | self._tempos
        self._rests = v.rests.tolist()
        self._rests_after = np.searchsorted(v.rests, v.rest_room, side="right").tolist()
        self._next = _range(v, v.sos, 1)
        self._is_melodic = ((kinds == Kind.PITCH) | (kinds == Kind.DURATION)).tolist()
        self._instrument = self._chord_class = self._chord_duration = -1
        self.due = 0

    def allowed(self) -> np.ndarray:
        """The tokens that may come next, shape (len(vocabulary),), bool; after <eos> only <pad>.

        Not to be changed: later calls may return the same array.
        """
        return self._next

    def push(self, token: int, instrument: int) -> tuple[int, int]:
        """Read the next token and its instrument class; returns its bar and step.

        Raises:
            ValueError: the grammar does not allow the token here.
        """
        if not 0 <= token < len(self.vocabulary) or not self._next[token]:
            raise ValueError(f"token id {token} may not come here")
        self.time += self.due
        self.bar, self.step = self.next_bar(), (self.step + self.due) % self.bar_steps
        self.due = 0
        self._instrument = instrument
        if not self._is_melodic[token]:
            self._chord_class = self._chord_duration = -1
        getattr(self, self._readers[token])(token)
        return self.bar, self.step

    def next_bar(self) -> int:
        """The bar in which the next token stands, unless that is a meter."""
        return self.bar + (self.step + self.due) // self.bar_steps

    def _read_pad(self, token: int) -> None:
        pass

    def _read_sos(self, token: int) -> None:
        v = self.vocabulary
        if v.meters:
            self._next = self._meters
        else:
            self._next = self._tempos if len(v.tempos) else self._after_change

    def _read_eos(self, token: int) -> None:
        self._next = _range(self.vocabulary, self.vocabulary.pad, 1)

    def _read_pitch(self, token: int) -> None:
        if self._instrument != self._chord_class:
            self._chord_class, self._next = self._instrument, self._durations
            return
        self._next = self._after_shared.copy()
        self._next[self._chord_duration] = False  # what it shares is not stated

    def _read_duration(self, token: int) -> None:
        self._chord_duration = token
        self._next = self._after_note

    def _read_drum(self, token: int) -> None:
        self._next = self._after_note

    def _read_rest(self, token: int) -> None:
        v, rest = self.vocabulary, token - self.vocabulary.rest0
        self.due = self._rests[rest]
        self._next = self._after_rests.copy()
        self._next[v.rest0 : v.rest0 + self._rests_after[rest]] = True
        for current in (self._meter, self._tempo):
            if current >= 0:
                self._next[current] = False

    def _read_meter(self, token: int) -> None:
        v, opening = self.vocabulary, self._meter < 0
        self._meter = token
        self.bar_steps = v.bar_steps[v.meters[token - v.meter0]]
        if self.step:
            self.bar, self.step = self.bar + 1, 0
        if opening and len(v.tempos):
            self._next = self._tempos
        else:
            self._next = self._after_change | self._tempos
            if self._tempo >= 0:
                self._next[self._tempo] = False

    def _read_tempo(self, token: int) -> None:
        self._tempo = token
        self._next = self._after_change

    def _read_bend(self, token: int) -> None:
        self._next = self._after_change

    _read_modulation = _read_bend


def _range(vocabulary: Vocabulary, first: int, count: int) -> np.ndarray:
    mask = np.zeros(len(vocabulary), bool)
    mask[first : first + count] = True
    return mask
