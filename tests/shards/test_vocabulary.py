"""Token names, ids and instrument classes."""

import dataclasses

import numpy as np
import pytest

from shards.errors import SettingError
from shards.vocabulary import CodecSettings, Vocabulary, velocity_bin, velocity_of_bin


def test_ids_are_in_the_documented_order():
    names = Vocabulary().names
    assert names[:6] == ("<pad>", "<sos>", "<eos>", "<sep>", "n0", "n1")
    assert names[131:134] == ("n127", "d1", "d2")
    assert names[515:517] == ("d384", "m1/2")
    assert len(names) % 8 == 0
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("percussion", "classes"), [("gm", 175), ("gm2", 189), ("full", 256)])
def test_each_percussion_map_has_its_number_of_classes(percussion, classes):
    vocabulary = Vocabulary(CodecSettings(percussion=percussion))
    assert vocabulary.instruments == classes == len(vocabulary.instrument_names)


def test_a_drum_keys_class_is_128_plus_its_index_in_the_map():
    vocabulary = Vocabulary()
    assert vocabulary.drum_classes[[34, 35, 36, 81, 82]].tolist() == [255, 128, 129, 174, 255]
    assert vocabulary.instrument_names[129] == "Bass Drum 1"


def test_a_note_may_have_any_program_but_only_its_own_drum():
    allowed = Vocabulary().instrument_allows(38)
    assert allowed[:128].all()
    assert np.flatnonzero(allowed[128:]).tolist() == [3]
    assert not Vocabulary().instrument_allows(100)[128:].any()


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
    vocabulary = Vocabulary(CodecSettings(steps_per_beat=24))
    data = vocabulary.to_json()
    assert Vocabulary.from_json(data) == vocabulary
    with pytest.raises(SettingError, match="fingerprint 0000"):
        Vocabulary.from_json({**data, "fingerprint": "0000"})


def test_every_setting_changes_the_fingerprint():
    other = {
        "steps_per_beat": 24,
        "max_duration": 4,
        "percussion": "gm2",
        "meters": False,
        "tempos": False,
        "controls": "bend",
    }
    assert set(other) == {field.name for field in dataclasses.fields(CodecSettings)}
    prints = {Vocabulary(CodecSettings(**{k: v})).fingerprint for k, v in other.items()}
    assert len(prints | {Vocabulary().fingerprint}) == len(other) + 1
