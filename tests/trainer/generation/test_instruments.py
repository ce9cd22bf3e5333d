import numpy as np
import pytest

from shards.codec import Codec
from shards.errors import SettingError
from shards.song import METER, NOTE, TEMPO, Song
from trainer.generation.instruments import choose_instruments, parse_instruments


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("piano", range(8)),  # the family
        ("BASS", range(32, 40)),
        ("fretless bass", [35]),
        ("violin, 42", [40, 42]),
        ("sax", range(64, 68)),
        ("drums", range(128, 189)),
        ("crash", [150, 158]),  # two cymbals have it in their names
    ],
)
def test_names_select_classes(vocabulary, text, classes):
    assert np.flatnonzero(parse_instruments(text, vocabulary)).tolist() == [*classes]


@pytest.mark.parametrize(
    ("text", "played", "classes"),
    [
        ("bass,drums", [], [33, *range(128, 189)]),
        ("bass", [0, 35], [35]),  # of the song
        ("fretless bass, acoustic bass", [33], [32, 35]),
        ("piano,strings", [40, 48], [0, 40, 48]),
        ("crash", [], [150, 158]),
    ],
)
def test_a_name_of_several_programs_means_one(vocabulary, text, played, classes):
    rows = [(24 * n, 24, program, 60, 80) for n, program in enumerate(played)]
    song = Song(np.array(rows, NOTE), np.array([(0, 4, 4)], METER), np.array([], TEMPO), 24)
    encoded = Codec(vocabulary).encode(song) if played else None
    assert np.flatnonzero(choose_instruments(text, vocabulary, encoded)).tolist() == classes


@pytest.mark.parametrize(
    ("text", "hint"), [("pianoo", "did you mean piano"), ("piano,,bass", "known: drums")]
)
def test_a_name_that_fits_no_class_is_refused(vocabulary, text, hint):
    with pytest.raises(SettingError, match=hint):
        parse_instruments(text, vocabulary)
