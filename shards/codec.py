"""Encode a song as parallel arrays of tokens, instruments, velocities, bars and steps; and back.

The stream
    <sos>
    r7                       rest: time moves on by 7 steps; a long one takes several tokens, each
                             the longest that fits
    [m3/4] [t120.0]          meter and tempo, where they change; always both at the song's start
    b50 w18 …                bends and modulations that change: by class, bend first
    n60 d12 n55 n48 d3 …     pitch and duration of each melodic note: by instrument class, then
                             pitch from high to low; a note without a duration lasts as long as
                             the one right before it, of the same chord and class
    k36 k42 …                drums: by key; a drum note lasts `drum_duration` steps
    <eos>

Parallel to the tokens: the instrument class at every token of a note and at a control, and the
velocity bin at the first token of a note, 255 elsewhere; the bar, and the step in the bar, at
which the token takes effect. For a rest that is where it starts, for <eos> the last onset.

Both directions are exact: `encode(decode(x)) == x` for every x that `encode` made, and
`decode(encode(song)) == song` for every canonical song (see `shards.song`) on the vocabulary's
grid.
"""

from dataclasses import dataclass, fields

import numpy as np

from shards.bars import Bars
from shards.song import (
    BEND,
    COMMON_TIME,
    CONTROL,
    DEFAULT_TEMPO,
    METER,
    MODULATION,
    NOTE,
    TEMPO,
    Song,
    changes,
    control_changes,
    sort_notes,
)
from shards.vocabulary import (
    NO_INSTRUMENT,
    NO_VELOCITY,
    PROGRAMS,
    Kind,
    Vocabulary,
    bend_bins,
    modulation_bins,
    velocity_bin,
    velocity_of_bin,
)

MAX_BARS = 1 << 16
"""Bars are stored as uint16."""


@dataclass(frozen=True, eq=False)
class EncodedSong:
    """One song as five arrays of one length, shape (tokens,).

    Attributes:
        tokens: uint16, ids of the vocabulary.
        instruments: uint8, class at every token of a note and at a control, 255 elsewhere.
        velocities: uint8, bin 0-31 at the first token of a note, 255 elsewhere.
        bars: uint16, bar counted from 0.
        steps: uint8 or uint16 (`vocabulary.step_dtype`), steps into the bar.
    """

    tokens: np.ndarray
    instruments: np.ndarray
    velocities: np.ndarray
    bars: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        bars = int(self.bars[-1]) + 1 if len(self.bars) else 0
        return f"<EncodedSong: {len(self):,} tokens, {bars:,} bars>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncodedSong) and all(
            np.array_equal(getattr(self, array.name), getattr(other, array.name))
            for array in fields(self)
        )


class Codec:
    """Encodes and decodes songs with one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._ids_of_tempos = {
            int(tempo): vocabulary.tempo0 + n for n, tempo in enumerate(vocabulary.tempos)
        }

    def encode(self, song: Song) -> EncodedSong:
        """Turn a canonical song into its arrays.

        Raises:
            ValueError: the song has no notes, has more than 65,536 bars, or has a grid, meter,
                tempo, control, duration, instrument or drum that the vocabulary lacks.
        """
        self.check(song)
        self.check_notes(song.notes)
        vocabulary, notes = self.vocabulary, song.notes
        steps, ids, widths, note_items, control_items = self._items(song)
        gaps = np.diff(steps, prepend=0)
        rests = vocabulary.rest_counts(gaps)
        ends = 1 + np.cumsum(rests + widths)
        at = ends - widths

        length = int(ends[-1]) + 1
        tokens = np.empty(length, np.uint16)
        times = np.empty(length, np.int64)
        instruments = np.full(length, NO_INSTRUMENT, np.uint8)
        velocities = np.full(length, NO_VELOCITY, np.uint8)

        tokens[0], tokens[-1] = vocabulary.sos, vocabulary.eos
        times[0], times[-1] = 0, steps[-1]
        tokens[at] = ids
        times[at] = steps
        self.write_rests(tokens, times, at - rests, gaps, steps)

        note_at = at[note_items]
        instruments[note_at] = notes["instrument"]
        velocities[note_at] = velocity_bin(notes["velocity"])
        stated = widths[note_items] == 2  # tokens: the other is the duration
        duration_at = note_at[stated] + 1
        durations = vocabulary.nearest_durations[notes["duration"][stated]]
        tokens[duration_at] = vocabulary.duration0 + durations
        times[duration_at] = notes["start"][stated]
        instruments[duration_at] = notes["instrument"][stated]
        instruments[at[control_items]] = song.controls["instrument"]

        bars, within = self.bars(song, int(steps[-1])).locate(times)
        return EncodedSong(
            tokens,
            instruments,
            velocities,
            bars.astype(np.uint16),
            within.astype(vocabulary.step_dtype),
        )

    def _items(self, song: Song) -> tuple[np.ndarray, ...]:
        """Meters, tempos, controls and notes in stream order.

        Returns:
            Step, first token's id and number of tokens of each item, shape (items,); and the
            indices of the notes among the items, shape (notes,), and of the controls.
        """
        vocabulary, instrument = self.vocabulary, song.notes["instrument"].astype(np.int64)
        steps, ids, classes = self.changes(song)
        note_ids = np.where(
            instrument < PROGRAMS,
            vocabulary.pitch0 + song.notes["pitch"],
            vocabulary.drum0 + instrument - PROGRAMS,
        )
        widths = np.concatenate([np.ones(len(ids), np.int64), 1 + states_duration(song.notes)])
        steps = np.concatenate([steps, song.notes["start"]])
        order = np.argsort(steps, kind="stable")  # changes before notes
        is_note = order >= len(ids)
        is_control = ~is_note
        is_control[is_control] = classes[order[~is_note]] != NO_INSTRUMENT
        return (
            steps[order],
            np.concatenate([ids, note_ids])[order],
            widths[order],
            np.flatnonzero(is_note),
            np.flatnonzero(is_control),
        )

    def bars(self, song: Song, last: int) -> Bars:
        """The bar lines of a song whose last item is at step `last`.

        Raises:
            ValueError: it has more bars than the arrays hold.
        """
        bars = Bars(song.meters, self.vocabulary.bar_steps)
        count = int(bars.locate(np.array([last]))[0][0]) + 1
        if count > MAX_BARS:
            raise ValueError(f"the song has {count} bars; the arrays hold {MAX_BARS}")
        return bars

    def changes(self, song: Song) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of a song's meters, tempos and controls, in stream order.

        Returns:
            Step, id and instrument class (NO_INSTRUMENT unless a control) of each, shape
            (changes,); int64, int64, uint8.
        """
        meter_ids, tempo_ids = self._change_ids(song)
        meters = song.meters["start"][: len(meter_ids)]
        tempos = song.tempos["start"][: len(tempo_ids)]
        steps = np.concatenate([meters, tempos, song.controls["start"]])
        ids = np.concatenate([meter_ids, tempo_ids, self._control_ids(song)]).astype(np.int64)
        classes = np.full(len(steps), NO_INSTRUMENT, np.uint8)
        classes[len(steps) - len(song.controls) :] = song.controls["instrument"]
        if len(steps) == len(meter_ids) + len(tempo_ids) == 2:  # most songs
            return steps, ids, classes
        order = np.argsort(steps, kind="stable")  # meter, tempo, controls
        return steps[order], ids[order], classes[order]

    def _control_ids(self, song: Song) -> np.ndarray:
        vocabulary, value = self.vocabulary, song.controls["value"]
        if not len(value):
            return np.zeros(0, np.int64)
        return np.where(
            song.controls["kind"] == BEND,
            vocabulary.bend0 + bend_bins(value),
            vocabulary.modulation0 + modulation_bins(value),
        )

    def _change_ids(self, song: Song) -> tuple[list[int], list[int]]:
        """The ids of the song's meters and of its tempos; empty where switched off."""
        settings, tempos = self.vocabulary.settings, song.tempos["microseconds"].tolist()
        pairs = zip(
            song.meters["numerator"].tolist(), song.meters["denominator"].tolist(), strict=True
        )
        return (
            [self.vocabulary.meter_id(*pair) for pair in pairs] if settings.meters else [],
            [self._ids_of_tempos[tempo] for tempo in tempos] if settings.tempos else [],
        )

    def write_rests(
        self,
        tokens: np.ndarray,
        times: np.ndarray,
        at: np.ndarray,
        gaps: np.ndarray,
        steps: np.ndarray,
    ) -> np.ndarray:
        """Write the rests before each item, the longest that fits first.

        Args:
            tokens, times: shape (tokens,); where the rests and the steps they start at are written.
            at: shape (items,); the place of each item's first rest.
            gaps: shape (items,); how many steps it rests before it.
            steps: shape (items,); the step at which each item stands.

        Returns:
            shape (rests,), the place of each rest, in no order.
        """
        vocabulary, places = self.vocabulary, []
        while len(open_ := np.flatnonzero(gaps)):
            if len(open_) < len(gaps):
                at, gaps, steps = at[open_], gaps[open_], steps[open_]
            rests = vocabulary.longest_rests[np.minimum(gaps, vocabulary.rests[-1])]
            tokens[at], times[at] = vocabulary.rest0 + rests, steps - gaps
            places.append(at)
            at, gaps = at + 1, gaps - vocabulary.rests[rests]
        return np.concatenate([*places, at[:0]])

    def check(self, song: Song) -> None:
        """Raise ValueError for a song that cannot be encoded, whatever its durations and keys."""
        vocabulary, notes = self.vocabulary, song.notes
        settings = vocabulary.settings
        if song.steps_per_beat != settings.steps_per_beat:
            raise ValueError(
                f"the song has {song.steps_per_beat} steps per beat, the vocabulary "
                f"{settings.steps_per_beat}"
            )
        if not len(notes):
            raise ValueError("a song without notes cannot be encoded")
        if notes["instrument"].max() >= vocabulary.instruments:
            raise ValueError(
                f"instrument {notes['instrument'].max()} is not among the vocabulary's "
                f"{vocabulary.instruments}"
            )
        if not settings.meters and song.meters.tolist() != [COMMON_TIME]:
            raise ValueError("the vocabulary has no meters, so the song must be in 4/4")
        if not settings.tempos and song.tempos.tolist() != [DEFAULT_TEMPO]:
            raise ValueError("the vocabulary has no tempos, so the song must be at 120")
        self._check_controls(song.controls)

    def check_notes(self, notes: np.ndarray) -> None:
        """Raise ValueError for a note whose duration has no token, or a drum with another's key."""
        vocabulary, duration = self.vocabulary, notes["duration"]
        if duration.min() < 1 or duration.max() > vocabulary.max_duration:
            raise ValueError(f"a duration is outside 1 to {vocabulary.max_duration} steps")
        unknown = duration[~vocabulary.has_duration[duration]]
        if len(unknown):
            raise ValueError(f"the vocabulary has no note of {unknown[0]} steps")
        drums = np.flatnonzero(notes["instrument"] >= PROGRAMS)
        unknown = duration[drums][duration[drums] != vocabulary.drum_duration]
        if len(unknown):
            raise ValueError(f"the vocabulary has no drum of {unknown[0]} steps")
        keys, classes = notes["pitch"][drums], notes["instrument"][drums]
        wrong = np.flatnonzero(vocabulary.drum_classes[keys] != classes)
        if len(wrong):
            raise ValueError(f"key {keys[wrong[0]]} is not of drum {classes[wrong[0]]}")

    def _check_controls(self, controls: np.ndarray) -> None:
        if not len(controls):
            return
        if controls["instrument"].max() >= PROGRAMS:
            raise ValueError("a drum has neither bend nor modulation")
        allowed = {BEND: self.vocabulary.bends, MODULATION: self.vocabulary.modulations}
        for kind, values in allowed.items():
            unknown = np.setdiff1d(controls["value"][controls["kind"] == kind], values)
            if len(unknown):
                raise ValueError(f"the vocabulary has no token for {unknown[0]} of control {kind}")

    def decode(self, encoded: EncodedSong) -> Song:
        """Turn arrays back into the song. Bars and steps are not read: the tokens imply them.

        Raises:
            ValueError: the tokens do not follow the grammar; names the first that does not.
        """
        tokens = encoded.tokens.astype(np.int64)
        self._check_grammar(tokens, self.vocabulary.kind(tokens), encoded.instruments)
        return self.song_of(encoded, self.times(tokens))

    def times(self, tokens: np.ndarray) -> np.ndarray:
        """Steps from the song's start to each token, same shape, int64; of a rest, to its end."""
        return np.cumsum(self.vocabulary.rest_steps.take(tokens, mode="clip"))

    def song_of(self, encoded: EncodedSong, time: np.ndarray) -> Song:
        """The song of tokens that stand at given steps: chords in order, steps in any.

        Args:
            encoded: its tokens, instruments and velocities are read.
            time: shape (tokens,), int64.
        """
        vocabulary, tokens = self.vocabulary, encoded.tokens.astype(np.int64)
        kind = vocabulary.kind(tokens)
        at = np.flatnonzero(vocabulary.is_note(tokens))
        is_drum, drums = kind[at] == Kind.DRUM, tokens[at] - vocabulary.drum0
        notes = np.empty(len(at), NOTE)
        notes["start"] = time[at]
        notes["duration"][is_drum] = vocabulary.drum_duration
        stated = np.flatnonzero(kind == Kind.DURATION)
        last_stated = np.searchsorted(stated, at[~is_drum] + 1, side="right") - 1
        durations = tokens[stated[last_stated]] - vocabulary.duration0
        notes["duration"][~is_drum] = vocabulary.durations[durations]
        notes["instrument"] = np.where(is_drum, PROGRAMS + drums, encoded.instruments[at])
        notes["pitch"] = tokens[at] - vocabulary.pitch0
        notes["pitch"][is_drum] = vocabulary.low_key + drums[is_drum]
        notes["velocity"] = velocity_of_bin(encoded.velocities[at])
        return Song(
            sort_notes(notes),
            self._decode_meters(tokens, time),
            self._decode_tempos(tokens, kind, time),
            self.vocabulary.settings.steps_per_beat,
            self._decode_controls(tokens, kind, time, encoded.instruments),
        )

    def bar_lines(self, encoded: EncodedSong, times: np.ndarray | None = None) -> Bars:
        """The bar lines of an encoded song; `times` of its tokens, if they are known."""
        tokens = encoded.tokens
        times = self.times(tokens) if times is None else times
        return Bars(self._decode_meters(tokens, times), self.vocabulary.bar_steps)

    def _decode_controls(
        self, tokens: np.ndarray, kind: np.ndarray, time: np.ndarray, instruments: np.ndarray
    ) -> np.ndarray:
        vocabulary = self.vocabulary
        at = np.flatnonzero((kind == Kind.BEND) | (kind == Kind.MODULATION))
        is_bend = kind[at] == Kind.BEND
        controls = np.empty(len(at), CONTROL)
        controls["start"] = time[at]
        controls["instrument"] = instruments[at]
        controls["kind"] = np.where(is_bend, BEND, MODULATION)
        controls["value"][is_bend] = vocabulary.bends[tokens[at[is_bend]] - vocabulary.bend0]
        levels = tokens[at[~is_bend]] - vocabulary.modulation0
        controls["value"][~is_bend] = vocabulary.modulations[levels]
        return control_changes(_by_start(controls))

    def _decode_meters(self, tokens: np.ndarray, time: np.ndarray) -> np.ndarray:
        at = np.flatnonzero((tokens >= self.vocabulary.meter0) & (tokens < self.vocabulary.tempo0))
        pairs = [self.vocabulary.meters[token - self.vocabulary.meter0] for token in tokens[at]]
        rows = [(step, *pair) for step, pair in zip(time[at].tolist(), pairs, strict=True)]
        return changes(_by_start(np.array(rows, METER)), COMMON_TIME)

    def _decode_tempos(self, tokens: np.ndarray, kind: np.ndarray, time: np.ndarray) -> np.ndarray:
        at = np.flatnonzero(kind == Kind.TEMPO)
        tempos = np.empty(len(at), TEMPO)
        tempos["start"] = time[at]
        if len(at):
            tempos["microseconds"] = self.vocabulary.tempos[tokens[at] - self.vocabulary.tempo0]
        return changes(_by_start(tempos), DEFAULT_TEMPO)

    def _check_grammar(self, tokens: np.ndarray, kind: np.ndarray, instruments: np.ndarray) -> None:
        """A stream opens with <sos>, ends with <eos>; each pitch has a duration, or shares one."""
        if len(tokens) < 2 or kind[0] != Kind.SOS or kind[-1] != Kind.EOS:
            raise ValueError("a song's tokens open with <sos> and end with <eos>")
        inner, outer = kind[1:], kind[:-1]
        is_melodic = (outer == Kind.PITCH) | (outer == Kind.DURATION)
        follows = np.zeros(len(outer), bool)  # the pitch is not the first of its class in a chord
        follows[1:] = is_melodic[:-1] & (instruments[1:-1] == instruments[:-2])
        is_stated = inner == Kind.DURATION
        wrong = np.where(outer == Kind.PITCH, ~is_stated & ~follows, is_stated)
        wrong[:-1] |= (inner[:-1] < Kind.PITCH) | (inner[:-1] > Kind.MODULATION)
        if wrong.any():
            index = 1 + int(wrong.argmax())
            name, before = self._name(tokens[index]), self._name(tokens[index - 1])
            raise ValueError(f"token {index} is {name} after {before}")

    def _name(self, token: int) -> str:
        known = token < len(self.vocabulary)
        return self.vocabulary.names[token] if known else f"the unknown id {token}"


def states_duration(notes: np.ndarray) -> np.ndarray:
    """Which notes, in canonical order, have a duration token; shape (notes,), bool.

    Of programs all but those as long as the note before, where that is of the same chord and class.
    """
    stated = notes["instrument"] < PROGRAMS
    shared = stated[1:].copy()
    for name in ("start", "instrument", "duration"):
        shared &= notes[name][1:] == notes[name][:-1]
    stated[1:] &= ~shared
    return stated


def _by_start(events: np.ndarray) -> np.ndarray:
    """Events in the order of time; those of one step as they are."""
    return events[np.argsort(events["start"], kind="stable")] if len(events) > 1 else events
