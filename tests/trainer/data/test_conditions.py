import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import SettingError
from shards.keys import KEYS
from shards.vocabulary import CodecSettings, Vocabulary
from trainer.data.conditions import (
    BARS_LEFT,
    FIELDS,
    SHIFTS,
    ConditionCodes,
    Conditions,
    condition_fields,
    draw_given,
    encode_conditions,
    only,
    parse_key,
    transposed_key,
)

wild = st.one_of(st.none(), st.floats(), st.integers(-(10**9), 10**9))


def codes_of(fields):
    return {name: (fields >> SHIFTS[name]) & 255 for name in FIELDS}


@given(wild, st.text(max_size=5), st.text(max_size=3), wild)
def test_every_code_has_a_row_in_the_embedding_whatever_an_index_holds(tempo, meter, key, notes):
    conditions = Conditions(tempo=tempo, meter=meter, key=key, notes_per_bar=notes, programs=())
    fields = encode_conditions(conditions, Vocabulary()).fields
    assert all(0 <= code < FIELDS[name] for name, code in codes_of(fields).items())


@given(st.sets(st.integers(0, 127)))
def test_a_band_is_one_bit_per_program(programs):
    codes = encode_conditions(Conditions(programs=tuple(programs)), Vocabulary())
    low, high = (half % 2**64 for half in codes.band)
    assert {n for n in range(128) if (low + (high << 64)) >> n & 1} == programs


def test_a_band_without_programs_and_one_with_drums_differ_from_none():
    bands = [Conditions(), Conditions(programs=()), Conditions(programs=(), drums=True)]
    found = [codes_of(encode_conditions(each, Vocabulary()).fields)["band"] for each in bands]
    assert found == [0, 1, 2]


def test_different_meters_keys_and_tempos_have_different_codes():
    vocabulary = Vocabulary()
    for name, values in [
        ("meter", [f"{n}/{d}" for n, d in vocabulary.meters]),
        ("key", KEYS),
        ("tempo", [60 * 2 ** (n / 8) for n in range(16)]),
    ]:
        fields = [encode_conditions(Conditions(**{name: v}), vocabulary).fields for v in values]
        assert len(set(fields)) == len(values)
        assert 0 not in fields


def test_every_vocabulary_has_room_for_its_meters():
    for steps in (4, 24, 96):
        vocabulary = Vocabulary(CodecSettings(steps_per_beat=steps))
        assert len(vocabulary.meters) < FIELDS["meter"]


def test_bars_left_are_exact_to_63_and_never_fall():
    assert BARS_LEFT[:64].tolist() == [*range(1, 65)]
    assert (np.diff(BARS_LEFT) >= 0).all()
    assert BARS_LEFT.max() == FIELDS["bars_left"] - 1


def test_the_bars_left_count_down_to_the_last():
    fields = condition_fields(ConditionCodes(last_bar=9), np.array([0, 5, 9, 12]))
    assert isinstance(fields, np.ndarray)
    assert (fields >> SHIFTS["bars_left"] & 255).tolist() == [10, 5, 1, 1]


@pytest.mark.parametrize(
    ("text", "key"),
    [("C", "C"), ("c", "C"), ("F#m", "F#m"), ("Bb", "Bb"), ("D minor", "Dm"), ("D# major", "Eb"),
     ("a min", "Am"), ("Cb", "B"), ("E#m", "Fm"), ("D  MINOR", "Dm"), ("CMaj", "C")],
)  # fmt: skip
def test_keys_may_be_written_as_musicians_do(text, key):
    assert parse_key(text) == key


@pytest.mark.parametrize("text", ["", "H", "C# dorian", "Cmm", "minor", "C##", "CM"])
def test_what_is_no_key_is_refused(text):
    with pytest.raises(SettingError, match="expected one as in C"):
        parse_key(text)


@given(st.sampled_from(KEYS), st.integers(-24, 24))
def test_a_transposed_key_comes_back(key, semitones):
    up = transposed_key(key, semitones)
    assert transposed_key(up, -semitones) == key
    assert (up == key) == (semitones % 12 == 0)


@pytest.mark.parametrize(("probability", "share"), [(0.0, 1.0), (0.3, 0.7), (0.9, 0.5)])
def test_each_condition_is_left_out_on_its_own_at_most_half_the_time(probability, share):
    every = Conditions(tempo=120, meter="4/4", key="C", bars=9, notes_per_bar=3, programs=(1,))
    rng = np.random.default_rng(0)
    drawn = [only(every, draw_given(rng, probability)) for _ in range(4000)]
    counts = [sum(value is not None for value in vars(each).values()) - 1 for each in drawn]
    expected = [math.comb(6, n) * share**n * (1 - share) ** (6 - n) for n in range(7)]
    assert np.bincount(counts, minlength=7) / 4000 == pytest.approx(expected, abs=0.03)
