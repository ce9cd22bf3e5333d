"""A song as a picture: time to the right, pitch upwards, drums in a band of their own.

Conventions
    x        steps from the song's start; a line at every bar
    colour   an instrument, the one with the most notes first; louder notes are darker
    note     a box from its start to a pixel before its end, so that repeated notes stay apart
    hit      a drum note; what a drum's duration says is not heard, so all hits have one width
    inch     the unit of the page; DPI pixels

matplotlib is imported when something is drawn, and without pyplot: no window, no global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shards.bars import Bars
from shards.song import Song
from shards.vocabulary import PROGRAMS, Vocabulary
from shards.writer import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
NARROWEST, WIDEST, BEATS_AN_INCH = 9.0, 28.0, 16.0
"""Inches across the notes: no picture is over 3,000 pixels wide."""
SEMITONE, DRUM_ROW = 0.09, 0.17
LEFT, RIGHT, GAP, TITLE, AXIS, LEGEND_ROW = 1.5, 0.2, 0.1, 0.3, 0.55, 0.22
COLOURS = (
    "#17707d", "#d1603d", "#6a4c93", "#e0a526", "#3a7d44", "#b23a6b", "#4a78c2", "#8c5a2b",
    "#20a39e", "#c44536", "#9a7fd1", "#7a8b1e", "#2f4b7c", "#e07fa8", "#5fa052", "#a67c52",
)  # fmt: skip
INK, SOFT, LINE, CUT = "#20211f", "#6a6c68", "#e0e0da", "#b5532d"
MOST_NAMED, NAME_INCHES = 16, 2.3
MOST_LINES, LABELS_AN_INCH = 600, 1.5
LONGEST_TITLE = 100


@dataclass(frozen=True)
class _Page:
    """Where things lie, in inches; the drums below, the legend under them."""

    notes_wide: float
    pitched_tall: float
    drums_tall: float
    legend_rows: int
    legend_columns: int

    @property
    def width(self) -> float:
        return LEFT + self.notes_wide + RIGHT

    @property
    def drums_at(self) -> float:
        return AXIS + LEGEND_ROW * self.legend_rows

    @property
    def pitched_at(self) -> float:
        gap = GAP if self.drums_tall and self.pitched_tall else 0.0
        return self.drums_at + self.drums_tall + gap

    @property
    def height(self) -> float:
        return self.pitched_at + self.pitched_tall + 0.28 + TITLE

    def band(self, figure: "Figure", at: float, tall: float) -> "Axes":
        left, wide = LEFT / self.width, self.notes_wide / self.width
        return figure.add_axes((left, at / self.height, wide, tall / self.height))


def piano_roll(
    song: Song,
    vocabulary: Vocabulary,
    *,
    title: str = "",
    silences: Sequence[tuple[int, int]] = (),
) -> "Figure":
    """Draw a song.

    Args:
        song: canonical, at least one note.
        vocabulary: names the instruments and knows how long a bar is.
        title: above the picture; letters that the font has not are question marks.
        silences: what was cut out of the song: the bar, from 0, before it, and how many bars.

    Returns:
        A matplotlib figure that grows with the song up to a width, what is longer being drawn
        more densely. `SummaryWriter.add_figure` takes it as it is.

    Raises:
        ValueError: the song has no notes.
    """
    from matplotlib.figure import Figure

    if not len(song.notes):
        raise ValueError("a song without notes has no piano roll")
    is_drum = song.notes["instrument"] >= PROGRAMS
    pitched, drums = song.notes[~is_drum], song.notes[is_drum]
    programs, keys = _by_notes(pitched["instrument"]), np.unique(drums["instrument"])
    page = _page(song, pitched, len(keys), len(programs))
    figure = Figure(figsize=(page.width, page.height), dpi=DPI, facecolor="white")
    bands = []
    if len(pitched):
        bands.append(page.band(figure, page.pitched_at, page.pitched_tall))
        _draw_pitched(bands[-1], pitched, programs, song.end / (page.notes_wide * DPI))
    if len(drums):
        bands.append(page.band(figure, page.drums_at, page.drums_tall))
        _draw_drums(bands[-1], drums, keys, song.steps_per_beat, vocabulary)
    for band in bands:
        _rule(band, song, vocabulary)
    _mark_silences(bands, song, vocabulary, silences)
    _number_bars(bands[-1], song, vocabulary, page)
    _name_meters(bands[0], song, page)
    _name_instruments(figure, programs, vocabulary, page)
    figure.text(
        LEFT / page.width, 1 - 0.12 / page.height, printable(title), va="top", fontsize=11,
        color=INK, parse_math=False,
    )  # fmt: skip
    return figure


def png(song: Song, vocabulary: Vocabulary, **options: Any) -> bytes:
    """The same as the bytes of a PNG file; options as for `piano_roll`."""
    stream = io.BytesIO()
    figure = piano_roll(song, vocabulary, **options)
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def save_piano_roll(song: Song, vocabulary: Vocabulary, path: Path, **options: Any) -> None:
    """Draw a song to a PNG file, which appears whole or not at all; options as `piano_roll`."""
    data = png(song, vocabulary, **options)
    publish(path, lambda file: file.write(data) and None)


def place_of_notes(song: Song) -> tuple[float, float]:
    """Where the song's time lies in the picture: its left edge and its width, of the whole."""
    wide = _notes_wide(song)
    whole = LEFT + wide + RIGHT
    return LEFT / whole, wide / whole


def _by_notes(instruments: np.ndarray) -> np.ndarray:
    """The different instruments, the one with the most notes first."""
    different, notes = np.unique(instruments, return_counts=True)
    return different[np.lexsort((different, -notes))]


def _notes_wide(song: Song) -> float:
    """Inches across the notes."""
    return float(np.clip(song.end / song.steps_per_beat / BEATS_AN_INCH, NARROWEST, WIDEST))


def _page(song: Song, pitched: np.ndarray, drum_rows: int, programs: int) -> _Page:
    wide = _notes_wide(song)
    columns = max(int(wide / NAME_INCHES), 1)
    named = min(programs, MOST_NAMED + 1)
    low, high = _pitch_limits(pitched)
    return _Page(
        notes_wide=wide,
        pitched_tall=SEMITONE * (high - low) if len(pitched) else 0.0,
        drums_tall=DRUM_ROW * drum_rows,
        legend_rows=-(-named // columns),
        legend_columns=columns,
    )


def _pitch_limits(pitched: np.ndarray) -> tuple[int, int]:
    """What the pitched band shows: at least two octaves, a little air at both ends."""
    if not len(pitched):
        return 0, 0
    low, high = int(pitched["pitch"].min()) - 2, int(pitched["pitch"].max()) + 3
    missing = max(24 - (high - low), 0)
    return low - missing // 2, high + missing - missing // 2


def _draw_pitched(band: "Axes", pitched: np.ndarray, programs: np.ndarray, pixel: float) -> None:
    from matplotlib.colors import to_rgba_array

    low, high = _pitch_limits(pitched)
    rank = np.empty(PROGRAMS, np.int64)
    rank[programs] = np.arange(len(programs))
    # Instruments with few notes on top: a melody is not hidden behind its chords.
    notes = pitched[np.argsort(rank[pitched["instrument"]], kind="stable")]
    colours = to_rgba_array(COLOURS)[rank[notes["instrument"]] % len(COLOURS)]
    wide = notes["duration"] - np.minimum(notes["duration"] / 4, pixel)
    _draw_boxes(band, notes, wide, notes["pitch"], 0.86, colours)
    octaves = np.arange(-(-low // 12) * 12, high, 12)
    band.set_ylim(low, high)
    band.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    band.hlines(octaves - 0.5, 0, 1, transform=band.get_yaxis_transform(), color=LINE, lw=0.6)


def _draw_drums(
    band: "Axes", drums: np.ndarray, keys: np.ndarray, steps_per_beat: int, vocabulary: Vocabulary
) -> None:
    from matplotlib.colors import to_rgba_array

    rows = np.searchsorted(keys, drums["instrument"])
    hit = np.full(len(drums), max(steps_per_beat // 5, 1))
    _draw_boxes(band, drums, hit, rows, 0.7, np.repeat(to_rgba_array(INK), len(drums), axis=0))
    band.set_ylim(-0.5, len(keys) - 0.5)
    band.set_yticks(np.arange(len(keys)), [vocabulary.instrument_names[key] for key in keys])
    band.hlines(np.arange(len(keys) - 1) + 0.5, 0, 1, transform=band.get_yaxis_transform(),
                color=LINE, lw=0.4)  # fmt: skip


def _draw_boxes(
    band: "Axes",
    notes: np.ndarray,
    wide: np.ndarray,
    centre: np.ndarray,
    tall: float,
    colours: np.ndarray,
) -> None:
    """All notes of a band as one collection: a box each, fainter where the note is softer."""
    from matplotlib.collections import PolyCollection

    left, middle = notes["start"].astype(float), centre.astype(float)
    right, under, over = left + wide, middle - tall / 2, middle + tall / 2
    corners = [(left, under), (right, under), (right, over), (left, over)]
    boxes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    colours[:, 3] = 0.35 + 0.65 * notes["velocity"] / 127
    band.add_collection(PolyCollection(boxes, facecolors=colours, linewidths=0, zorder=2))


def _bar_lines(song: Song, vocabulary: Vocabulary) -> np.ndarray:
    """The step at which each bar begins, up to the one that the last sound ends in."""
    bars = Bars(song.meters, vocabulary.bar_steps)
    last = int(bars.positions(np.array([song.end - 1]))[0][0])
    return bars.line(np.arange(last + 1))


def _rule(band: "Axes", song: Song, vocabulary: Vocabulary) -> None:
    """A line at every bar; in very long songs at every second, fourth, …"""
    lines = _bar_lines(song, vocabulary)
    lines = lines[:: -(-len(lines) // MOST_LINES)]
    band.vlines(lines, 0, 1, transform=band.get_xaxis_transform(), color=LINE, lw=0.6, zorder=1)
    band.set_xlim(0, song.end)
    band.tick_params(length=0, labelsize=8, labelcolor=SOFT)
    band.tick_params(axis="x", labelbottom=False)
    for side in band.spines.values():
        side.set_color(LINE)


def _mark_silences(
    bands: Sequence["Axes"],
    song: Song,
    vocabulary: Vocabulary,
    silences: Sequence[tuple[int, int]],
) -> None:
    """A dashed line where silence was cut out; above it the number of bars that are gone."""
    if not len(silences):
        return
    cut, gone = np.array(silences).T
    places = Bars(song.meters, vocabulary.bar_steps).line(cut)
    for band in bands:
        band.vlines(places, 0, 1, transform=band.get_xaxis_transform(), color=CUT, lw=1.4,
                    linestyles="dashed", zorder=3, clip_on=False)  # fmt: skip
    for place, bars in zip(places.tolist(), gone.tolist(), strict=True):
        words = f"{bars:,} {'bar' if bars == 1 else 'bars'} of silence cut"
        bands[0].annotate(
            words, (place, 1), (0, 12), textcoords="offset points", color=CUT, fontsize=8,
            ha="left" if place < song.end / 2 else "right", xycoords=("data", "axes fraction"),
        )  # fmt: skip


def _number_bars(band: "Axes", song: Song, vocabulary: Vocabulary, page: _Page) -> None:
    """Bars counted from 1, with the time below, every 1, 2, 4, 8, … bars."""
    lines = _bar_lines(song, vocabulary)
    every = 1
    while len(lines) / every > LABELS_AN_INCH * page.notes_wide:
        every *= 2
    shown = lines[::every]
    seconds = song.seconds(shown).astype(int).tolist()
    labels = [f"{1 + every * n}\n{s // 60}:{s % 60:02}" for n, s in enumerate(seconds)]
    band.set_xticks(shown, labels, linespacing=1.35)
    band.tick_params(axis="x", labelbottom=True, pad=4)


def _name_meters(band: "Axes", song: Song, page: _Page) -> None:
    """Each meter above the place where it begins, where there is room to write it."""
    room = song.end * 0.35 / page.notes_wide
    written = -room
    for start, numerator, denominator in song.meters.tolist():
        if start - written >= room:
            band.annotate(
                f"{numerator}/{denominator}", (start, 1), (0, 3), textcoords="offset points",
                xycoords=("data", "axes fraction"), fontsize=8, color=SOFT,
            )  # fmt: skip
            written = start


def _name_instruments(
    figure: "Figure", programs: np.ndarray, vocabulary: Vocabulary, page: _Page
) -> None:
    """The legend, in columns under the picture; the rarest instruments are only counted."""
    from matplotlib.patches import Patch

    named = programs[:MOST_NAMED]
    handles = [
        Patch(color=COLOURS[n], label=vocabulary.instrument_names[program])
        for n, program in enumerate(named.tolist())
    ]
    if len(programs) > len(named):
        handles.append(Patch(alpha=0, label=f"and {len(programs) - len(named)} more"))
    if handles:
        figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(LEFT / page.width, 0.02),
            ncols=min(page.legend_columns, len(handles)), frameon=False, fontsize=8,
            labelcolor=INK, handlelength=1.0, handleheight=0.8, borderaxespad=0, borderpad=0,
            columnspacing=1.8,
        )  # fmt: skip


def printable(title: str) -> str:
    """A title that the font can draw, in one line, its middle left out where it is long."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    drawn = "".join(
        letter if letter.isprintable() and ord(letter) in known else "?" for letter in title
    )
    if len(drawn) <= LONGEST_TITLE:
        return drawn
    return f"{drawn[: LONGEST_TITLE // 2]} … {drawn[-LONGEST_TITLE // 2 :]}"
