"""The compiled encoder equals the codec, errors included."""

import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pipeline.clean.encode import encode
from shards.codec import Codec
from shards.vocabulary import CodecSettings, Vocabulary
from tests.shards.songs import canonical_songs, make_song

CODECS = [
    Codec(Vocabulary(settings))
    for settings in (
        CodecSettings(),
        CodecSettings(controls="bend,mod"),
        CodecSettings(meters=False, tempos=False),
        CodecSettings(steps_per_beat=96),
        CodecSettings(steps_per_beat=5, max_duration=1, percussion="full"),
    )
]


@given(st.data(), st.sampled_from(CODECS))
def test_the_compiled_encoder_equals_the_codec(data, codec):
    song = data.draw(canonical_songs(codec.vocabulary))
    compiled, defined = encode(song, codec), codec.encode(song)
    assert compiled == defined
    for one, other in zip(vars(compiled).values(), vars(defined).values(), strict=True):
        assert one.dtype == other.dtype


@pytest.mark.parametrize(
    "song",
    [
        make_song([(0, 12, 0, 60, 66), (2**25, 12, 0, 60, 66)]),
        make_song([]),
        make_song([(0, 12, 0, 60, 66)], steps_per_beat=12),
    ],
)
def test_it_raises_the_errors_of_the_codec(song):
    with pytest.raises(ValueError, match=r"^(the song|a song) ") as of_codec:
        CODECS[0].encode(song)
    with pytest.raises(ValueError, match=re.escape(str(of_codec.value))):
        encode(song, CODECS[0])


def test_a_change_after_the_last_note_is_encoded_too():
    song = make_song([(0, 12, 0, 60, 66)], tempos=[(0, 500_000), (30, 250_000)])
    assert encode(song, CODECS[0]) == CODECS[0].encode(song)
    assert np.all(encode(song, CODECS[0]).steps[-1:] == 30)
