"""Text from outside: what may be stored, printed and drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.text import counted, escape_bytes, visible


@given(st.text(), st.integers(2, 20))
def test_any_text_is_shown_in_one_short_line_of_printable_letters(text, longest):
    assert visible(text).isprintable()
    assert len(visible(text, longest)) <= longest + 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Für Elise ♪.mid", "Für Elise ♪.mid"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        ("\u202egnp", r"\u202egnp"),
        ("\udcff.mid", r"\udcff.mid"),
    ],
)
def test_letters_that_could_act_are_shown_by_their_code(text, shown):
    assert visible(text) == shown


def test_a_long_name_keeps_both_ends():
    assert visible("folder/" + "x" * 100 + ".mid", 12) == "folder…xx.mid"


def test_bytes_that_are_not_utf_8_are_escaped_and_other_names_kept():
    assert escape_bytes(b"f\xfcr.mid".decode("utf-8", "surrogateescape")) == r"f\xfcr.mid"
    assert escape_bytes("für\n.mid") == "für\n.mid"


def test_one_thing_is_not_counted_in_the_plural():
    assert [counted(n, "song") for n in (0, 1, 2000)] == ["0 songs", "1 song", "2,000 songs"]
