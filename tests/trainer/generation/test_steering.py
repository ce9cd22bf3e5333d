import numpy as np
import pytest

from shards.codec import Codec
from shards.keys import KEYS, PROFILES
from shards.vocabulary import PROGRAMS
from trainer.generation.generate import generate
from trainer.generation.instruments import parse_instruments
from trainer.generation.logits import sample, softmax
from trainer.generation.settings import SampleConfig
from trainer.generation.steering import KeyPull, MissingParts

FLAT = {"temperature": 2.0, "instrument_top_p": 1.0, "velocity_top_p": 1.0}


def best_key(sounding):
    return KEYS[(PROFILES @ (sounding - sounding.mean())).argmax()]


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_model_wants_its_notes_come_to_be_in_the_key(key):
    random = np.random.default_rng(KEYS.index(key))
    logits = np.resize(random.normal(0, 1, 12), 128)  # it prefers some pitch classes
    pull, sounding = KeyPull(key), np.zeros(12)
    for _ in range(300):
        pitch = sample(softmax(logits + pull.bias()), random.random())
        pull.push(pitch, 12)
        sounding[pitch % 12] += 12
    assert best_key(sounding) == key
    assert sounding.max() < 0.5 * sounding.sum()  # not the tonic alone


def test_music_that_is_clearly_in_the_key_is_left_alone():
    pull, other = KeyPull("D"), KeyPull("Eb")
    for pitch in (62, 66, 69, 64, 67, 71, 73, 62, 66, 69, 62):
        for each in (pull, other):
            each.push(pitch, 24)
    assert not pull.bias().any()
    assert other.bias()[62] < 0 < other.bias()[63]
    assert np.array_equal(other.bias()[:12], other.bias()[60:72])


def test_a_part_is_missing_until_it_plays():
    parts = MissingParts([np.arange(200) < 8, np.arange(200) == 33])
    assert parts.classes().nonzero()[0].tolist() == [*range(8), 33]
    parts.push(3)
    assert parts.classes().nonzero()[0].tolist() == [33]
    parts.push(33)
    assert parts.classes() is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("bars", "guidance"), [(4, 1.0), (5, 1.0), (5, 2.0)])
def test_every_part_that_is_asked_for_plays(make_model, vocabulary, seed, bars, guidance):
    names = ["piano", "flute", "fretless bass", "drums"]
    config = SampleConfig(
        seed=seed, bars=bars, instruments=",".join(names), guidance=guidance, **FLAT
    )  # fmt: skip
    model = make_model()
    model.instrument_head.project.weight.data[73] -= 1.0  # it would rather do without a flute
    (song,) = generate(model, vocabulary, config, block_size=8)
    played = Codec(vocabulary).decode(song).notes["instrument"]
    for name in names:
        assert parse_instruments(name, vocabulary)[played].any(), name


def test_a_song_is_in_the_key_asked_for(make_model, vocabulary):
    config = SampleConfig(seed=1, bars=12, key="F#m", tokens=2000, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    notes = Codec(vocabulary).decode(song).notes
    notes = notes[notes["instrument"] < PROGRAMS]
    assert best_key(np.bincount(notes["pitch"] % 12, notes["duration"], 12)) == "F#m"
