import numpy as np
import pytest

from shards.codec import Codec
from shards.errors import SettingError
from shards.vocabulary import CodecSettings, Kind, Vocabulary
from trainer.data.conditions import SHIFTS
from trainer.generation.asked import asked_conditions, parse_meter
from trainer.generation.generate import generate
from trainer.generation.guided import GuidedModel
from trainer.generation.incremental import IncrementalModel
from trainer.generation.settings import SampleConfig
from trainer.generation.song_sampler import SongSampler
from trainer.generation.task import Request

FLAT = {"temperature": 2.0, "instrument_top_p": 1.0, "velocity_top_p": 1.0}


@pytest.mark.parametrize("seed", range(3))
def test_tempo_meter_and_band_are_always_as_asked(make_model, vocabulary, seed):
    config = SampleConfig(
        seed=seed, bars=3, tempo=97, meter="3/4", instruments="piano,flute,drums", tokens=300,
        **FLAT,
    )  # fmt: skip
    for song in generate(make_model(), vocabulary, config, block_size=8):
        decoded = Codec(vocabulary).decode(song)
        assert decoded.meters.tolist() == [(0, 3, 4)]
        (tempo,) = decoded.tempos["microseconds"].tolist()
        assert 60e6 / tempo == pytest.approx(97, rel=0.022)
        assert set(decoded.notes["instrument"]) <= {*range(8), 73, *range(128, 189)}


def test_a_song_that_is_to_end_does_so_in_its_last_bars(make_model, vocabulary):
    model = make_model()
    model.token_head.weight.data[vocabulary.eos] *= 30  # it wants to end, or not at all
    ends = []
    for seed in range(6):
        config = SampleConfig(seed=seed, bars=4, ending=True, tokens=2000, **FLAT)
        (song,) = generate(model, vocabulary, config, block_size=8)
        ends.append(int(song.bars[-1]) + 1)
    assert set(ends) <= {3, 4}


def test_the_bars_left_are_told_only_to_a_song_that_is_to_end(vocabulary):
    def told(**settings):
        config = SampleConfig(bars=9, **settings)
        sampler = SongSampler(vocabulary, config, 0, None, has_conditions=True)
        return sampler.take(1)[5, 0] >> SHIFTS["bars_left"] & 255

    assert (told(), told(ending=True)) == (0, 9)


def test_a_model_without_conditions_is_told_nothing(vocabulary):
    config = SampleConfig(bars=9, key="C", instruments="piano")
    sampler = SongSampler(vocabulary, config, 0, None)
    assert not sampler.take(1)[5:].any()


def test_guidance_of_one_and_nought_are_with_and_without_conditions(make_model, vocabulary):
    model, config = make_model(), SampleConfig(key="F#m", instruments="piano,drums", tempo=90)
    sampler = SongSampler(vocabulary, config, 0, None, has_conditions=True)
    inputs = np.stack([sampler.take(1)], axis=1)
    plain = inputs.copy()
    plain[5:] = 0
    expected = []
    for each in (plain, inputs):
        incremental = IncrementalModel(model, 8)
        incremental.feed(each)
        expected.append(incremental.token_logits())
    assert not np.allclose(*expected)
    for guidance, wanted in ((0.0, expected[0]), (1.0, expected[1])):
        guided = GuidedModel(model, 8, 1, guidance)
        guided.feed(inputs)
        assert np.allclose(guided.token_logits(), wanted, atol=1e-5)


@pytest.mark.parametrize("guidance", [0.5, 3.0])
def test_guided_songs_are_songs(make_model, vocabulary, guidance):
    model = make_model(velocity_head=True)
    config = SampleConfig(bars=2, count=2, key="C", guidance=guidance, tokens=80, **FLAT)
    for song in generate(model, vocabulary, config, block_size=8):
        assert Codec(vocabulary).encode(Codec(vocabulary).decode(song)) == song


@pytest.mark.parametrize("meter", ["5/3", "0/4", "100/4", "x", "", "4"])
def test_an_unknown_meter_is_refused(vocabulary, meter):
    with pytest.raises(SettingError, match=f"meter is '{meter}'; expected one such as 3/4"):
        parse_meter(meter, vocabulary)


def test_a_vocabulary_without_meters_has_four_quarters_alone():
    vocabulary = Vocabulary(CodecSettings(meters=False, tempos=False))
    assert parse_meter("4/4", vocabulary) is None
    with pytest.raises(SettingError, match="the dataset has no meters"):
        parse_meter("3/4", vocabulary)
    fields = asked_conditions(SampleConfig(meter="4/4", tempo=90), vocabulary, None).fields
    assert fields >> SHIFTS["tempo"] & 255


def test_the_opening_is_the_one_asked_for_and_later_tokens_are_free(vocabulary):
    config = SampleConfig(tempo=120, meter="4/4", changes=True)
    sampler = SongSampler(vocabulary, config, 0, None)
    for name in ("m4/4", "t120.0"):
        (token,) = np.flatnonzero(sampler.allowed_tokens())
        assert vocabulary.names[token] == name
        sampler.append(token, 0, None)
    kinds = vocabulary.kind(np.flatnonzero(sampler.allowed_tokens()))
    assert Kind.PITCH in kinds


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prompt_bars": 3}, "--prompt-bars needs --prompt"),
        ({"infill": "1-2"}, "--infill needs --prompt"),
        ({"accompany": "bass"}, "--accompany needs --prompt"),
        ({"parts": "bass"}, "--parts needs --infill"),
    ],
)
def test_what_cannot_be_asked_together_is_refused(wrong, message):
    with pytest.raises(SettingError, match=message):
        Request(**wrong)
