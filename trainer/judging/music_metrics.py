"""What is measured of a piece of music, as one number each: key, rhythm, texture, repetition.

Conventions
    pitched  notes of a program; drums have no pitch and are left out where pitches matter
    bar      from a song's first step to its last onset; a note sounds from its start to its end
    NaN      what has no value: the key of a song of drums alone

Sources:
    Wu and Yang 2020, The Jazz Transformer on the Front Line: pitch-class entropy, grooving
        similarity. https://arxiv.org/abs/2008.01307
    Mogren 2016, C-RNN-GAN: scale consistency, polyphony, repetitions.
        https://arxiv.org/abs/1611.09904
    Dong et al. 2018, MuseGAN: empty bars. https://arxiv.org/abs/1709.06298
    Dong et al. 2020, MusPy, section 5: the same and others for any music, by whose definitions
        we go unless a docstring says otherwise. https://arxiv.org/abs/2008.01951
    Yang and Lerch 2020, On the Evaluation of Generative Models in Music: pitch range, note
        length, and that distributions are compared. https://doi.org/10.1007/s00521-018-3849-7
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from shards.bars import Bars
from shards.song import Song
from shards.vocabulary import PROGRAMS

MAJOR = (0, 2, 4, 5, 7, 9, 11)


class Piece:
    """A song with its bars, as the measures look at it.

    Args:
        song: with at least one note.
        bar_steps: steps in a bar of each meter, as `Vocabulary.bar_steps`.

    Attributes:
        notes, pitched: dtype NOTE.
        quarter: steps in a quarter note.
        starts: shape (bars,); the step at which each bar begins.
        ends: shape (bars,); that at which it ends: where the next one begins.
        bars: shape (notes,); the bar in which each note starts.
    """

    def __init__(self, song: Song, bar_steps: Mapping[tuple[int, int], int]) -> None:
        self.notes, self.quarter = song.notes, song.steps_per_beat
        self.pitched = self.notes[self.notes["instrument"] < PROGRAMS]
        lines = Bars(song.meters, bar_steps)
        self.bars, _ = lines.positions(self.notes["start"])
        edges = lines.line(np.arange(int(self.bars.max()) + 2))
        self.starts, self.ends = edges[:-1], edges[1:]

    def bars_of_sound(self, notes: np.ndarray) -> np.ndarray:
        """Whether any of some notes sounds in each bar; shape (bars,), bool."""
        first = np.searchsorted(self.starts, notes["start"], side="right") - 1
        last = np.searchsorted(self.starts, notes["start"] + notes["duration"], side="left") - 1
        edges = np.zeros(len(self.starts) + 1, np.int64)
        np.add.at(edges, first, 1)
        np.add.at(edges, last + 1, -1)
        return np.cumsum(edges)[:-1] > 0


def pitch_class_entropy(piece: Piece, bars: int) -> float:
    """Bits of the histogram of pitch classes in so many bars, the mean over windows with notes.

    Windows begin at every bar; one that would go beyond the last bar is not taken, but where the
    song is shorter than a window it is the only one. Notes count where they start.

    Source: Wu and Yang 2020, section 5.2, H1 and H4.
    """
    count = len(piece.starts)
    at = piece.bars[piece.notes["instrument"] < PROGRAMS]
    histogram = np.zeros((count, 12))
    np.add.at(histogram, (at, piece.pitched["pitch"] % 12), 1)
    before = np.concatenate([np.zeros((1, 12)), np.cumsum(histogram, axis=0)])
    width = min(bars, count)
    windows = before[width:] - before[:-width]
    windows = windows[windows.any(axis=1)]
    if not len(windows):
        return math.nan
    shares = windows / windows.sum(axis=1, keepdims=True)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logs).sum(axis=1).mean())


def scale_consistency(piece: Piece) -> float:
    """The largest share of notes that lie in one scale, of the twelve major ones.

    The natural minor scales hold the same pitches as the major ones.
    """
    if not len(piece.pitched):
        return math.nan
    classes = np.bincount(piece.pitched["pitch"] % 12, minlength=12)
    tonics = np.arange(12)[:, None]
    return float(classes[(tonics + MAJOR) % 12].sum(axis=1).max() / len(piece.pitched))


def groove_consistency(piece: Piece) -> float:
    """How alike neighbouring bars are in which of their steps have onsets, drums included.

    One less the mean share of steps that differ. Only neighbours of the same length are compared.
    """
    lengths = piece.ends - piece.starts
    pairs = np.flatnonzero(lengths[1:] == lengths[:-1])
    if not len(pairs):
        return math.nan
    onsets = np.zeros((len(lengths), int(lengths.max())), bool)
    onsets[piece.bars, piece.notes["start"] - piece.starts[piece.bars]] = True
    differ = (onsets[pairs] != onsets[pairs + 1]).sum(axis=1)
    return float(1 - (differ / lengths[pairs]).mean())


def polyphony(piece: Piece) -> float:
    """Pitched notes that sound at a time, where any does.

    Two instruments on one pitch are two notes here, one in MusPy.
    """
    notes = piece.pitched
    if not len(notes):
        return math.nan
    order = np.argsort(notes["start"], kind="stable")
    starts = notes["start"][order]
    ends = starts + notes["duration"][order]
    until = np.maximum.accumulate(ends)
    gaps = np.maximum(starts[1:] - until[:-1], 0).sum()
    return float(notes["duration"].sum() / (until[-1] - starts[0] - gaps))


def empty_bars(piece: Piece) -> float:
    """The share of bars in which nothing sounds."""
    return float(1 - piece.bars_of_sound(piece.notes).mean())


def resting(piece: Piece) -> float:
    """The share of bars for which an instrument rests: the mean over instruments, drums one.

    Source: Dong et al. 2018, EB, there by track.
    """
    players = np.minimum(piece.notes["instrument"], PROGRAMS)
    sound = [piece.bars_of_sound(piece.notes[players == player]) for player in np.unique(players)]
    return float(1 - np.mean(sound))


def instruments(piece: Piece) -> float:
    """Programs that play, all drums together as one more."""
    return float(len(np.unique(np.minimum(piece.notes["instrument"], PROGRAMS))))


def notes_per_bar(piece: Piece) -> float:
    """Onsets a bar, drums included."""
    return len(piece.notes) / len(piece.starts)


def note_length(piece: Piece) -> float:
    """Mean length of the pitched notes, in quarter notes."""
    return (
        float(piece.pitched["duration"].mean() / piece.quarter) if len(piece.pitched) else math.nan
    )


def pitch_range(piece: Piece) -> float:
    """Semitones from the lowest pitched note to the highest."""
    return float(np.ptp(piece.pitched["pitch"].astype(int))) if len(piece.pitched) else math.nan


def repeated_bars(piece: Piece) -> float:
    """The share of bars with onsets that some earlier bar equals: start, length, pitch, player."""
    notes = piece.notes
    rows = np.stack(
        [
            notes["start"] - piece.starts[piece.bars],
            notes["duration"],
            notes["instrument"],
            notes["pitch"],
        ],
        axis=1,
    )
    edges = np.flatnonzero(np.diff(piece.bars)) + 1
    contents = [part.tobytes() for part in np.split(rows.astype(np.int64), edges)]
    return 1 - len(set(contents)) / len(contents)


@dataclass(frozen=True)
class Measure:
    """One of the measures.

    Attributes:
        title: in words, with its unit.
        of: finds it.
    """

    title: str
    of: Callable[[Piece], float]


MEASURES: dict[str, Measure] = {
    "pitch_class_entropy_1": Measure(
        "pitch classes in a bar, bits", lambda piece: pitch_class_entropy(piece, 1)
    ),
    "pitch_class_entropy_4": Measure(
        "pitch classes in 4 bars, bits", lambda piece: pitch_class_entropy(piece, 4)
    ),
    "scale_consistency": Measure("notes in one scale, share", scale_consistency),
    "pitch_range": Measure("pitch range, semitones", pitch_range),
    "groove_consistency": Measure("rhythm of next bar alike, share", groove_consistency),
    "note_length": Measure("note length, quarters", note_length),
    "notes_per_bar": Measure("notes a bar", notes_per_bar),
    "polyphony": Measure("notes at a time", polyphony),
    "instruments": Measure("instruments", instruments),
    "resting": Measure("bars an instrument rests, share", resting),
    "empty_bars": Measure("empty bars, share", empty_bars),
    "repeated_bars": Measure("bars that repeat one, share", repeated_bars),
}


def measure(piece: Piece) -> dict[str, float]:
    """All measures of a piece; NaN for what has no value."""
    return {name: measure.of(piece) for name, measure in MEASURES.items()}
