"""Draw a song: time to the right, pitch upwards, drums in a band of their own.

Conventions
    x        steps from the song's start; a line at every bar
    colour   one per instrument, the one with the most notes first; louder notes are darker
    note     a box from its start to a pixel before its end, which separates repeated notes
    hit      a drum note; all have one width, since a drum's duration is not heard
    inch     the unit of the page; DPI pixels

matplotlib is imported when something is drawn, and without pyplot: no window, no global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shards.bars import Bars
from shards.song import Song
from shards.text import visible
from shards.vocabulary import PROGRAMS, Vocabulary
from shards.writer import publish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
MIN_WIDTH, MAX_WIDTH, BEATS_PER_INCH = 9.0, 28.0, 16.0
"""Width of the note area in inches, so that no picture is over 3,000 pixels width."""
SEMITONE, DRUM_ROW = 0.09, 0.17
LEFT, RIGHT, GAP, TITLE, AXIS, LEGEND_ROW = 1.5, 0.2, 0.1, 0.3, 0.55, 0.22
COLOURS = (
    "#17707d", "#d1603d", "#6a4c93", "#e0a526", "#3a7d44", "#b23a6b", "#4a78c2", "#8c5a2b",
    "#20a39e", "#c44536", "#9a7fd1", "#7a8b1e", "#2f4b7c", "#e07fa8", "#5fa052", "#a67c52",
)  # fmt: skip
INK, SOFT, LINE, CUT = "#20211f", "#6a6c68", "#e0e0da", "#b5532d"
MAX_NAMED, NAME_INCHES = 16, 2.3
MAX_LINES, LABELS_PER_INCH = 600, 1.5
MAX_TITLE = 100


@dataclass(frozen=True)
class _Page:
    """The layout in inches; from the top: title, pitched notes, drums, legend."""

    notes_width: float
    pitched_height: float
    drums_height: float
    legend_rows: int
    legend_columns: int

    @property
    def width(self) -> float:
        return LEFT + self.notes_width + RIGHT

    @property
    def drums_bottom(self) -> float:
        return AXIS + LEGEND_ROW * self.legend_rows

    @property
    def pitched_bottom(self) -> float:
        gap = GAP if self.drums_height and self.pitched_height else 0.0
        return self.drums_bottom + self.drums_height + gap

    @property
    def height(self) -> float:
        return self.pitched_bottom + self.pitched_height + 0.28 + TITLE

    def band(self, figure: "Figure", bottom: float, height: float) -> "Axes":
        left, width = LEFT / self.width, self.notes_width / self.width
        return figure.add_axes((left, bottom / self.height, width, height / self.height))


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
        title: above the picture; letters that the font lacks become question marks.
        silences: (bar, bars removed) where silence was removed just before that bar, from 0.

    Returns:
        A matplotlib figure, as `SummaryWriter.add_figure` takes it. It grows with the song up to
        MAX_WIDTH; longer songs are drawn more densely.

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
        bands.append(page.band(figure, page.pitched_bottom, page.pitched_height))
        _draw_pitched(bands[-1], pitched, programs, song.end / (page.notes_width * DPI))
    if len(drums):
        bands.append(page.band(figure, page.drums_bottom, page.drums_height))
        _draw_drums(bands[-1], drums, keys, song.steps_per_beat, vocabulary)
    for band in bands:
        _draw_bar_lines(band, song, vocabulary)
    _mark_silences(bands, song, vocabulary, silences)
    _number_bars(bands[-1], song, vocabulary, page)
    _name_meters(bands[0], song, page)
    _name_instruments(figure, programs, vocabulary, page)
    figure.text(
        LEFT / page.width, 1 - 0.12 / page.height, drawable(title), va="top", fontsize=11,
        color=INK, parse_math=False,
    )  # fmt: skip
    return figure


def png(song: Song, vocabulary: Vocabulary, **options: Any) -> bytes:
    """A song's picture as a PNG file's bytes; options as for `piano_roll`."""
    stream = io.BytesIO()
    figure = piano_roll(song, vocabulary, **options)
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def save_piano_roll(song: Song, vocabulary: Vocabulary, path: Path, **options: Any) -> None:
    """Draw a song to a PNG file, all or nothing; options as for `piano_roll`."""
    data = png(song, vocabulary, **options)
    publish(path, lambda file: file.write(data))


def _by_notes(instruments: np.ndarray) -> np.ndarray:
    """The distinct instruments, the one with the most notes first."""
    distinct, notes = np.unique(instruments, return_counts=True)
    return distinct[np.lexsort((distinct, -notes))]


def _notes_width(song: Song) -> float:
    """Width of the note area in inches."""
    return float(np.clip(song.end / song.steps_per_beat / BEATS_PER_INCH, MIN_WIDTH, MAX_WIDTH))


def _page(song: Song, pitched: np.ndarray, drum_rows: int, programs: int) -> _Page:
    width = _notes_width(song)
    columns = max(int(width / NAME_INCHES), 1)
    named = min(programs, MAX_NAMED + 1)
    low, high = _pitch_limits(pitched)
    return _Page(
        notes_width=width,
        pitched_height=SEMITONE * (high - low) if len(pitched) else 0.0,
        drums_height=DRUM_ROW * drum_rows,
        legend_rows=-(-named // columns),
        legend_columns=columns,
    )


def _pitch_limits(pitched: np.ndarray) -> tuple[int, int]:
    """The pitch range of the pitched band: at least two octaves, with a margin at both ends."""
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
    # Instruments with few notes on top, so that chords do not hide a melody.
    notes = pitched[np.argsort(rank[pitched["instrument"]], kind="stable")]
    colours = to_rgba_array(COLOURS)[rank[notes["instrument"]] % len(COLOURS)]
    width = notes["duration"] - np.minimum(notes["duration"] / 4, pixel)
    _draw_boxes(band, notes, width, notes["pitch"], 0.86, colours)
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
    width: np.ndarray,
    centre: np.ndarray,
    height: float,
    colours: np.ndarray,
) -> None:
    """Draw all notes of a band as one collection of boxes; softer notes are fainter."""
    from matplotlib.collections import PolyCollection

    left, middle = notes["start"].astype(float), centre.astype(float)
    right, under, over = left + width, middle - height / 2, middle + height / 2
    corners = [(left, under), (right, under), (right, over), (left, over)]
    boxes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)
    colours[:, 3] = 0.35 + 0.65 * notes["velocity"] / 127
    boxes = cast(Sequence[Any], boxes)  # one array draws faster than the list that is declared
    band.add_collection(PolyCollection(boxes, facecolors=colours, linewidths=0, zorder=2))


def _bar_lines(song: Song, vocabulary: Vocabulary) -> np.ndarray:
    """The step at which each bar begins, up to the one in which the last note ends."""
    bars = Bars(song.meters, vocabulary.bar_steps)
    last = int(bars.locate(np.array([song.end - 1]))[0][0])
    return bars.first_steps(np.arange(last + 1))


def _draw_bar_lines(band: "Axes", song: Song, vocabulary: Vocabulary) -> None:
    """Draw a line at every bar; in very long songs only at every second, third, …"""
    lines = _bar_lines(song, vocabulary)
    lines = lines[:: -(-len(lines) // MAX_LINES)]
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
    """A dashed line where silence was removed, labelled with the number of bars."""
    if not len(silences):
        return
    before, removed = np.array(silences).T
    steps = Bars(song.meters, vocabulary.bar_steps).first_steps(before)
    for band in bands:
        band.vlines(steps, 0, 1, transform=band.get_xaxis_transform(), color=CUT, lw=1.4,
                    linestyles="dashed", zorder=3, clip_on=False)  # fmt: skip
    for step, bars in zip(steps.tolist(), removed.tolist(), strict=True):
        words = f"{bars:,} {'bar' if bars == 1 else 'bars'} of silence cut"
        bands[0].annotate(
            words, (step, 1), (0, 12), textcoords="offset points", color=CUT, fontsize=8,
            ha="left" if step < song.end / 2 else "right", xycoords=("data", "axes fraction"),
        )  # fmt: skip


def _number_bars(band: "Axes", song: Song, vocabulary: Vocabulary, page: _Page) -> None:
    """Label every 1st, 2nd, 4th, 8th, … bar with its number, from 1, and its time."""
    lines = _bar_lines(song, vocabulary)
    every = 1
    while len(lines) / every > LABELS_PER_INCH * page.notes_width:
        every *= 2
    shown = lines[::every]
    seconds = song.seconds(shown).astype(int).tolist()
    labels = [f"{1 + every * n}\n{s // 60}:{s % 60:02}" for n, s in enumerate(seconds)]
    band.set_xticks(shown, labels, linespacing=1.35)
    band.tick_params(axis="x", labelbottom=True, pad=4)


def _name_meters(band: "Axes", song: Song, page: _Page) -> None:
    """Write each meter above its first step, where there is room."""
    room = song.end * 0.35 / page.notes_width
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
    """Draw the legend in columns; instruments beyond MAX_NAMED are only counted."""
    from matplotlib.patches import Patch

    named = programs[:MAX_NAMED]
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


def drawable(title: str) -> str:
    """A title in one line: long ones lose their middle, letters that the font lacks become "?"."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    shown = visible(title, MAX_TITLE)
    return "".join(letter if ord(letter) in known else "?" for letter in shown)
