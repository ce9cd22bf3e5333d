"""Piano rolls: what is drawn where, and that drawing is fast."""

import time

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from matplotlib.collections import PolyCollection

from shards.render.pianoroll import (
    MAX_NAMED,
    drawable,
    piano_roll,
    png,
    save_piano_roll,
)
from shards.vocabulary import CodecSettings, Vocabulary
from tests.shards.songs import canonical_songs, make_song

VOCABULARY = Vocabulary()
KICK, SNARE = (int(VOCABULARY.drum_classes[key]) for key in (36, 38))


def boxes(axes):
    """(left, right, middle) of every note drawn in a band."""
    (notes,) = (c for c in axes.collections if isinstance(c, PolyCollection))
    extents = [path.get_extents() for path in notes.get_paths()]
    return sorted((box.x0, box.x1, (box.y0 + box.y1) / 2) for box in extents)


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_pitched_notes_lie_at_their_time_and_pitch():
    figure = piano_roll(make_song([(0, 12, 0, 60, 66), (18, 6, 40, 72, 66)]), VOCABULARY)
    (band,) = figure.axes
    pixel = pytest.approx(24 / 900)
    (left, right, middle), (left_2, right_2, middle_2) = boxes(band)
    assert (left, middle, left_2, middle_2) == (0, pytest.approx(60), 18, pytest.approx(72))
    assert (12 - right, 24 - right_2) == (pixel, pixel)


def test_repeated_notes_are_drawn_apart():
    song = make_song([(0, 12, 0, 60, 66), (12, 12, 0, 60, 66)])
    (_, end, _), (start, _, _) = boxes(piano_roll(song, VOCABULARY).axes[0])
    assert end < start


def test_drums_have_a_band_of_their_own_with_their_names():
    song = make_song([(0, 12, 0, 60, 66), (0, 3, KICK, 36, 66), (24, 3, SNARE, 38, 66)])
    pitched, drums = piano_roll(song, VOCABULARY).axes
    assert len(boxes(pitched)) == 1
    assert labels(drums) == ["Bass Drum 1", "Acoustic Snare"]
    assert [(left, row) for left, _, row in boxes(drums)] == [
        (0, pytest.approx(0)),
        (24, pytest.approx(1)),
    ]
    assert pitched.get_position().y0 > drums.get_position().y1


def test_a_song_of_drums_alone_is_drawn():
    (band,) = piano_roll(make_song([(0, 3, KICK, 36, 66)]), VOCABULARY).axes
    assert labels(band) == ["Bass Drum 1"]


def test_bars_are_ruled_where_the_meter_puts_them():
    song = make_song([(0, 12, 0, 60, 66), (200, 8, 0, 62, 66)], meters=[(0, 3, 4), (144, 4, 4)])
    (band,) = piano_roll(song, VOCABULARY).axes
    lines = {segment[0][0] for c in band.collections if not isinstance(c, PolyCollection)
             for segment in c.get_segments() if segment[0][0] == segment[1][0]}  # fmt: skip
    assert lines == {0, 72, 144}
    assert [text.get_text() for text in band.texts] == ["3/4", "4/4"]


def test_instruments_are_named_most_notes_first_and_coloured_apart():
    notes = [(step, 4, 40, 60, 66) for step in range(0, 96, 12)] + [(96, 4, 0, 48, 66)]
    (legend,) = piano_roll(make_song(notes), VOCABULARY).legends
    assert [text.get_text() for text in legend.get_texts()] == ["Violin", "Acoustic Grand Piano"]
    colours = {patch.get_facecolor() for patch in legend.get_patches()}
    assert len(colours) == 2


def test_instruments_beyond_the_legends_size_are_counted():
    song = make_song([(12 * n, 12, n, 60, 66) for n in range(MAX_NAMED + 5)])
    (legend,) = piano_roll(song, VOCABULARY).legends
    assert legend.get_texts()[-1].get_text() == "and 5 more"


def test_no_song_makes_a_picture_too_wide():
    song = make_song([(0, 12, 0, 60, 66), (2_000_000, 12, 0, 60, 66)])
    width, height = piano_roll(song, VOCABULARY).get_size_inches()
    assert width <= 30
    assert height <= 15


def test_ten_thousand_notes_are_drawn_in_two_seconds(tmp_path):
    random = np.random.default_rng(0)
    columns = (np.sort(random.integers(0, 5000, 10_000)), random.integers(1, 48, 10_000),
               random.integers(0, 175, 10_000), random.integers(0, 128, 10_000),
               random.integers(1, 128, 10_000))  # fmt: skip
    song = make_song(zip(*(column.tolist() for column in columns), strict=True))
    save_piano_roll(song, VOCABULARY, tmp_path / "warm.png")  # the first one loads the fonts
    begin = time.process_time()
    save_piano_roll(song, VOCABULARY, tmp_path / "song.png")
    assert time.process_time() - begin < 2


def test_the_picture_is_a_png_and_the_same_every_time(tmp_path):
    song = make_song([(0, 12, 0, 60, 66), (0, 3, KICK, 36, 66)])
    for name in ("one.png", "two.png"):
        save_piano_roll(song, VOCABULARY, tmp_path / name, title="the same")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    pixels = matplotlib.image.imread(tmp_path / "one.png")
    assert pixels.std() > 0.01
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize(
    "title",
    [
        "$x^",
        r"$\frac$",
        "モーツァルト \U0001f3b9",
        "a\nb\x00\x1b[31m",
        "x" * 300,
        "<b>",
        "\u202egnp",
    ],
)
def test_any_title_is_drawn_as_plain_text(title, tmp_path):
    save_piano_roll(make_song([(0, 12, 0, 60, 66)]), VOCABULARY, tmp_path / "a.png", title=title)
    assert len(drawable(title)) <= 103
    assert drawable(title).isprintable()


def test_a_song_without_notes_is_refused():
    with pytest.raises(ValueError, match="without notes"):
        piano_roll(make_song([]), VOCABULARY)


@given(canonical_songs(VOCABULARY))
@hypothesis_settings(max_examples=20, deadline=None)
def test_every_note_of_any_song_is_drawn_once(song):
    figure = piano_roll(song, VOCABULARY)
    assert sum(len(boxes(band)) for band in figure.axes) == len(song.notes)


def test_every_percussion_map_can_be_drawn():
    vocabulary = Vocabulary(CodecSettings(percussion="full"))
    song = make_song([(0, 3, 128 + 5, 5, 66)])
    (band,) = piano_roll(song, vocabulary).axes
    assert labels(band) == ["Percussion key 5"]


def test_removed_silence_is_marked_where_it_was():
    song = make_song([(0, 12, 0, 60, 66), (5 * 96, 12, 0, 62, 66), (9 * 96, 12, 129, 36, 66)])
    figure = piano_roll(song, VOCABULARY, silences=[(3, 8), (7, 1)])
    labelled = [text for text in figure.axes[0].texts if "silence" in text.get_text()]
    assert [(text.get_text(), text.xy[0]) for text in labelled] == [
        ("8 bars of silence cut", 3 * 96),
        ("1 bar of silence cut", 7 * 96),
    ]
    for band in figure.axes:
        dashed = [lines for lines in band.collections if lines.get_zorder() == 3]
        assert [path.vertices[0, 0] for path in dashed[0].get_paths()] == [3 * 96, 7 * 96]
    assert len(png(song, VOCABULARY)) < len(png(song, VOCABULARY, silences=[(3, 8)]))
