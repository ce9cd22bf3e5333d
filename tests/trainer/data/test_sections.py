import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.codec import Codec
from shards.vocabulary import CodecSettings, Kind, Vocabulary
from tests.shards.songs import canonical_songs
from trainer.data.conditions import GIVEN, PLAIN, WRITTEN
from trainer.data.sections import (
    accompaniment_plan,
    draw_plan,
    hidden_classes,
    infilling_plan,
    merge_sections,
    parts_of,
    rearrange,
)

VOCABULARIES = [
    Vocabulary(),
    Vocabulary(CodecSettings(controls="bend,mod")),
    Vocabulary(CodecSettings(meters=False, tempos=False, percussion="full")),
]


def bars_of(song):
    return int(song.bars[-1]) + 1


@st.composite
def plans(draw, song):
    """Any gaps, or an accompaniment, of any parts."""
    bars = bars_of(song)
    parts = parts_of(song)
    hidden = hidden_classes(parts[[draw(st.booleans()) for _ in parts]])
    if draw(st.booleans()):
        return accompaniment_plan(bars, draw(st.integers(1, 5)), hidden)
    edges = sorted(draw(st.lists(st.integers(0, bars), max_size=9)))
    gaps = [(a, b, c) for a, b, c in zip(*(edges[n::3] for n in range(3)), strict=False) if a < b]
    return infilling_plan(bars, gaps, hidden)


@pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda v: v.settings.controls)
@given(st.data())
def test_the_sections_of_a_song_are_the_song(vocabulary, data):
    codec = Codec(vocabulary)
    song = data.draw(canonical_songs(vocabulary))
    encoded = codec.encode(song)
    stream, kinds, stops = rearrange(encoded, data.draw(plans(encoded)), codec)
    assert merge_sections(stream, codec, codec.bar_lines(encoded)) == song
    assert len(kinds) == len(stops) == len(stream)
    assert (stops > stream.bars).all()


@given(st.data())
def test_what_is_hidden_is_written_and_nothing_else(data):
    codec = Codec(VOCABULARIES[1])
    encoded = codec.encode(data.draw(canonical_songs(codec.vocabulary)))
    plan = data.draw(plans(encoded))
    stream, kinds, _ = rearrange(encoded, plan, codec)
    hidden = plan.hidden[stream.instruments]
    is_item = ~np.isin(codec.vocabulary.kind(stream.tokens), [Kind.SOS, Kind.EOS, Kind.REST])
    assert hidden[is_item & (kinds == WRITTEN)].all()
    kind_of_bar = np.full(bars_of(encoded), PLAIN)
    for first, stop, kind in zip(*plan[3:], strict=True):
        if kind == WRITTEN:
            kind_of_bar[first:stop] = WRITTEN
    in_gap = kind_of_bar[stream.bars] == WRITTEN
    assert not (hidden & is_item & in_gap)[kinds != WRITTEN].any()


@given(st.data())
def test_a_section_opens_in_its_first_bar_and_each_token_stands_where_it_did(data):
    codec = Codec(VOCABULARIES[0])
    encoded = codec.encode(data.draw(canonical_songs(codec.vocabulary)))
    plan = data.draw(plans(encoded))
    stream, kinds, stops = rearrange(encoded, plan, codec)
    opens = stream.tokens == codec.vocabulary.sos
    assert stream.bars[opens].tolist() == plan.first_bars.tolist()
    assert kinds[opens].tolist() == plan.kinds.tolist()
    assert stops[opens].tolist() == plan.stop_bars.tolist()
    ends = codec.vocabulary.sos, codec.vocabulary.eos

    def items(song):
        columns = (array.tolist() for array in vars(song).values())
        rests = codec.vocabulary.kind(song.tokens) == Kind.REST
        rows = zip(rests.tolist(), *columns, strict=True)
        return sorted(row for row in rows if not row[0] and row[1] not in ends)

    assert items(stream) == items(encoded)


@given(canonical_songs(VOCABULARIES[0]))
def test_a_song_without_gaps_stays_as_it_is(song):
    codec = Codec(VOCABULARIES[0])
    encoded = codec.encode(song)
    plan = infilling_plan(bars_of(encoded), [], np.ones(256, bool))
    assert rearrange(encoded, plan, codec).song == encoded


def test_bars_ahead_are_given_before_the_gap_is_written(twin):
    encoded = twin.songs[2]
    plan = infilling_plan(bars_of(encoded), [(1, 2, 3)], np.ones(256, bool))
    stream, kinds, _ = rearrange(encoded, plan, twin.codec)
    opens = stream.tokens == twin.vocabulary.sos
    assert kinds[opens].tolist() == [PLAIN, GIVEN, WRITTEN, PLAIN][: opens.sum()]
    assert stream.bars[opens].tolist() == [0, 1, 1, 3][: opens.sum()]
    assert set(stream.bars[kinds == WRITTEN].tolist()) == {1}


@given(seed=st.integers(0, 2**32), data=st.data())
def test_drawn_plans_give_the_song_back_too(seed, data):
    codec = Codec(VOCABULARIES[0])
    song = data.draw(canonical_songs(codec.vocabulary))
    encoded = codec.encode(song)
    plan = draw_plan(encoded, np.random.default_rng(seed))
    stream = rearrange(encoded, plan, codec).song
    assert merge_sections(stream, codec, codec.bar_lines(encoded)) == song
