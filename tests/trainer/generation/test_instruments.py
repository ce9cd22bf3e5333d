import numpy as np
import pytest

from shards.errors import SettingError
from trainer.generation.instruments import parse_instruments


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
    ("text", "hint"), [("pianoo", "did you mean piano"), ("piano,,bass", "known: drums")]
)
def test_a_name_that_fits_no_class_is_refused(vocabulary, text, hint):
    with pytest.raises(SettingError, match=hint):
        parse_instruments(text, vocabulary)
