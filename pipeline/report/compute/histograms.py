"""The distributions that the report shows: a table, one line per histogram.

Conventions
    edges   bin k holds edges[k] <= value < edges[k + 1]; values outside are counted as below or
            above. Edges are fixed, so that histograms of two datasets can be compared, and
            histograms of two parts can be added up
    empty   bins at the ends that hold nothing are left out
"""

from dataclasses import dataclass

import numpy as np

from pipeline.report.compute.songs import Songs
from pipeline.report.number_format import significant
from pipeline.report.schema import Distribution
from shards.vocabulary import MIN_BPM, TEMPOS_PER_OCTAVE

MIN_BINS = 12
"""At least so many bins stay, though empty: one bar alone shows no distribution."""


def even(low: float, high: float, width: float) -> tuple[float, ...]:
    """Edges of bins of equal width from low to high."""
    bins = round((high - low) / width)
    edges = [round(low + width * number, 6) for number in range(bins + 1)]
    return tuple(int(edge) if edge == int(edge) else edge for edge in edges)


def octaves(low: int, high: int, bins: int = 4) -> tuple[int, ...]:
    """Whole edges from low to high, `bins` of them each time the value doubles."""
    steps = round(bins * np.log2(high / low))
    return tuple(int(np.ceil(low * 2.0 ** (step / bins) - 1e-9)) for step in range(steps + 1))


def tempo_edges() -> tuple[float, ...]:
    """Edges between tempo tokens, two tokens to a bin, from 28.7 to 331 beats per minute.

    A bin of any other width holds one token here and two there, which makes a comb. One token to
    a bin leaves the comb of the round tempos that people write, most at multiples of ten.
    """
    bins = (2 * number - 0.5 for number in range(TEMPOS_PER_OCTAVE // 2, 37))
    return tuple(round(MIN_BPM * 2.0 ** (at / TEMPOS_PER_OCTAVE), 1) for at in bins)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the table.

    Attributes:
        name: its key in report.json, and the column of the index where `column` is not given.
        group: the section of the report that shows it.
        title, unit: of its chart.
        look_for: the sentence under the chart.
        edges: of its bins.
        column: the column of the index.
        per: a column to divide by.
        positive: leave out songs where it is 0.
        whole: values are whole numbers, and each bin holds one of them.
        labels: values to label on its axis; empty: by rule.
        label_every: possible distances between labels on its axis, ascending.
    """

    name: str
    group: str
    title: str
    unit: str
    look_for: str
    edges: tuple[float, ...]
    column: str | None = None
    per: str | None = None
    positive: bool = False
    whole: bool = False
    labels: tuple[float, ...] = ()
    label_every: tuple[float, ...] = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)

    def values(self, songs: Songs) -> np.ndarray:
        """The value of each song that has one; float64."""
        column = songs[self.column or self.name].drop_null().to_numpy().astype(np.float64)
        if self.per:
            column = column / songs[self.per].to_numpy()
        return column[column > 0] if self.positive else column

    @property
    def is_log(self) -> bool:
        """Whether its bins grow with the value."""
        return self.edges[-1] - self.edges[-2] > 2 * (self.edges[1] - self.edges[0])


MEASURES = (
    Measure(
        name="tokens", group="length", title="Tokens per song", unit="tokens",
        look_for="A trainer's memory should cover much of the median song. The axis doubles "
        "from mark to mark.",
        edges=octaves(16, 2**20),
    ),
    Measure(
        name="notes", group="length", title="Notes per song", unit="notes",
        look_for="A second hump far to the left means ring tones and fragments: raise min_notes.",
        edges=octaves(8, 2**17),
    ),
    Measure(
        name="seconds", group="length", title="Length in time", unit="s",
        look_for="Pop songs last three to five minutes; a spike at one length is often one song "
        "many times.",
        edges=even(0, 600, 15), label_every=(30, 60, 120),
    ),
    Measure(
        name="bars", group="length", title="Length in bars", unit="bars",
        look_for="Should look like the length in time; a long tail only here means wrong meters "
        "or tempos.",
        edges=even(0, 320, 8), label_every=(16, 32, 64),
    ),
    Measure(
        name="bpm", group="time", title="Tempo", unit="beats/min",
        look_for="A spike at 120 means files that state no tempo. The axis doubles from mark to "
        "mark; a column holds two tempo tokens.",
        edges=tempo_edges(), labels=(30, 60, 120, 240),
    ),
    Measure(
        name="notes_per_second", group="time", title="Density", unit="notes/s",
        look_for="Full arrangements have 10 to 25 notes per second; far more is black MIDI, made "
        "to be seen rather than heard.",
        edges=even(0, 50, 1),
    ),
    Measure(
        name="onset_error_ms", group="fidelity", title="Onset error, median per song", unit="ms",
        look_for="Distance from the grid; under 10 ms few people hear it. A tail means music "
        "played live: a finer grid keeps more of it.",
        edges=even(0, 25, 0.5),
    ),
    Measure(
        name="onset_error_ms_95", group="fidelity", title="Onset error, worst 5 % per song",
        unit="ms",
        look_for="At most half a step, which lasts longer at a slow tempo.",
        edges=even(0, 50, 1),
    ),
    Measure(
        name="tokens_per_note", group="fidelity", title="Tokens per note", unit="tokens/note",
        look_for="A drum is one token, a note two, and a rest before each one more: sparse music "
        "costs more.",
        edges=even(1, 4, 0.1), column="tokens", per="notes",
    ),
    Measure(
        name="silence_seconds", group="fidelity", title="Silence removed, where there was any",
        unit="s",
        look_for="Mostly an empty bar or two at the start; hours in one song mean a faulty file.",
        edges=even(0, 60, 2), positive=True,
    ),
    Measure(
        name="instruments", group="sound", title="Instruments per song, without drums",
        unit="instruments",
        look_for="One is usually solo piano; many songs there mean an archive of piano music.",
        edges=even(0, 25, 1), whole=True,
    ),
    Measure(
        name="polyphony", group="sound", title="Notes sounding at once, without drums",
        unit="notes",
        look_for="Mean while anything sounds: near 1 is a single melody, over 10 a piano with "
        "its pedal held or an orchestra.",
        edges=even(0, 16, 0.5),
    ),
    Measure(
        name="drum_share", group="sound", title="Drums, as a fraction of notes", unit="",
        look_for="The first bar is songs with few or no drums, a bar at 1 is drum tracks alone.",
        edges=even(0, 1.05, 0.05),
    ),
    Measure(
        name="pitch_class_entropy", group="sound", title="Pitch-class entropy",
        unit="bits",
        look_for="Music in one key has 2.5 to 3 bits; 3.58 is all twelve pitch classes equally "
        "often, chromatic or random; under 2 is riffs and drones.",
        edges=even(0, 3.6, 0.1),
    ),
    Measure(
        name="velocities", group="sound", title="Different velocity bins, of 32", unit="bins",
        look_for="One or two means that velocities were filled in, not played.",
        edges=even(0, 33, 1), whole=True,
    ),
)  # fmt: skip


def distribution(values: np.ndarray, edges: tuple[float, ...]) -> Distribution:
    """Histogram and quantiles of some values.

    Args:
        values: shape (n,), float64.
        edges: ascending, at least two.
    """
    bins = np.searchsorted(edges, values, side="right")
    found = np.bincount(bins, minlength=len(edges) + 1)
    below, counts, above = int(found[0]), found[1:-1], int(found[-1])
    first, last = _occupied(counts, edges, below, above)
    quantiles = np.percentile(values, (0, 5, 50, 95, 100)).tolist() if len(values) else [None] * 5
    lowest, p5, median, p95, highest = (q if q is None else significant(q) for q in quantiles)
    return {
        "songs": len(values),
        "edges": list(edges[first : last + 1]) if last > first else [],
        "counts": counts[first:last].tolist(),
        "below": below,
        "above": above,
        "min": lowest,
        "p5": p5,
        "median": median,
        "mean": significant(float(values.mean())) if len(values) else None,
        "p95": p95,
        "max": highest,
    }


def _occupied(
    counts: np.ndarray, edges: tuple[float, ...], below: int, above: int
) -> tuple[int, int]:
    """The range of bins to keep; a scale that starts at 0 keeps its 0."""
    filled = np.flatnonzero(counts)
    if not len(filled):
        return (0, min(MIN_BINS, len(counts))) if below or above else (0, 0)
    first = 0 if below or edges[0] == 0 else int(filled[0])
    last = len(counts) if above else int(filled[-1]) + 1
    missing = max(MIN_BINS - (last - first), 0)
    last = min(last + (missing + 1) // 2, len(counts))
    return max(min(first, last - MIN_BINS), 0), last
