"""Describe a song by numbers: key, rhythm, texture, repetition.

Conventions
    pitched  a note of a program; percussion has no pitch and is left out where pitch matters
    bar      counted from the song's first step to its last onset
    sounds   a note sounds in every step from its start to before its end
    NaN      the metric is not defined, such as the scale of a song of drums alone

Sources:
    Wu and Yang 2020, The Jazz Transformer on the Front Line: pitch-class entropy, grooving
        similarity. https://arxiv.org/abs/2008.01307
    Mogren 2016, C-RNN-GAN: scale consistency, polyphony, repetitions.
        https://arxiv.org/abs/1611.09904
    Dong et al. 2018, MuseGAN: empty bars. https://arxiv.org/abs/1709.06298
    Dong et al. 2020, MusPy, section 5. https://arxiv.org/abs/2008.01951
        `scale_consistency`, `pitch_range` and `empty_bars` are defined as there;
        `pitch_class_entropy`, `groove_consistency` and `polyphony` differ as they say.
    Yang and Lerch 2020, On the Evaluation of Generative Models in Music: pitch range, note
        length, and comparing distributions. https://doi.org/10.1007/s00521-018-3849-7
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from shards.bars import Bars
from shards.song import Song
from shards.vocabulary import PROGRAMS

MAJOR = (0, 2, 4, 5, 7, 9, 11)


class BarredSong:
    """A song and its bars.

    Args:
        song: with at least one note.
        bar_steps: steps in a bar of each meter, as `Vocabulary.bar_steps`.

    Attributes:
        notes, pitched: dtype NOTE.
        steps_per_beat: of the song.
        starts: shape (bars,); the step at which each bar begins.
        ends: shape (bars,); the step at which the next bar begins.
        bars: shape (notes,); the bar in which each note starts.
    """

    def __init__(self, song: Song, bar_steps: Mapping[tuple[int, int], int]) -> None:
        self.notes, self.steps_per_beat = song.notes, song.steps_per_beat
        self.pitched = self.notes[self.notes["instrument"] < PROGRAMS]
        bars = Bars(song.meters, bar_steps)
        self.bars, _ = bars.locate(self.notes["start"])
        edges = bars.first_steps(np.arange(int(self.bars.max()) + 2))
        self.starts, self.ends = edges[:-1], edges[1:]

    def sounding_bars(self, notes: np.ndarray) -> np.ndarray:
        """Whether any of `notes` sounds in each bar; shape (bars,), bool."""
        first = np.searchsorted(self.starts, notes["start"], side="right") - 1
        last = np.searchsorted(self.starts, notes["start"] + notes["duration"], side="left") - 1
        edges = np.zeros(len(self.starts) + 1, np.int64)
        np.add.at(edges, first, 1)
        np.add.at(edges, last + 1, -1)
        return np.cumsum(edges)[:-1] > 0


def pitch_class_entropy(song: BarredSong, bars: int) -> float:
    """Entropy of the pitch classes within a window of `bars` bars, in bits; mean over windows.

    A window begins at every bar that has `bars` bars left; a shorter song is one window. Windows
    without pitched notes do not count. Notes count in the bar where they start. MusPy computes it
    over the whole song.

    Source: Wu and Yang 2020, section 5.2, H1 and H4.
    """
    count = len(song.starts)
    at = song.bars[song.notes["instrument"] < PROGRAMS]
    histogram = np.zeros((count, 12))
    np.add.at(histogram, (at, song.pitched["pitch"] % 12), 1)
    before = np.concatenate([np.zeros((1, 12)), np.cumsum(histogram, axis=0)])
    width = min(bars, count)
    windows = before[width:] - before[:-width]
    windows = windows[windows.any(axis=1)]
    if not len(windows):
        return math.nan
    shares = windows / windows.sum(axis=1, keepdims=True)
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(-(shares * logs).sum(axis=1).mean())


def scale_consistency(song: BarredSong) -> float:
    """Largest share of pitched notes that fit one of the twelve major scales.

    The natural minor scales have the same pitch classes, so they add nothing.
    """
    if not len(song.pitched):
        return math.nan
    classes = np.bincount(song.pitched["pitch"] % 12, minlength=12)
    tonics = np.arange(12)[:, None]
    return float(classes[(tonics + MAJOR) % 12].sum(axis=1).max() / len(song.pitched))


def groove_consistency(song: BarredSong) -> float:
    """Similarity of the onset steps of neighbouring bars, drums included; 1: all equal.

    1 minus the mean share of steps that have an onset in just one of the two bars. Neighbours of
    different length are left out; MusPy only allows songs with one meter.
    """
    lengths = song.ends - song.starts
    pairs = np.flatnonzero(lengths[1:] == lengths[:-1])
    if not len(pairs):
        return math.nan
    onsets = np.zeros((len(lengths), int(lengths.max())), bool)
    onsets[song.bars, song.notes["start"] - song.starts[song.bars]] = True
    differ = (onsets[pairs] != onsets[pairs + 1]).sum(axis=1)
    return float(1 - (differ / lengths[pairs]).mean())


def polyphony(song: BarredSong) -> float:
    """Mean number of pitched notes that sound, over the steps in which at least one does.

    Two instruments on the same pitch count as two; MusPy counts them as one.
    """
    notes = song.pitched
    if not len(notes):
        return math.nan
    order = np.argsort(notes["start"], kind="stable")
    starts = notes["start"][order]
    ends = starts + notes["duration"][order]
    until = np.maximum.accumulate(ends)
    gaps = np.maximum(starts[1:] - until[:-1], 0).sum()
    return float(notes["duration"].sum() / (until[-1] - starts[0] - gaps))


def empty_bars(song: BarredSong) -> float:
    """Share of bars in which nothing sounds."""
    return float(1 - song.sounding_bars(song.notes).mean())


def silent_bars(song: BarredSong) -> float:
    """Share of bars in which an instrument is silent; mean over instruments, all drums being one.

    Source: Dong et al. 2018, EB, there per track.
    """
    parts = split_by_instrument(song.notes)
    return float(1 - np.mean([song.sounding_bars(notes) for notes in parts]))


def instruments(song: BarredSong) -> float:
    """Number of programs that play, plus one if any drums do."""
    return float(len(split_by_instrument(song.notes)))


def notes_per_bar(song: BarredSong) -> float:
    """Mean number of onsets per bar, drums included."""
    return len(song.notes) / len(song.starts)


def note_length(song: BarredSong) -> float:
    """Mean duration of the pitched notes, in quarter notes."""
    durations = song.pitched["duration"]
    return float(durations.mean() / song.steps_per_beat) if len(durations) else math.nan


def pitch_range(song: BarredSong) -> float:
    """Semitones from the lowest pitched note to the highest."""
    return float(np.ptp(song.pitched["pitch"].astype(int))) if len(song.pitched) else math.nan


def repeated_bars(song: BarredSong) -> float:
    """Share of bars with onsets whose notes equal those of an earlier bar.

    Equal in start within the bar, duration, instrument and pitch.
    """
    notes = song.notes
    starts = notes["start"] - song.starts[song.bars]
    columns = starts, notes["duration"], notes["instrument"], notes["pitch"]
    rows = np.stack(columns, axis=1)
    edges = np.flatnonzero(np.diff(song.bars)) + 1
    contents = [bar.tobytes() for bar in np.split(rows.astype(np.int64), edges)]
    return 1 - len(set(contents)) / len(contents)


class Metric(NamedTuple):
    """The title of a metric, with its unit, and its function."""

    title: str
    compute: Callable[[BarredSong], float]


METRICS: dict[str, Metric] = {
    "pitch_class_entropy_1": Metric(
        "pitch-class entropy, 1 bar, bits", lambda song: pitch_class_entropy(song, 1)
    ),
    "pitch_class_entropy_4": Metric(
        "pitch-class entropy, 4 bars, bits", lambda song: pitch_class_entropy(song, 4)
    ),
    "scale_consistency": Metric("notes in one scale, share", scale_consistency),
    "pitch_range": Metric("pitch range, semitones", pitch_range),
    "groove_consistency": Metric("groove consistency, share", groove_consistency),
    "note_length": Metric("note length, quarter notes", note_length),
    "notes_per_bar": Metric("notes per bar", notes_per_bar),
    "polyphony": Metric("polyphony, notes", polyphony),
    "instruments": Metric("instruments", instruments),
    "silent_bars": Metric("silent bars per instrument, share", silent_bars),
    "empty_bars": Metric("empty bars, share", empty_bars),
    "repeated_bars": Metric("repeated bars, share", repeated_bars),
}


def compute_metrics(song: BarredSong) -> dict[str, float]:
    """All metrics of a song; NaN where one is not defined."""
    return {name: metric.compute(song) for name, metric in METRICS.items()}


def split_by_instrument(notes: np.ndarray) -> list[np.ndarray]:
    """The notes of each program, then those of all drums; each in the given order."""
    instruments = np.minimum(notes["instrument"], PROGRAMS)
    return [notes[instruments == instrument] for instrument in np.unique(instruments)]
