"""Token names, ids and instrument classes."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from shards.errors import SettingError
from shards.vocabulary import (
    NO_INSTRUMENT,
    CodecSettings,
    Kind,
    Vocabulary,
    velocity_bin,
    velocity_of_bin,
)


def test_ids_are_in_the_documented_order():
    vocabulary = Vocabulary()
    names = vocabulary.names
    assert names[:5] == ("<pad>", "<sos>", "<eos>", "n0", "n1")
    assert names[130:132] == ("n127", "k27")
    assert names[191:194] == ("k87", "d1", "d2")
    assert names[334:338] == ("d744", "d768", "r1", "r2")
    assert names[438:440] == ("r768", "m1/2")
    assert len(names) == 592
    assert len(set(names)) == len(names)
    kinds = [Kind(kind).name.lower() for kind in vocabulary.kind(np.arange(len(names)))]
    families = {"pitch": "n", "drum": "k", "duration": "d", "rest": "r", "meter": "m", "tempo": "t"}
    assert all(name[0] == families.get(kind, "<") for name, kind in zip(names, kinds, strict=True))


@pytest.mark.parametrize("controls", ["none", "bend", "mod", "bend,mod"])
def test_the_number_of_tokens_is_a_multiple_of_eight(controls):
    assert len(Vocabulary(CodecSettings(controls=controls))) % 8 == 0


GRIDS = [
    Vocabulary(CodecSettings(steps_per_beat=steps, max_duration=bars))
    for steps, bars in ((4, 1), (5, 3), (12, 8), (24, 8), (24, 7), (96, 64))
]


@pytest.mark.parametrize("vocabulary", GRIDS)
def test_every_duration_takes_the_token_nearest_by_ratio(vocabulary):
    tokens = vocabulary.durations.tolist()
    whole_note = 4 * vocabulary.settings.steps_per_beat
    assert tokens[:whole_note] == [*range(1, whole_note + 1)]
    assert tokens[-1] == vocabulary.max_duration
    assert tokens == sorted({*tokens})
    for steps in range(1, vocabulary.max_duration + 1, max(vocabulary.max_duration // 800, 1)):
        nearest = tokens[vocabulary.nearest_durations[steps]]
        # The ratio of two whole numbers, upside down where it is below 1; of equal ones the longer.
        ratios = {token: Fraction(max(token, steps), min(token, steps)) for token in tokens}
        assert nearest == min(tokens, key=lambda token: (ratios[token], -token))


@pytest.mark.parametrize("bars", range(1, 9))
def test_whole_bars_of_common_time_are_exact(bars):
    assert 96 * bars in Vocabulary().durations.tolist()
    assert 96 * bars in Vocabulary().rests.tolist()


@pytest.mark.parametrize("vocabulary", GRIDS)
def test_up_to_eight_bars_of_rest_take_one_or_two_tokens(vocabulary):
    longest = int(vocabulary.rests[-1])
    counts = vocabulary.rest_counts(np.arange(longest + 1))
    assert counts[0] == 0
    assert counts[1:].max() == 2
    assert vocabulary.rest_counts(np.array([3 * longest + 1])).tolist() == [4]


@pytest.mark.parametrize("vocabulary", GRIDS)
def test_a_rest_takes_as_many_tokens_as_the_longest_that_fit(vocabulary):
    longest = int(vocabulary.rests[-1])
    for steps in (
        range(200),
        range(longest - 99, longest + 200),
        range(4 * longest, 4 * longest + 9),
    ):
        left, counts = np.array(steps), np.zeros(len(steps), np.int64)
        while left.any():
            rests = vocabulary.longest_rests[np.minimum(left, longest)]
            counts += rests >= 0
            left -= np.where(rests >= 0, vocabulary.rests[rests], 0)
        assert vocabulary.rest_counts(np.array(steps)).tolist() == counts.tolist()


@pytest.mark.parametrize(("percussion", "classes"), [("gm", 175), ("gm2", 189), ("full", 255)])
def test_each_percussion_map_has_its_number_of_classes(percussion, classes):
    vocabulary = Vocabulary(CodecSettings(percussion=percussion))
    assert vocabulary.instruments == classes == len(vocabulary.instrument_names)
    assert vocabulary.drum_classes[127] == NO_INSTRUMENT


def test_a_drum_keys_class_is_128_plus_its_index_in_the_map():
    vocabulary = Vocabulary()
    assert vocabulary.drum_classes[[26, 27, 36, 87, 88]].tolist() == [255, 128, 137, 188, 255]
    assert vocabulary.instrument_names[137] == "Bass Drum 1"


def test_every_tempo_from_15_to_480_moves_by_at_most_2_2_percent():
    vocabulary = Vocabulary()
    bpm = np.linspace(15, 480, 10_000)
    binned = 60e6 / vocabulary.tempos[vocabulary.tempo_bins(np.rint(60e6 / bpm))]
    assert np.abs(binned / bpm - 1).max() < 0.022
    assert vocabulary.tempo_bins(np.array([1, 2**24])).tolist() == [80, 0]
    assert vocabulary.tempos[vocabulary.tempo_bins(np.array([500_000]))] == 500_000


def test_each_tempo_and_velocity_bin_contains_its_own_centre():
    vocabulary = Vocabulary()
    assert (vocabulary.tempo_bins(vocabulary.tempos) == np.arange(81)).all()
    bins = np.arange(32)
    assert (velocity_bin(velocity_of_bin(bins)) == bins).all()
    assert np.abs(velocity_of_bin(velocity_bin(np.arange(1, 128))) - np.arange(1.0, 128)).max() <= 2


def test_a_vocabulary_survives_json_and_refuses_another_fingerprint():
    vocabulary = Vocabulary(CodecSettings(steps_per_beat=12))
    data = vocabulary.to_json()
    assert Vocabulary.from_json(data) == vocabulary
    with pytest.raises(SettingError, match="fingerprint 0000"):
        Vocabulary.from_json({**data, "fingerprint": "0000"})


def test_every_setting_changes_the_fingerprint():
    other = {
        "steps_per_beat": 12,
        "max_duration": 4,
        "percussion": "gm",
        "meters": False,
        "tempos": False,
        "controls": "bend",
    }
    assert set(other) == {field.name for field in dataclasses.fields(CodecSettings)}
    prints = {Vocabulary(CodecSettings(**{k: v})).fingerprint for k, v in other.items()}
    assert len(prints | {Vocabulary().fingerprint}) == len(other) + 1
